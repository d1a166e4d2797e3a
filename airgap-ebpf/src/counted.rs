//! While hooks are moved or replaced, programs of two loads are called for one packet or call,
//! one after the other. Both judge it, and either refuses it; what is counted and told is so
//! by the first alone.

use airgap_common::map::{Call, Counted, Switch};
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;

use crate::{
    kernel::LOAD,
    maps::{COUNTED, SWITCHES},
};

const BPF_ANY: u64 = 0;

/// Whether the other load has counted it a moment ago. `object`: address of the packet, or
/// number of the thread; `of` and `what`: see [`Call`].
#[inline(always)]
pub(crate) fn is_counted(object: u64, of: u64, what: u64) -> bool {
    // Only then is there another, and this costs a look at an array.
    SWITCHES.get(Switch::Moving as u32) == Some(&1) && by_other(object, of, what) != 0
}

/// A function of its own for its stack. What fits nowhere is counted twice rather than not.
#[inline(never)]
fn by_other(object: u64, of: u64, what: u64) -> u32 {
    let call = Call { object, of, what };
    // SAFETY: takes nothing.
    let at = unsafe { bpf_ktime_get_boot_ns() };
    let load = LOAD.load();
    if let Some(counted) = COUNTED.get_ptr(&call) {
        // SAFETY: a live map value, copied out at once. Whoever else writes there judges the
        // same call, before or after this.
        let counted = unsafe { *counted };
        if counted.load != load && at.saturating_sub(counted.at) < Counted::LIFE {
            // The next one of this address, or of this thread, is another.
            let _ = COUNTED.remove(&call);
            return 1;
        }
    }
    let _ = COUNTED.insert(&call, Counted { load, at }, BPF_ANY);
    0
}
