//! Descriptors of others, which are never closed: closing the last one of a socket may wait
//! for as long as its owner likes (SO_LINGER, socket(7)), and may close what lies in its
//! queue. So they are borrowed on a thread with a table of descriptors of its own, which
//! ends with all that is in it: for a task that is ending the kernel waits for nothing.

use std::{
    cell::Cell,
    io,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
};

use super::{Holder, holder::inode_of};

/// Descriptors that one such thread borrows: a process may have 1,024 by default.
const ROOM: usize = 256;

/// The table of descriptors of a thread that has one for itself.
pub struct Table {
    lent: Cell<usize>,
    /// Of that thread.
    _here: PhantomData<*const ()>,
}

/// A descriptor that ends with its table.
pub struct Lent<'a> {
    fd: ManuallyDrop<OwnedFd>,
    _table: PhantomData<&'a Table>,
}

impl Deref for Lent<'_> {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        &self.fd
    }
}

/// Runs `job` on a thread that has a table of descriptors for itself. What it opens in
/// there must not be used after it: it is closed, or another's.
///
/// # Errors
/// If the kernel has no room for the thread or its table.
pub fn apart<T: Send>(job: impl FnOnce(&Table) -> T + Send) -> io::Result<T> {
    let inside = || {
        // SAFETY: acts on this thread only, and nothing was opened on it yet.
        if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(job(&Table {
            lent: Cell::new(0),
            _here: PhantomData,
        }))
    };
    thread::scope(|scope| {
        let started = thread::Builder::new().spawn_scoped(scope, inside)?;
        let ended = started.join();
        ended.map_err(|_panic| io::Error::other("a look at a descriptor failed"))?
    })
}

impl Table {
    /// Whether it has as many as it takes.
    pub fn is_full(&self) -> bool {
        self.lent.get() >= ROOM
    }

    /// A descriptor of our own for another process' socket (pidfd_getfd, Linux 5.6).
    ///
    /// # Errors
    /// `ESRCH` if the process or thread is ending, `EBADF` if it has closed its
    /// descriptor; `EINVAL` if only a thread has it and the kernel is older than 6.9.
    pub fn borrow(&self, holder: &Holder) -> io::Result<Lent<'_>> {
        /// `PIDFD_THREAD`.
        const THREAD: i32 = libc::O_EXCL;
        let flags = if holder.thread == holder.pid {
            0
        } else {
            THREAD
        };
        // SAFETY: integers only; each new descriptor is owned at once.
        let fd = unsafe {
            let pidfd = descriptor(libc::syscall(libc::SYS_pidfd_open, holder.thread, flags))?;
            descriptor(libc::syscall(
                libc::SYS_pidfd_getfd,
                pidfd.as_raw_fd(),
                holder.fd,
                0,
            ))?
        };
        self.lent.set(self.lent.get() + 1);
        Ok(Lent {
            fd: ManuallyDrop::new(fd),
            _table: PhantomData,
        })
    }

    /// The same, if it still is the socket of this inode.
    ///
    /// # Errors
    /// As there, and if the number is another's by now.
    pub fn borrow_same(&self, holder: &Holder, expected: u64) -> io::Result<Lent<'_>> {
        let socket = self.borrow(holder)?;
        if inode_of(&socket)? == expected {
            return Ok(socket);
        }
        Err(io::Error::other(
            "its descriptor is another socket's by now",
        ))
    }
}

/// Why nothing was borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The holder is ending, or has closed it: another may have it.
    Gone,
    /// airgap itself has no room.
    Full,
    /// The kernel lends no such descriptors.
    Hidden,
}

impl Refusal {
    /// By what pidfd_open(2) and pidfd_getfd(2) say. Pure.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            // An ending task lends nothing any more, while /proc shows its
            // descriptors until they are closed.
            Some(libc::ESRCH | libc::EBADF) => Self::Gone,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Self::Full,
            _ => Self::Hidden,
        }
    }
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
    use super::*;
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
        sync::mpsc,
        time::{Duration, Instant},
    };

    /// A connection with data that nobody reads, whose close waits for `seconds`. So does a
    /// process that another test forks meanwhile, which has both ends: not for long.
    fn lingering(seconds: i32) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: seconds,
        };
        let (at, len) = ((&raw const linger).cast(), size_of_val(&linger) as u32);
        // SAFETY: an open socket, and a structure with its length.
        let rc = unsafe {
            let (level, name) = (libc::SOL_SOCKET, libc::SO_LINGER);
            libc::setsockopt(near.as_raw_fd(), level, name, at, len)
        };
        assert_eq!(rc, 0);
        near.set_nonblocking(true).unwrap();
        while near.write(&[0; 65_536]).is_ok() {}
        (near, far)
    }

    #[test]
    fn nobody_waits_for_what_was_borrowed() {
        let (near, _far) = lingering(120);
        let holder = Holder {
            pid: std::process::id(),
            thread: std::process::id(),
            fd: near.as_raw_fd(),
            name: String::new(),
        };
        let inode = inode_of(&near.try_clone().unwrap().into()).unwrap();
        let (lent, was_lent) = mpsc::channel();
        let (close, closed) = mpsc::channel();
        let owner = thread::spawn(move || {
            was_lent.recv().unwrap();
            // Not the last descriptor: this does not wait.
            drop(near);
            close.send(()).unwrap();
        });
        let last = apart(move |table| {
            table.borrow_same(&holder, inode + 1).err().unwrap();
            let socket = table.borrow_same(&holder, inode).unwrap();
            assert_eq!(inode_of(&socket).unwrap(), inode);
            lent.send(()).unwrap();
            closed.recv().unwrap();
            // SAFETY: takes no arguments.
            unsafe { libc::gettid() }
        });
        owner.join().unwrap();
        let path = format!("/proc/self/task/{}", last.unwrap());
        let begun = Instant::now();
        while std::path::Path::new(&path).exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it waits");
            thread::yield_now();
        }
        // The control: who closes it otherwise waits, unless a process that another test
        // has just started holds it, too.
        assert!((0..50).any(|_| waits()));
    }

    fn waits() -> bool {
        let (near, far) = lingering(5);
        let closing = thread::spawn(move || drop(near));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(200) && !closing.is_finished() {
            thread::yield_now();
        }
        let waits = !closing.is_finished();
        drop(far);
        closing.join().unwrap();
        waits
    }

    #[test]
    fn an_ending_holder_hides_nothing() {
        let refusal = |errno| Refusal::of(&io::Error::from_raw_os_error(errno));
        assert_eq!(refusal(libc::ESRCH), Refusal::Gone);
        assert_eq!(refusal(libc::EBADF), Refusal::Gone);
        assert_eq!(refusal(libc::EMFILE), Refusal::Full);
        // Before Linux 6.9 there is no PIDFD_THREAD.
        assert_eq!(refusal(libc::EINVAL), Refusal::Hidden);
        assert_eq!(refusal(libc::EPERM), Refusal::Hidden);
    }
}
