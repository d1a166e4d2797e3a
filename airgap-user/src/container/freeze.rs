//! Holding a container still for one look (`cgroup.freeze`, Linux 5.2, cgroup-v2.rst): the
//! last resort, where its processes come and go faster than they can be listed.
//!
//! Who freezes must thaw, whatever happens to it: a child of airgap, which heeds no signal,
//! holds the open files and thaws when airgap says so, when airgap is gone, and after
//! [`MOST`].

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::fs::FileExt as _,
    },
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use super::{Cgroup, rounds::processes};
use crate::container::Budget;

/// How long a container is held still at most.
const MOST: Duration = Duration::from_millis(300);
/// How long it may take until it is still.
const WAIT: Duration = Duration::from_millis(150);

/// Cgroups that this airgap has held still: none is twice.
static ONCE: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);

/// A container that is held still until this is dropped.
pub(super) struct Frozen {
    parts: Vec<Part>,
    /// Ends the guardian.
    pipe: Option<OwnedFd>,
    guardian: libc::pid_t,
    until: Instant,
}

/// One cgroup.
struct Part {
    freeze: File,
    events: File,
}

impl Frozen {
    /// Holds all processes in these cgroups still. `None` if that cannot be, if one of them
    /// is airgap, if somebody else has frozen them, or if this airgap has done so before.
    pub(super) fn hold(cgroups: &[Cgroup]) -> Option<Self> {
        if cgroups.is_empty() || !first_time(cgroups) {
            return None;
        }
        if processes(cgroups, &mut Budget::of(WAIT))
            .0
            .contains(&std::process::id())
        {
            return None;
        }
        let parts: Option<Vec<Part>> = cgroups.iter().map(Part::of).collect();
        let parts = parts?;
        let files: Vec<RawFd> = parts.iter().map(|part| part.freeze.as_raw_fd()).collect();
        // Before anything is frozen.
        let (guardian, pipe) = guard(&files)?;
        let frozen = Self {
            parts,
            pipe: Some(pipe),
            guardian,
            until: Instant::now() + MOST,
        };
        for part in &frozen.parts {
            part.freeze.write_at(b"1", 0).ok()?;
        }
        // A task that is ending may keep it from being still altogether; it makes no
        // others any more.
        let patience = Instant::now() + WAIT;
        while frozen.parts.iter().any(|part| !part.is_still()) && Instant::now() < patience {
            frozen.parts.iter().for_each(Part::wait);
        }
        Some(frozen)
    }

    /// Whether it has been held still until now.
    pub(super) fn held(&self) -> bool {
        let ordered = |part: &Part| content(&part.freeze).is_some_and(|text| text.trim() == "1");
        Instant::now() < self.until && self.parts.iter().all(ordered)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for part in &self.parts {
            // Gone with its cgroup, if this fails.
            let _ = part.freeze.write_at(b"0", 0);
        }
        if let Some(pipe) = self.pipe.take() {
            // SAFETY: an open pipe and one byte. By a byte, for another guardian that was
            // started meanwhile may hold this end, too.
            unsafe { libc::write(pipe.as_raw_fd(), b"x".as_ptr().cast(), 1) };
        }
        // SAFETY: a child of ours that ends at once.
        unsafe { libc::waitpid(self.guardian, std::ptr::null_mut(), 0) };
    }
}

impl Part {
    /// `None` where it cannot be frozen, or is.
    fn of(cgroup: &Cgroup) -> Option<Self> {
        let freeze = OpenOptions::new()
            .read(true)
            .write(true)
            .open(cgroup.path.join("cgroup.freeze"))
            .ok()?;
        let events = File::open(cgroup.path.join("cgroup.events")).ok()?;
        let part = Self { freeze, events };
        let open = content(&part.freeze)?.trim() == "0" && !part.is_still();
        open.then_some(part)
    }

    fn is_still(&self) -> bool {
        content(&self.events).is_some_and(|text| text.lines().any(|line| line == "frozen 1"))
    }

    /// Until the kernel tells of a change, or a little.
    fn wait(&self) {
        let mut poll = libc::pollfd {
            fd: self.events.as_raw_fd(),
            events: libc::POLLPRI,
            revents: 0,
        };
        // SAFETY: one structure.
        unsafe { libc::poll(&raw mut poll, 1, 5) };
    }
}

/// Whether this airgap has held none of them still before.
fn first_time(cgroups: &[Cgroup]) -> bool {
    let Ok(mut once) = ONCE.lock() else {
        return false;
    };
    let fresh = cgroups.iter().all(|cgroup| !once.contains(&cgroup.id));
    once.extend(cgroups.iter().map(|cgroup| cgroup.id));
    fresh
}

/// A few bytes from the beginning of a file.
fn content(file: &File) -> Option<String> {
    let mut bytes = [0; 256];
    let len = file.read_at(&mut bytes, 0).ok()?;
    Some(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

/// Starts the child that writes `0` to these files when it is told to, when the pipe has no
/// other end any more, or after [`MOST`].
fn guard(files: &[RawFd]) -> Option<(libc::pid_t, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, which are owned at once.
    let (here, there) = unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return None;
        }
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    // SAFETY: plain data.
    let (mut all, mut before) = unsafe { std::mem::zeroed::<(libc::sigset_t, libc::sigset_t)>() };
    // SAFETY: whole sets. The child is born with every signal blocked that can be.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    // SAFETY: other threads may hold locks; the child only makes system calls, and ends
    // without running anything else.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: open descriptors, one structure, one byte.
        unsafe {
            libc::close(ends[1]);
            let mut poll = libc::pollfd {
                fd: ends[0],
                events: libc::POLLIN,
                revents: 0,
            };
            libc::poll(&raw mut poll, 1, MOST.as_millis() as i32);
            for file in files {
                libc::pwrite(*file, b"0".as_ptr().cast(), 1, 0);
            }
            libc::_exit(0)
        }
    }
    // SAFETY: a whole set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    drop(here);
    (pid > 0).then_some((pid, there))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::PathBuf};

    struct Dir(PathBuf);

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn cgroup(name: &str, id: u64) -> (Dir, Cgroup) {
        let path = std::env::temp_dir().join(format!("airgap-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("cgroup.freeze"), "0").unwrap();
        fs::write(path.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        let cgroup = Cgroup {
            path: path.clone(),
            id,
            level: 1,
        };
        (Dir(path), cgroup)
    }

    fn order(cgroup: &Cgroup) -> String {
        fs::read_to_string(cgroup.path.join("cgroup.freeze")).unwrap()
    }

    #[test]
    fn thaws_and_does_it_once() {
        let (_dir, cgroup) = cgroup("thaws", u64::MAX);
        let cgroups = std::slice::from_ref(&cgroup);
        let frozen = Frozen::hold(cgroups).unwrap();
        assert_eq!(order(&cgroup), "1");
        assert!(frozen.held());
        drop(frozen);
        assert_eq!(order(&cgroup), "0");
        assert!(Frozen::hold(cgroups).is_none());
    }

    #[test]
    fn the_guardian_thaws_without_airgap() {
        let (_dir, cgroup) = cgroup("guardian", u64::MAX - 1);
        let mut frozen = Frozen::hold(std::slice::from_ref(&cgroup)).unwrap();
        // As if airgap was killed: its end of the pipe closes, and nothing else is done.
        frozen.pipe = None;
        let begun = Instant::now();
        while order(&cgroup) != "0" {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
        assert!(!frozen.held());
    }

    #[test]
    fn what_somebody_else_has_frozen_is_left_alone() {
        let (_dir, cgroup) = cgroup("paused", u64::MAX - 2);
        fs::write(cgroup.path.join("cgroup.freeze"), "1").unwrap();
        assert!(Frozen::hold(std::slice::from_ref(&cgroup)).is_none());
        assert_eq!(order(&cgroup), "1");
    }
}
