//! A process as a container runtime makes it: in its cgroup before anything else, with namespaces
//! of its own and Docker's default capabilities. Without seccomp, so it can do more.

use super::serve;
use std::fs;
use std::io::{self, Write as _};

/// Docker's default set: `CAP_NET_RAW`, `CAP_AUDIT_WRITE` and twelve others.
const CAPABILITIES: u64 = 0xa804_25fb;

/// Prints the pid of a process in `cgroup` that serves on 5060, and waits for its end.
pub(crate) fn run(cgroup: &str) -> Result<(), String> {
    let failed = |what: &str, error: io::Error| format!("{what}: {error}");
    fs::write(format!("{cgroup}/cgroup.procs"), "0").map_err(|e| failed("cgroup", e))?;
    let flags = libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
    // SAFETY: integers only.
    if unsafe { libc::unshare(flags | libc::CLONE_NEWUTS) } != 0 {
        return Err(failed("unshare", io::Error::last_os_error()));
    }
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            confine().map_err(|e| failed("confine", e))?;
            serve::run(5060)
        }
        -1 => Err(failed("fork", io::Error::last_os_error())),
        pid => {
            println!("{pid}");
            io::stdout().flush().map_err(|e| failed("stdout", e))?;
            // SAFETY: waits for an own child.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            Ok(())
        }
    }
}

fn confine() -> io::Result<()> {
    let check = |rc: i32| match rc {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: the strings are NUL-terminated literals, the rest integers and null pointers.
    unsafe {
        check(libc::prctl(
            libc::PR_SET_PDEATHSIG,
            libc::SIGKILL as libc::c_ulong,
            0,
            0,
            0,
        ))?;
        let null = std::ptr::null();
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(null, c"/".as_ptr(), null, private, null.cast()))?;
        for mounted in [c"/sys/fs/cgroup", c"/sys/fs/bpf", c"/sys/kernel/tracing"] {
            check(libc::umount2(mounted.as_ptr(), libc::MNT_DETACH))?;
        }
        for capability in 0..64 {
            if CAPABILITIES & (1 << capability) == 0 {
                // Fails for numbers that the kernel does not know.
                libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong);
            }
        }
        // struct __user_cap_header_struct, version 3; effective, permitted, inheritable twice.
        let header = [0x2008_0522_u32, 0];
        let (low, high) = (CAPABILITIES as u32, (CAPABILITIES >> 32) as u32);
        let data = [low, low, 0, high, high, 0];
        check(libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) as i32)
    }
}
