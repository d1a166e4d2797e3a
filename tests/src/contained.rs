//! A process as a container runtime makes it: in its cgroup before anything else, with namespaces
//! of its own and Docker's default capabilities. Its seccomp filter lets everything through, so it
//! can do more.

use std::fs;
use std::io::{self, Read as _, Write as _};

/// Docker's default set: `CAP_NET_RAW`, `CAP_AUDIT_WRITE` and twelve others.
const CAPABILITIES: u64 = 0xa804_25fb;

/// Prints the pid of a process in `cgroup` that does `work`, and waits for its end. This process
/// stays outside, as a runtime does: what it may do is not the container's.
///
/// # Errors
/// If the kernel refuses what a runtime does, and with those of `work`, in its process.
pub fn run(cgroup: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let failed = |what: &str, error: io::Error| format!("{what}: {error}");
    let (mut ready, made) = io::pipe().map_err(|e| failed("pipe", e))?;
    // SAFETY: integers only; it is the child that is in the new namespace.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return Err(failed("unshare", io::Error::last_os_error()));
    }
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            drop(ready);
            fs::write(format!("{cgroup}/cgroup.procs"), "0").map_err(|e| failed("cgroup", e))?;
            confine().map_err(|e| failed("confine", e))?;
            // Its end tells the parent.
            drop(made);
            work()
        }
        -1 => Err(failed("fork", io::Error::last_os_error())),
        pid => {
            drop(made);
            ready
                .read_to_end(&mut Vec::new())
                .map_err(|e| failed("pipe", e))?;
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
        let flags = libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWIPC;
        check(libc::unshare(flags | libc::CLONE_NEWUTS))?;
        let null = std::ptr::null();
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(null, c"/".as_ptr(), null, private, null.cast()))?;
        for mounted in [c"/sys/fs/cgroup", c"/sys/fs/bpf", c"/sys/kernel/tracing"] {
            check(libc::umount2(mounted.as_ptr(), libc::MNT_DETACH))?;
        }
        // As runtimes leave it; a kernel without sysrq has no such file.
        for settings in [c"/proc/sys", c"/proc/sysrq-trigger"] {
            let (path, bind) = (settings.as_ptr(), libc::MS_BIND);
            if libc::mount(path, path, null, bind, null.cast()) == 0 {
                let read_only = bind | libc::MS_REMOUNT | libc::MS_RDONLY;
                check(libc::mount(null, path, null, read_only, null.cast()))?;
            }
        }
        filter()?;
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

/// A seccomp filter that lets everything through (seccomp(2)); needs CAP_SYS_ADMIN still.
fn filter() -> io::Result<()> {
    const SECCOMP_RET_ALLOW: u32 = 0x7fff_0000;
    // BPF_RET | BPF_K
    let mut code = [libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: SECCOMP_RET_ALLOW,
    }];
    let program = libc::sock_fprog {
        len: 1,
        filter: code.as_mut_ptr(),
    };
    let mode = libc::SECCOMP_MODE_FILTER as libc::c_ulong;
    // SAFETY: a program of one instruction, which is alive.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
