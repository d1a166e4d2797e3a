//! Descriptors that are in no table: in the queue of a unix socket (SCM_RIGHTS), or registered
//! with a ring (io_uring_register(2)). /proc/PID/fdinfo tells how many there are; what they
//! are cannot be looked at.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::aside;

/// How many descriptors lie in the queue of a unix socket (`scm_fds`, Linux 5.14), by its
/// fdinfo; `None`: the kernel does not tell. Pure.
pub(super) fn in_queue(fdinfo: &str) -> Option<u64> {
    let mut lines = fdinfo.lines();
    lines.find_map(|line| line.strip_prefix("scm_fds:")?.trim().parse().ok())
}

/// Inodes of the sockets that are registered with a ring, by its fdinfo; `None`: that does
/// not tell, for the ring was busy. Pure.
pub(super) fn in_ring(fdinfo: &str) -> Option<Vec<u64>> {
    let mut lines = fdinfo
        .lines()
        .skip_while(|line| !line.starts_with("UserFiles:"));
    let count = lines.next()?.strip_prefix("UserFiles:")?.trim();
    let count: usize = count.parse().ok()?;
    // One line for each slot that is in use: its number, and what it is.
    let entry = |line: &str| -> Option<String> {
        let (slot, file) = line.trim_start().split_once(": ")?;
        slot.parse::<u32>().ok()?;
        Some(file.trim().to_owned())
    };
    let files = lines.map_while(entry).take(count);
    Some(
        files
            .filter_map(|file| {
                file.strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .parse()
                    .ok()
            })
            .collect(),
    )
}

/// So long all rings of a look are waited for, and one of them,
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_ONE: Duration = Duration::from_millis(100);
/// and so many bytes are looked at: what waits in a ring is printed before its files.
const MOST: usize = 1 << 20;
/// The kernel leaves the files out while the ring is busy: so it is asked a few times.
const TRIES: usize = 8;

/// A look at rings: one that makes the kernel print for long ends it.
#[derive(Debug, Default)]
pub(super) struct Rings {
    spent: Duration,
    late: bool,
}

impl Rings {
    /// Inodes of the sockets that are registered with a ring that a thread has; `None`: not
    /// known.
    pub(super) fn registered(&mut self, pid: u32, thread: u32, fd: i32) -> Option<Vec<u64>> {
        let path = format!("/proc/{pid}/task/{thread}/fdinfo/{fd}");
        for _ in 0..TRIES {
            if self.late || self.spent >= PATIENCE {
                return None;
            }
            let begun = Instant::now();
            let text = aside::read(&path, MOST, PATIENCE_ONE);
            self.spent += begun.elapsed();
            let Some(text) = text else {
                self.late = true;
                return None;
            };
            if let Some(found) = in_ring(&String::from_utf8_lossy(&text)) {
                return Some(found);
            }
        }
        None
    }
}

/// Descriptors in the queue of a unix socket that this thread has.
pub(super) fn queued(fd: i32) -> Option<u64> {
    in_queue(&fs::read_to_string(format!("/proc/thread-self/fdinfo/{fd}")).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::net::UnixStream,
    };

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(in_queue("pos:\t0\nino:\t7\nscm_fds: 12\n"), Some(12));
        assert_eq!(in_queue("pos:\t0\n"), None);
        let ring = "SqThreadCpu:\t-1\nUserFiles:\t8\n    0: socket:[77]\n    3: /dev/null\n    \
                    5: socket:[78]\nUserBufs:\t1\n    0: 0x5/7\n";
        assert_eq!(in_ring(ring), Some(vec![77, 78]));
        assert_eq!(in_ring("UserFiles:\t0\nUserBufs:\t0\n"), Some(vec![]));
        assert_eq!(in_ring("SqThreadCpu:\t-1\n"), None);
        assert_eq!(in_ring(""), None);
    }

    #[test]
    fn counts_what_was_sent_and_not_received() {
        let (near, far) = UnixStream::pair().unwrap();
        let Some(none) = queued(far.as_raw_fd()) else {
            // Before Linux 5.14.
            return;
        };
        assert_eq!(none, 0);
        assert!(crate::technique::pass::send(near.as_fd(), near.as_fd()).is_ok());
        assert_eq!(queued(far.as_raw_fd()), Some(1));
        assert_eq!(queued(near.as_raw_fd()), Some(0));
    }
}
