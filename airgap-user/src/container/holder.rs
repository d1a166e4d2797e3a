//! Which process, or which thread of it, has a socket.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use super::{
    Budget, Cgroup,
    members::{processes, threads},
};

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Holder {
    /// Process id on the host.
    pub pid: u32,
    /// Thread whose descriptors have it; the process id, if all share them.
    pub thread: u32,
    /// Its number for the socket.
    pub fd: i32,
    /// `comm`: chosen by the container.
    pub name: String,
}

/// Which processes of the container hold which sockets, by inode. What the budget does
/// not allow is named in it.
pub fn holders(cgroups: &[Cgroup], budget: &mut Budget) -> HashMap<u64, Holder> {
    let mut found = HashMap::new();
    for pid in processes(cgroups, budget) {
        if !add_holder(&mut found, pid, budget) {
            budget.skip("descriptors of some of its processes".into());
            break;
        }
    }
    found
}

/// False once the budget is used up.
fn add_holder(found: &mut HashMap<u64, Holder>, pid: u32, budget: &mut Budget) -> bool {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name).trim_end().to_owned();
    // A thread may have descriptors of its own (unshare), and where the first
    // one has ended only the others show them.
    let mut tables: Vec<u32> = Vec::new();
    for thread in threads(pid, usize::MAX, budget) {
        // Sorted by the kernel's own order: each thread is compared with a few tables,
        // not with all that were met.
        match tables.binary_search_by(|seen| order_of_files(*seen, thread)) {
            Ok(_) => continue,
            Err(at) => tables.insert(at, thread),
        }
        let dir = format!("/proc/{pid}/task/{thread}/fd");
        for fd in numbers(&dir) {
            if !budget.step() {
                return false;
            }
            let Some(inode) = socket_inode(&format!("{dir}/{fd}")) else {
                continue;
            };
            let name = name.clone();
            found.entry(inode).or_insert(Holder {
                pid,
                thread,
                fd,
                name,
            });
        }
    }
    true
}

/// The numbers among the names in a directory.
fn numbers<T: std::str::FromStr>(dir: &str) -> impl Iterator<Item = T> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Inode of the socket that a link in `/proc/PID/fd` shows.
fn socket_inode(link: &str) -> Option<u64> {
    let target = fs::read_link(link).ok()?;
    let inode = target.to_str()?.strip_prefix("socket:[")?;
    inode.strip_suffix(']')?.parse().ok()
}

/// Order of the tables of descriptors that two threads have (kcmp(2)); equal: they
/// have one. Where the kernel gives none, for one of them has ended, they count as two.
fn order_of_files(one: u32, other: u32) -> Ordering {
    const KCMP_FILES: i32 = 2;
    // SAFETY: integers only.
    match unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0, 0) } {
        0 => Ordering::Equal,
        1 => Ordering::Less,
        _ => Ordering::Greater,
    }
}

/// A descriptor of our own for another process' socket (pidfd_getfd, Linux 5.6).
///
/// # Errors
/// If the process or its descriptor is gone, or only a thread has it and the
/// kernel is older than 6.9.
pub fn borrow(holder: &Holder) -> io::Result<OwnedFd> {
    /// `PIDFD_THREAD`.
    const THREAD: i32 = libc::O_EXCL;
    let flags = if holder.thread == holder.pid {
        0
    } else {
        THREAD
    };
    // SAFETY: integers only; each new descriptor is owned at once.
    unsafe {
        let pidfd = descriptor(libc::syscall(libc::SYS_pidfd_open, holder.thread, flags))?;
        descriptor(libc::syscall(
            libc::SYS_pidfd_getfd,
            pidfd.as_raw_fd(),
            holder.fd,
            0,
        ))
    }
}

/// The same, if it still is the socket of this inode.
///
/// # Errors
/// As there, and if the number is another's by now.
pub fn borrow_same(holder: &Holder, expected: u64) -> io::Result<OwnedFd> {
    let socket = borrow(holder)?;
    if inode_of(&socket)? == expected {
        return Ok(socket);
    }
    Err(io::Error::other(
        "its descriptor is another socket's by now",
    ))
}

/// Inode of a descriptor.
pub(super) fn inode_of(fd: &OwnedFd) -> io::Result<u64> {
    // SAFETY: plain data.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a descriptor and a whole stat.
    if unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) } == 0 {
        return Ok(stat.st_ino);
    }
    Err(io::Error::last_os_error())
}

/// Whether it is held still.
pub(super) fn still_holds(holder: &Holder, inode: u64) -> bool {
    let Holder {
        pid, thread, fd, ..
    } = holder;
    socket_inode(&format!("/proc/{pid}/task/{thread}/fd/{fd}")) == Some(inode)
}

/// Owns a new descriptor.
///
/// # Safety
/// `ret` is what a system call that makes a descriptor returned.
// SAFETY: callers pass the return value of such a call on at once.
unsafe fn descriptor(ret: libc::c_long) -> io::Result<OwnedFd> {
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(ret as i32) })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, thread};

    use super::*;

    #[test]
    fn finds_what_one_thread_hides() {
        use std::{net::UdpSocket, os::unix::fs::MetadataExt as _, sync::mpsc};
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let hider = thread::spawn(move || {
            // SAFETY: no pointers; from here on this thread opens for itself alone.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            // SAFETY: the descriptor stays open, and its owner closes it.
            let file =
                std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(socket.as_raw_fd()) });
            tell.send(file.metadata().unwrap().ino()).unwrap();
            let _ = ended.recv();
        });
        let inode = told.recv().unwrap();
        let mut found = HashMap::new();
        let mut budget = Budget::of(std::time::Duration::from_secs(10));
        assert!(add_holder(&mut found, std::process::id(), &mut budget));
        let holder = found.get(&inode).expect("the thread's socket");
        assert_ne!(holder.thread, holder.pid);
        assert!(still_holds(holder, inode));
        assert_eq!(inode_of(&borrow(holder).unwrap()).unwrap(), inode);
        borrow_same(holder, inode).unwrap();
        borrow_same(holder, inode + 1).unwrap_err();
        drop(end);
        hider.join().unwrap();
        assert!(!still_holds(holder, inode));
    }
}
