//! Running code inside another network namespace.

use std::{fs::File, io, os::fd::AsRawFd as _, os::fd::RawFd, thread};

use anyhow::{Context as _, Result, anyhow};

/// An open network namespace; it lives at least as long as this.
#[derive(Debug)]
pub struct Netns(File);

impl Netns {
    /// The one of a process.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/net");
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Ok(Self(file))
    }

    /// A new one, empty but for lo, that nothing but this process holds.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn fresh() -> Result<Self> {
        let make = || {
            // SAFETY: takes no pointers and acts on this thread only.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            File::open("/proc/thread-self/ns/net")
        };
        let file = thread::spawn(make).join();
        let file = file.map_err(|_panic| anyhow!("cannot make a network namespace"))?;
        Ok(Self(file.context("cannot make a network namespace")?))
    }

    /// The descriptor, for netlink.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Runs `job` on a thread inside; sockets it returns stay there, and so
    /// does what it reads below `/proc/thread-self/net` and `/proc/sys/net`.
    ///
    /// # Errors
    /// If the namespace cannot be entered, and the job's own.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || {
            // SAFETY: takes an open descriptor and acts on this thread only.
            if unsafe { libc::setns(self.fd(), libc::CLONE_NEWNET) } != 0 {
                let error = io::Error::last_os_error();
                return Err(error).context("cannot enter a network namespace");
            }
            job()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .map_err(|_panic| anyhow!("a look into a network namespace failed"))?
    }
}
