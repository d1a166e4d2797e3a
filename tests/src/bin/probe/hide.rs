//! A first process that shows itself as something else, while its child does the work:
//! what a container shows of itself is no evidence.

use std::{ffi::CStr, io, time::Duration};

/// Forks; the child goes on with `work`, this process takes on the disguise for good.
pub(crate) fn run(disguise: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    // SAFETY: this process has one thread; both sides go on with what they have.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().to_string()),
        0 => work(),
        _ => {
            take_on(disguise).map_err(|error| format!("{disguise}: {error}"))?;
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
    }
}

/// In 65,536 groups (`NGROUPS_MAX`), which /proc names before it says anything of importance.
pub(crate) fn crowded(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let groups: Vec<libc::gid_t> = (0..65_536).map(|group| 4_000_000_000 + group).collect();
    // SAFETY: so many numbers, which the call only reads.
    if unsafe { libc::setgroups(groups.len(), groups.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error().to_string());
    }
    work()
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn take_on(disguise: &str) -> io::Result<()> {
    match disguise {
        "plain" => Ok(()),
        "bounding" => drop_bounding(),
        "capabilities" => drop_bounding().and_then(|()| drop_all()),
        "user" => {
            drop_bounding()?;
            // SAFETY: integers only.
            unsafe { check(libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534)) }
        }
        "thread" => end_first_thread(),
        "tables" => tables(600, 300),
        "descriptors" => descriptors(100_000),
        "stopped" => {
            // SAFETY: raises a signal for this process.
            unsafe { check(libc::raise(libc::SIGSTOP).into()) }
        }
        "chroot" => {
            // SAFETY: strings that end with a zero byte.
            unsafe {
                check(libc::chroot(c"/proc".as_ptr()).into())?;
                check(libc::chdir(c"/".as_ptr()).into())
            }
        }
        "name" => name(c"\xff\xfe\x80) S 1"),
        "many" => children(400, false),
        "zombies" => children(200, true),
        "ending" => ending(),
        "hopping" => hop_in_a_child(),
        "namespaces" => unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET),
        "mounts" => {
            unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
            // SAFETY: strings that end with a zero byte, no data.
            unsafe {
                let (none, to, kind) = (c"none".as_ptr(), c"/proc".as_ptr(), c"tmpfs".as_ptr());
                check(libc::mount(none, to, kind, 0, std::ptr::null()).into())
            }
        }
        "pids" => unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID),
        "threads-apart" => threads_apart(),
        _ => Err(io::Error::other("no such disguise")),
    }
}

/// `PR_CAPBSET_DROP` of every capability; CAP_SETPCAP is among Docker's.
fn drop_bounding() -> io::Result<()> {
    for capability in 0..=40 {
        // SAFETY: integers only.
        unsafe { check(libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0).into())? };
    }
    Ok(())
}

/// Every set of this thread is emptied (capset(2)).
fn drop_all() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let sets = [0u32; 6];
    // SAFETY: a header and two structures of three words.
    unsafe {
        check(libc::syscall(
            libc::SYS_capset,
            header.as_ptr(),
            sets.as_ptr(),
        ))
    }
}

/// The first thread ends, another lives on.
fn end_first_thread() -> io::Result<()> {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    });
    // SAFETY: ends this thread alone, without unwinding; nothing of its stack is shared.
    unsafe { check(libc::syscall(libc::SYS_exit, 0)) }
}

/// Threads with tables of descriptors of their own.
fn tables(threads: usize, each: usize) -> io::Result<()> {
    descriptors(each)?;
    for _ in 0..threads {
        std::thread::Builder::new().stack_size(64 << 10).spawn(|| {
            // SAFETY: acts on this thread only.
            let _ = unsafe { libc::unshare(libc::CLONE_FILES) };
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        })?;
    }
    Ok(())
}

/// So many, or as many as its limit allows.
fn descriptors(count: usize) -> io::Result<()> {
    for _ in 0..count {
        // SAFETY: a new descriptor, which is kept open for good.
        if let Err(error) = unsafe { check(libc::dup(1).into()) } {
            return match error.raw_os_error() {
                Some(libc::EMFILE) => Ok(()),
                _ => Err(error),
            };
        }
    }
    Ok(())
}

fn name(name: &CStr) -> io::Result<()> {
    // SAFETY: a string that ends with a zero byte.
    unsafe { check(libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0).into()) }
}

fn children(count: usize, ended: bool) -> io::Result<()> {
    for _ in 0..count {
        // SAFETY: this process has one thread; the child only waits or ends.
        match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            // SAFETY: ends the child at once.
            0 if ended => unsafe { libc::_exit(0) },
            0 => loop {
                std::thread::sleep(Duration::from_secs(3600));
            },
            _ => {}
        }
    }
    Ok(())
}

/// A child hops with all that this process has.
pub(crate) fn hop_in_a_child() -> io::Result<()> {
    // SAFETY: this process has one thread; the child goes on with what it has.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => hop(),
        _ => {
            ended_children_go();
            Ok(())
        }
    }
}

/// Goes on in a child, and ends, again and again: whoever lists it finds it gone.
pub(crate) fn hop() -> ! {
    ended_children_go();
    loop {
        // SAFETY: this process has one thread; the parent ends at once.
        match unsafe { libc::fork() } {
            -1 => std::thread::sleep(Duration::from_millis(1)),
            0 => {}
            // SAFETY: ends this process.
            _ => unsafe { libc::_exit(0) },
        }
    }
}

/// Nobody waits for them.
fn ended_children_go() {
    // SAFETY: sets a disposition.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Children that take their time to end, each with a socket: the kernel takes down large
/// page tables first.
fn ending() -> io::Result<()> {
    const LEN: usize = 2 << 30;
    // SAFETY: a new mapping of pages that are all the zero page; one byte of it is written,
    // so that each fork copies its tables.
    unsafe {
        let none = std::ptr::null_mut();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let at = libc::mmap(none, LEN, libc::PROT_READ, flags, -1, 0);
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        check(libc::madvise(at, LEN, libc::MADV_NOHUGEPAGE).into())?;
        check(libc::madvise(at, LEN, libc::MADV_POPULATE_READ).into())?;
        check(libc::mprotect(at, LEN, libc::PROT_READ | libc::PROT_WRITE).into())?;
        at.cast::<u8>().write_volatile(1);
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
    }
    loop {
        // SAFETY: this process has one thread; the child opens a socket and ends.
        match unsafe { libc::fork() } {
            -1 => std::thread::sleep(Duration::from_millis(1)),
            // SAFETY: integers only.
            0 => unsafe {
                libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
                libc::_exit(0)
            },
            _ => {}
        }
    }
}

fn unshare(what: libc::c_int) -> io::Result<()> {
    // SAFETY: acts on this process, which has one thread.
    unsafe { check(libc::unshare(what).into()) }
}

/// Two threads in network namespaces of their own, the first in a third.
fn threads_apart() -> io::Result<()> {
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
    for _ in 0..2 {
        std::thread::spawn(|| {
            // SAFETY: acts on this thread only.
            let _ = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        });
    }
    Ok(())
}
