//! Which process, or which thread of it, has a socket.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use super::{
    Budget, Cgroup,
    rounds::{Rounds, each_thread},
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

/// Holders by the inode of the socket: a few of each, as one may end any time.
pub type Holders = HashMap<u64, Vec<Holder>>;

/// Holders of one socket that are kept.
const HOLDERS: usize = 4;

/// Which processes of the container hold which sockets. What the budget does not allow is
/// named in it.
pub fn holders(cgroups: &[Cgroup], budget: &mut Budget) -> Holders {
    let mut found = Holders::new();
    let mut rounds = Rounds::of(cgroups);
    while let Some(pid) = rounds.next(budget) {
        let looked = held_by(pid, budget, |file, holder| {
            let File::Socket(inode) = file else { return };
            let known: &mut Vec<Holder> = found.entry(inode).or_default();
            if known.len() < HOLDERS {
                known.push(holder);
            }
        });
        if looked == Looked::Spent {
            break;
        }
    }
    found
}

/// A file that leads out, or may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    /// By its inode.
    Socket(u64),
    /// With sockets of its own (io_uring).
    Ring,
}

/// How a look at a process went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// All of it was seen.
    Whole,
    /// Its threads come and go all the time.
    Restless,
    /// The budget is used up; that is named in it.
    Spent,
}

/// The sockets and rings in all tables of descriptors that a process has.
pub(super) fn held_by(pid: u32, budget: &mut Budget, mut each: impl FnMut(File, Holder)) -> Looked {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name).trim_end().to_owned();
    // A thread may have descriptors of its own (unshare), and where the first
    // one has ended only the others show them.
    let mut tables: Vec<u32> = Vec::new();
    let mut spent = false;
    let settled = each_thread(pid, budget, |thread, budget| {
        // Sorted by the kernel's own order: each thread is compared with a few tables,
        // not with all that were met.
        match tables.binary_search_by(|seen| order_of_files(*seen, thread)) {
            Ok(_) => return true,
            Err(at) => tables.insert(at, thread),
        }
        let dir = format!("/proc/{pid}/task/{thread}/fd");
        for fd in numbers(&dir) {
            if !budget.step_for("descriptors of some of its processes") {
                spent = true;
                return false;
            }
            if let Some(file) = file_at(&format!("{dir}/{fd}")) {
                let name = name.clone();
                each(
                    file,
                    Holder {
                        pid,
                        thread,
                        fd,
                        name,
                    },
                );
            }
        }
        true
    });
    match (spent, settled) {
        (true, _) => Looked::Spent,
        (false, true) => Looked::Whole,
        (false, false) => Looked::Restless,
    }
}

/// The numbers among the names in a directory.
fn numbers<T: std::str::FromStr>(dir: &str) -> impl Iterator<Item = T> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What a link in `/proc/PID/fd` shows.
fn file_at(link: &str) -> Option<File> {
    let target = fs::read_link(link).ok()?;
    let target = target.to_str()?;
    if target == "anon_inode:[io_uring]" {
        return Some(File::Ring);
    }
    let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
    Some(File::Socket(inode.parse().ok()?))
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
    file_at(&format!("/proc/{pid}/task/{thread}/fd/{fd}")) == Some(File::Socket(inode))
}

#[cfg(test)]
mod tests {
    use std::{os::fd::FromRawFd as _, thread};

    use super::*;
    use crate::container::apart;

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
                std::mem::ManuallyDrop::new(unsafe { fs::File::from_raw_fd(socket.as_raw_fd()) });
            tell.send(file.metadata().unwrap().ino()).unwrap();
            let _ = ended.recv();
        });
        let inode = told.recv().unwrap();
        let mut found = HashMap::new();
        let mut budget = Budget::of(std::time::Duration::from_secs(10));
        let looked = held_by(std::process::id(), &mut budget, |file, holder| {
            if let File::Socket(inode) = file {
                found.insert(inode, holder);
            }
        });
        assert_ne!(looked, Looked::Spent);
        let holder = found.get(&inode).expect("the thread's socket");
        assert_ne!(holder.thread, holder.pid);
        assert!(still_holds(holder, inode));
        apart(|table| {
            assert_eq!(inode_of(&table.borrow(holder).unwrap()).unwrap(), inode);
            table.borrow_same(holder, inode).map(drop).unwrap();
        })
        .unwrap();
        drop(end);
        hider.join().unwrap();
        assert!(!still_holds(holder, inode));
    }
}
