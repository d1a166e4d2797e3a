//! Links that are made by the system call, and programs by their ids.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{BPF_F_BEFORE, bpf_attach_type, bpf_cmd};

use super::{attr, bpf};

/// A tcx link of a program on an interface of this thread's namespace, first in
/// line, until it is closed (`BPF_LINK_CREATE`, Linux 6.6). `attach_type` is
/// `BPF_TCX_INGRESS` or `BPF_TCX_EGRESS`. Returns only after a grace period.
///
/// # Errors
/// `EINVAL` where the kernel has no tcx, `EEXIST` if the program is there already.
pub(in super::super) fn link_tcx(
    program: &impl AsFd,
    attach_type: bpf_attach_type,
    index: u32,
) -> io::Result<OwnedFd> {
    let mut attr = attr();
    // SAFETY: this arm of the union is the one that BPF_LINK_CREATE reads.
    let link = unsafe { &mut attr.link_create };
    link.__bindgen_anon_1.prog_fd = program.as_fd().as_raw_fd() as u32;
    link.__bindgen_anon_2.target_ifindex = index;
    link.attach_type = attach_type as u32;
    link.flags = BPF_F_BEFORE;
    let fd = bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A link of a program on a cgroup, beside all others there (`BPF_LINK_CREATE`, Linux 5.7).
///
/// # Errors
/// Whatever the system call says.
pub(in super::super) fn attach_cgroup(
    program: &impl AsFd,
    cgroup: &impl AsFd,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let mut attr = attr();
    // SAFETY: this arm of the union is the one that BPF_LINK_CREATE reads.
    let link = unsafe { &mut attr.link_create };
    link.__bindgen_anon_1.prog_fd = program.as_fd().as_raw_fd() as u32;
    link.__bindgen_anon_2.target_fd = cgroup.as_fd().as_raw_fd() as u32;
    link.attach_type = attach_type;
    let fd = bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A program by its id (`BPF_PROG_GET_FD_BY_ID`, Linux 4.13).
///
/// # Errors
/// `ENOENT` if there is none.
pub(in super::super) fn program(id: u32) -> io::Result<OwnedFd> {
    let mut attr = attr();
    attr.__bindgen_anon_6.__bindgen_anon_1.prog_id = id;
    let fd = bpf(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attr)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Waits until no program runs that began before this (`MEMBARRIER_CMD_GLOBAL`, which is
/// `synchronize_rcu`, kernel/sched/membarrier.c).
///
/// # Errors
/// `EINVAL` on a kernel with `nohz_full` processors.
pub(in super::super) fn wait_for_programs() -> io::Result<()> {
    const GLOBAL: libc::c_int = 1;
    // SAFETY: takes no pointers.
    match unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
