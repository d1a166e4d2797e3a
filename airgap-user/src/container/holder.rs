//! Which process, or which thread of it, has a socket.

use std::{
    collections::HashMap,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use super::Cgroup;

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

/// Which processes of the container hold which sockets, by inode.
pub fn holders(cgroup: &Cgroup) -> HashMap<u64, Holder> {
    let mut found = HashMap::new();
    let mut dirs = vec![cgroup.path.clone()];
    while let Some(dir) = dirs.pop() {
        let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|p| p.parse().ok()) {
            add_holder(&mut found, pid);
        }
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        dirs.extend(
            entries
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                .map(|e| e.path()),
        );
    }
    found
}

fn add_holder(found: &mut HashMap<u64, Holder>, pid: u32) {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // A thread may have descriptors of its own (unshare), and where the first
    // one has ended only the others show them.
    let mut tables: Vec<u32> = Vec::new();
    for thread in numbers(&format!("/proc/{pid}/task")) {
        if tables.iter().any(|seen| same_files(*seen, thread)) {
            continue;
        }
        tables.push(thread);
        let dir = format!("/proc/{pid}/task/{thread}/fd");
        for fd in numbers(&dir) {
            let Some(inode) = socket_inode(&format!("{dir}/{fd}")) else {
                continue;
            };
            let name = name.trim_end().to_owned();
            found.entry(inode).or_insert(Holder {
                pid,
                thread,
                fd,
                name,
            });
        }
    }
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

/// Whether two threads have one table of descriptors; unknown: no.
fn same_files(one: u32, other: u32) -> bool {
    const KCMP_FILES: i32 = 2;
    // SAFETY: integers only.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0, 0) == 0 }
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
        add_holder(&mut found, std::process::id());
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
