//! Connections that the seal has cut or kept: userspace names them, these count
//! what comes in and goes out on them. None is inlined: the ways through them are
//! of no concern to whoever asks.

use airgap_common::map::{Ended, Layer, Older, Syn};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

use crate::maps::{OLDER, OLDER_UNTIL, add};

/// Whether one may have been cut a moment ago.
#[inline(always)]
pub(crate) fn are_some() -> bool {
    // SAFETY: the helper takes nothing.
    OLDER_UNTIL
        .get(0)
        .is_some_and(|until| *until != 0 && unsafe { bpf_ktime_get_ns() } <= *until)
}

#[inline(always)]
fn get(flow: &Syn) -> Option<*mut Older> {
    OLDER.get(0)?.get_ptr_mut(flow)
}

/// Number of what a bare segment may do on this flow, an [`Ended`]; takes one from
/// what may go out.
#[inline(never)]
pub(crate) fn answer(flow: &Syn, layer: Layer) -> u32 {
    look(flow, layer)
}

/// The same in the caller's place.
#[inline(always)]
pub(crate) fn look(flow: &Syn, layer: Layer) -> u32 {
    let Some(older) = get(flow) else {
        return Ended::Unknown as u32;
    };
    // SAFETY: a live map value; a lost race lets one more out.
    unsafe {
        let ended = (*older).answer(bpf_ktime_get_ns(), layer);
        if ended == Ended::Answered {
            match layer {
                Layer::Cgroup => add(&raw mut (*older).answered[0], 1),
                Layer::Frame => add(&raw mut (*older).answered[1], 1),
            }
        }
        ended as u32
    }
}

/// 1 if the flow is one that was cut.
#[inline(never)]
pub(crate) fn was_cut(flow: &Syn) -> u32 {
    // SAFETY: a live map value; the helper takes nothing.
    get(flow)
        .is_some_and(|older| unsafe { (*older).is_cut(bpf_ktime_get_ns()) })
        .into()
}

/// Counts a segment that came in.
#[inline(never)]
pub(crate) fn ask(flow: &Syn) {
    if let Some(older) = get(flow) {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*older).asked, 1) };
    }
}
