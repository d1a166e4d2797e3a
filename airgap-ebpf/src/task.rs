//! Who runs now, written straight to where it is kept: a copy on the way there
//! would not fit on the stack of the larger programs.

use aya_ebpf::{
    Global,
    helpers::generated::{
        bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel,
    },
};

use crate::kernel::{
    HAS_TYPED_LOADS, OFF_PID_LEVEL, OFF_PID_NUMBERS, OFF_TASK_COMM, OFF_TASK_LEADER,
    OFF_TASK_PARENT, OFF_TASK_PID, OFF_TASK_START, OFF_TASK_TGID, load, read,
};

/// Length of `task->comm`.
const COMM: u32 = 16;

/// A field of a task, or of what such a field leads to; 0 if it cannot be read.
#[inline(always)]
fn field<T: Copy + Default>(object: u64, offset: &Global<u64>) -> T {
    if HAS_TYPED_LOADS.load() != 0 {
        return load(object, offset);
    }
    read(object, offset).unwrap_or_default()
}

/// The `task_struct` of the process that runs now.
#[inline(always)]
pub(crate) fn process() -> u64 {
    // SAFETY: both take nothing.
    let task = unsafe {
        if HAS_TYPED_LOADS.load() != 0 {
            bpf_get_current_task_btf() as u64
        } else {
            bpf_get_current_task()
        }
    };
    field(task, &OFF_TASK_LEADER)
}

/// The parent of a process, 0 if it cannot be read.
#[inline(always)]
pub(crate) fn parent(process: u64) -> u64 {
    field(process, &OFF_TASK_PARENT)
}

/// Process id in the initial pid namespace, 0 if it cannot be read.
#[inline(always)]
pub(crate) fn tgid(process: u64) -> u32 {
    field(process, &OFF_TASK_TGID)
}

/// Start of a process, `CLOCK_BOOTTIME`, nanoseconds, 0 if it cannot be read.
#[inline(always)]
pub(crate) fn start(process: u64) -> u64 {
    field(process, &OFF_TASK_START)
}

/// The process id that the process itself sees, 0 if it cannot be read.
#[inline(always)]
pub(crate) fn nspid(process: u64) -> u32 {
    /// Size of `struct upid`, which begins with the number (include/linux/pid.h).
    const UPID: u64 = 16;
    let pid = field::<u64>(process, &OFF_TASK_PID);
    if pid == 0 {
        return 0;
    }
    let level = field::<u32>(pid, &OFF_PID_LEVEL);
    // An element of an array: of no type that the verifier follows.
    read::<u32>(pid + u64::from(level) * UPID, &OFF_PID_NUMBERS).unwrap_or(0)
}

/// The name of the thread that runs now.
///
/// # Safety
/// `to` has room for 16 bytes of a map value.
#[inline(always)]
pub(crate) unsafe fn write_comm(to: *mut [u8; 16]) {
    // SAFETY: the caller's promise.
    unsafe { bpf_get_current_comm(to.cast(), COMM) };
}

/// The name of another process; left as it is if it cannot be read.
///
/// # Safety
/// `to` has room for 16 bytes of a map value.
#[inline(always)]
pub(crate) unsafe fn write_comm_of(process: u64, to: *mut [u8; 16]) {
    if process != 0 {
        let from = process + OFF_TASK_COMM.load();
        // SAFETY: the caller's promise; any source address is taken.
        unsafe { bpf_probe_read_kernel(to.cast(), COMM, from as *const core::ffi::c_void) };
    }
}

/// Writes the fields that a mark and a denial have in common.
macro_rules! write {
    ($to:expr) => {{
        let to = $to;
        let ids = aya_ebpf::helpers::bpf_get_current_pid_tgid();
        let users = aya_ebpf::helpers::bpf_get_current_uid_gid();
        let process = $crate::task::process();
        let parent = $crate::task::parent(process);
        (*to).tgid = (ids >> 32) as u32;
        (*to).tid = ids as u32;
        (*to).uid = users as u32;
        (*to).gid = (users >> 32) as u32;
        $crate::task::write_comm(&raw mut (*to).comm);
        (*to).start = $crate::task::start(process);
        (*to).nspid = $crate::task::nspid(process);
        (*to).ppid = $crate::task::tgid(parent);
        $crate::task::write_comm_of(parent, &raw mut (*to).parent);
    }};
}
pub(crate) use write;
