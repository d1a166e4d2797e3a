//! Running code inside another network namespace.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::thread;

/// An open network namespace.
#[derive(Debug)]
pub struct Netns(File);

impl Netns {
    /// The namespace `ip netns add NAME` made.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::at(&format!("/run/netns/{name}"))
    }

    /// The namespace a process lives in.
    #[must_use]
    pub fn of_pid(pid: u32) -> Self {
        Self::at(&format!("/proc/{pid}/ns/net"))
    }

    #[track_caller]
    fn at(path: &str) -> Self {
        Self(File::open(path).unwrap_or_else(|e| panic!("cannot open namespace {path}: {e}")))
    }

    /// Runs `job` on a thread inside the namespace. Sockets it returns stay in there.
    ///
    /// # Panics
    /// When the namespace cannot be entered, and with the job's own panics.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    enter(&self.0);
                    job()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

fn enter(ns: &File) {
    // SAFETY: setns takes a descriptor that `ns` keeps open, and no pointers.
    let rc = unsafe { libc::setns(ns.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(
        rc,
        0,
        "cannot enter the namespace: {}",
        std::io::Error::last_os_error()
    );
}
