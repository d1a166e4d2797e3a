//! Sockets of systemd's own, without which no service starts: what is to become one is in the
//! unit's cgroup before its program runs, and tells the first process by a pair of sockets
//! who it is and that it has come so far (systemd's src/core/exec-invoke.c, v252 to v257).

use airgap_common::systemd::{Name, ROOM, is_known};
use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel_str};

use crate::kernel::{OFF_UNIX_ADDR, OFF_UNIX_NAME, cgroup_id, read, socket_cgroup};

/// Id of the cgroup of the first process, in which nobody else is; 0 where it is not systemd.
#[unsafe(no_mangle)]
pub(crate) static SYSTEMD: Global<u64> = Global::new(0);

/// 1 if a unix socket was made by systemd, and is where a service logs or says that it is
/// ready; or has no name: such a one nobody reaches who was not handed its other end, and
/// what comes over other sockets is not taken. No global function: what a hook hands over is
/// a pointer to the verifier, and no number.
#[inline(never)]
pub(crate) fn is_made_by_it(sk: u64) -> u32 {
    /// `sun_path` in `struct sockaddr_un`.
    const PATH: u64 = 2;
    let owner = socket_cgroup(sk).and_then(cgroup_id).unwrap_or(0);
    if owner == 0 || owner != SYSTEMD.load() || OFF_UNIX_ADDR.load() == u64::MAX {
        return 0;
    }
    let addr = match read::<u64>(sk, &OFF_UNIX_ADDR) {
        Some(0) => return 1,
        Some(addr) => addr,
        None => return 0,
    };
    let mut name: Name = [0; ROOM / 8];
    // SAFETY: the buffer is as long as said; any source address is taken. An abstract name
    // begins with a zero, and reads as empty.
    let len = unsafe {
        bpf_probe_read_kernel_str(
            name.as_mut_ptr().cast(),
            ROOM as u32,
            (addr + OFF_UNIX_NAME.load() + PATH) as *const core::ffi::c_void,
        )
    };
    (len > 1 && is_known(&name)).into()
}
