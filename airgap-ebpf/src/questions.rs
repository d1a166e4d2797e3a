//! What neighbours ask, and what the kernel may answer for that. None is inlined:
//! the ways through them are of no concern to whoever asks.

use airgap_common::map::{Layer, SealNumber};

use crate::maps::{QUESTIONS, add};

/// Counts a question that came in.
#[inline(never)]
pub(crate) fn ask(seal: SealNumber) {
    if let Some(questions) = QUESTIONS.get_ptr_mut(seal) {
        // SAFETY: a live map value.
        unsafe {
            if (*questions).counts() {
                add(&raw mut (*questions).asked, 1);
            }
        }
    }
}

/// 1 if an answer is owed; it is given then.
#[inline(never)]
pub(crate) fn answer(seal: SealNumber, layer: Layer) -> u32 {
    let Some(questions) = QUESTIONS.get_ptr_mut(seal) else {
        return 0;
    };
    // SAFETY: a live map value; a lost race lets one more out.
    unsafe {
        if !(*questions).owes(layer) {
            return 0;
        }
        match layer {
            Layer::Cgroup => add(&raw mut (*questions).answered[0], 1),
            Layer::Frame => add(&raw mut (*questions).answered[1], 1),
        }
    }
    1
}
