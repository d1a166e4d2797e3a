//! Arguments of a process, taken while it runs: it may have ended when somebody asks.

use airgap_common::{
    denial::Denial,
    map::{ARGUMENTS, Arguments, Program},
};
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_user};

use super::order;
use crate::{
    kernel::{OFF_MM_ARG_END, OFF_MM_ARG_START, OFF_TASK_MM, OFF_TASK_TGID, read},
    maps::PROGRAMS,
    verifier::bounded,
};

const BPF_NOEXIST: u64 = 1;

/// In read-only data, so that no program needs the room on its stack.
static UNKNOWN: Arguments = Arguments::UNKNOWN;

/// Keeps the arguments of the process that a record names, once, if it is the one that
/// runs now. Not inlined: the ways through it are of no concern to what follows.
#[inline(never)]
pub(super) fn keep(record: *const Denial) -> u32 {
    if record.is_null() {
        return 0;
    }
    // SAFETY: a live map value, filled before this.
    let key = unsafe {
        Program {
            start: (*record).start,
            tgid: (*record).tgid,
            _pad: 0,
            comm: (*record).comm,
        }
    };
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task() };
    // By the task itself: programs on a link may ask for no pid on Linux 6.1.
    if read::<u32>(task, &OFF_TASK_TGID) != Some(key.tgid) || PROGRAMS.get_ptr(&key).is_some() {
        return 0;
    }
    let mm = read::<u64>(task, &OFF_TASK_MM).unwrap_or(0);
    let begin = read::<u64>(mm, &OFF_MM_ARG_START).unwrap_or(0);
    let end = read::<u64>(mm, &OFF_MM_ARG_END).unwrap_or(0);
    if begin == 0 || end <= begin {
        return 0;
    }
    if PROGRAMS.insert(&key, &UNKNOWN, BPF_NOEXIST).is_ok() {
        order::program(&key);
    }
    let Some(kept) = PROGRAMS.get_ptr_mut(&key) else {
        return 0;
    };
    let there = end - begin;
    let most = ARGUMENTS as u32;
    let len = bounded(
        if there > u64::from(most) {
            most
        } else {
            there as u32
        },
        most,
    );
    // SAFETY: a live map value with room for `len` bytes; any source address is taken, and
    // what is not in memory is an error.
    unsafe {
        let to = (&raw mut (*kept).bytes).cast();
        if bpf_probe_read_user(to, len, begin as *const core::ffi::c_void) == 0 {
            (&raw mut (*kept).len).write_volatile(len);
        }
    }
    0
}
