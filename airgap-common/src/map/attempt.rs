//! What is counted and remembered of refused attempts.

use super::SealNumber;
use crate::{
    addr::Addr,
    denial::{Denial, Reason},
};

/// Attempts remembered with who made them; the oldest are forgotten first, but for what is
/// repeated every hour. Each takes its memory when it is made.
pub const MAX_ATTEMPTS: u32 = 16_384;
/// Room for the attempts of seals that have used up their share of
/// [`MAX_ATTEMPTS`].
pub const MAX_BURSTS: u32 = 4_096;
/// How many [`Share`]s of processes are remembered; the oldest are forgotten first, and then
/// begin anew.
pub const MAX_SHARES: u32 = 8_192;
/// Processes whose arguments are remembered; those whose first attempt is longest ago are
/// forgotten first.
pub const MAX_PROGRAMS: u32 = 4_096;
/// Bytes of a process's arguments that are kept; a power of two.
pub const ARGUMENTS: usize = 128;
/// New attempts a seal may add to `ATTEMPTS` at once, and then one a second, out
/// of each of its two pools, the common one and the reserve: a seal alone needs
/// hours to push out what others did.
pub const ATTEMPTS_BURST: u64 = 256;
/// New attempts that one process may add, of one [`kind_of`] thing, to `ATTEMPTS`
/// at once, and then one in [`SHARE_SECONDS`] seconds.
pub const SHARE_BURST: u64 = 32;
/// The first so many of them come out of the reserve, so that no other process's
/// noise can use up their room.
pub const SHARE_RESERVED: u64 = 8;
/// See [`SHARE_BURST`].
pub const SHARE_SECONDS: u64 = 8;
/// New attempts a second that a seal may add to `BURSTS`; what is beyond is
/// counted by destination only.
pub const BURSTS_PER_SECOND: u64 = 256;
/// How many of them may be one process's.
pub const SHARE_PER_SECOND: u64 = 32;
/// Besides, the first new attempt of up to so many processes of a seal is told in
/// each second, whatever others do.
pub const FRESH_PER_SECOND: u64 = 64;
/// Destinations counted exactly, on the host; the oldest make room for later ones, but for
/// those that are tried every hour. Each takes its memory when it is first tried.
pub const MAX_DESTINATIONS: u32 = 16_384;
/// How many fewer than a map may hold are remembered in the order of their age: each
/// processor may just have put one in for which the oldest has not gone yet.
pub const ORDER_SLACK: u32 = 256;
/// Destinations that a seal may have counted exactly at once, and then one more a
/// second; the rest is in [`Counters::other`]. As many as 16 seals can have at once.
pub const DESTINATIONS_PER_SEAL: u64 = 1_024;
/// How many of them may be one process's, and then one more in [`SHARE_SECONDS`].
pub const DESTINATIONS_PER_SHARE: u64 = 128;

/// Key of `SHARES`: one process, and one kind of thing that it does.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// Seal.
    pub seal: SealNumber,
    /// When the process started, as [`Denial::start`]; 0: not known.
    pub start: u64,
    /// Process id in the initial pid namespace; 0: not known.
    pub tgid: u32,
    /// [`kind_of`] its attempts.
    pub kind: u32,
}

/// Key of `PROGRAMS`: one process, as long as it runs one program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// When the process started, as [`Denial::start`].
    pub start: u64,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Zero.
    pub _pad: u32,
    /// `task->comm`, which `execve` changes.
    pub comm: [u8; 16],
}

/// Value of `PROGRAMS`: what the process had as its arguments when its first attempt was
/// refused.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// How many of `bytes` are filled; 0: they could not be read.
    pub len: u32,
    /// Arguments with a NUL after each, cut at the array's size. The process chose them.
    pub bytes: [u8; ARGUMENTS],
}

impl Arguments {
    /// Not read.
    pub const UNKNOWN: Self = Self {
        len: 0,
        bytes: [0; ARGUMENTS],
    };
}

/// Value of `SHARES`: what a process has used up of its share. All zero at first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// How many of its attempts went into `ATTEMPTS` out of the reserve.
    pub reserved: u64,
    /// As in [`Counters`], of this process alone.
    pub attempts_due: u64,
    /// As in [`Counters`], of this process alone.
    pub bursts_due: u64,
    /// As in [`Counters`], of this process alone.
    pub fresh_due: u64,
    /// As in [`Counters`], of this process alone.
    pub destinations_due: u64,
    /// How many of its destinations were counted out of the reserve.
    pub destinations: u64,
}

impl Spent {
    /// Nothing.
    pub const ZERO: Self = Self {
        reserved: 0,
        attempts_due: 0,
        bursts_due: 0,
        fresh_due: 0,
        destinations_due: 0,
        destinations: 0,
    };
}

/// Which kind of thing an attempt with this number of a [`Reason`] is: a flood of
/// questions shall not hide a connection. As few as there are, as each has a share.
#[inline(always)]
pub const fn kind_of(reason: u64) -> u32 {
    const DNS: u64 = Reason::Dns as u64;
    const SOCKET_TYPE: u64 = Reason::SocketType as u64;
    const FOREIGN_SOCKET: u64 = Reason::ForeignSocket as u64;
    const UNIX_PEER: u64 = Reason::UnixPeer as u64;
    const SOCKET_OPTION: u64 = Reason::SocketOption as u64;
    match reason {
        DNS => 1,
        SOCKET_TYPE | FOREIGN_SOCKET | UNIX_PEER | SOCKET_OPTION => 2,
        _ => 0,
    }
}

/// A leaky bucket that lets one in each `interval`, and up to `burst` at once:
/// the time (as `now`, nanoseconds) from which on it is empty, or `None` while it
/// is full. `due` is what it said last, 0 at first.
#[inline(always)]
pub const fn admit(due: u64, now: u64, interval: u64, burst: u64) -> Option<u64> {
    let at = if due < now { now } else { due };
    if at - now > interval * (burst - 1) {
        return None;
    }
    Some(at + interval)
}

/// Key of `ATTEMPTS`: refused attempts that differ only in time, thread and
/// source port are one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// Seal.
    pub seal: SealNumber,
    /// Hash of the DNS question or the unix socket's path; 0: there is none.
    pub name: u64,
    /// Destination; all zero: not known.
    pub dst: Addr,
    /// Process id in the initial pid namespace; 0: not known.
    pub tgid: u32,
    /// Interface of a packet or frame, as in [`Denial::ifindex`]; 0: none.
    pub ifindex: u32,
    /// Destination port, host byte order; 0: none.
    pub dport: u16,
    /// `AF_*` of a refused `socket`, else 0.
    pub family: u16,
    /// `SOCK_*` of a refused `socket`, else 0.
    pub socket_type: u16,
    /// IP protocol number; 0: not known.
    pub protocol: u8,
    /// [`Reason`].
    pub reason: u8,
    /// [`crate::denial::Hook`].
    pub hook: u8,
    /// Zero.
    pub _pad: [u8; 7],
}

/// Value of `ATTEMPTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How many there were. One attempt more may have been counted than was
    /// written to the record: it is being filled then, and its `abi` is 0.
    pub count: u64,
    /// The last, `CLOCK_BOOTTIME`, nanoseconds.
    pub last: u64,
    /// The first.
    pub record: Denial,
}

impl Attempt {
    /// What is inserted before the record is filled.
    pub const EMPTY: Self = Self {
        count: 0,
        last: 0,
        record: Denial::EMPTY,
    };
}

/// Key of `DESTINATIONS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Seal.
    pub seal: SealNumber,
    /// Address; all zero: not known.
    pub addr: Addr,
    /// Port, host byte order; 0: none.
    pub port: u16,
    /// IP protocol number; 0: not known.
    pub protocol: u8,
    /// [`Reason`].
    pub reason: u8,
    /// [`crate::denial::Hook`].
    pub hook: u8,
    /// Zero.
    pub _pad: [u8; 3],
}

/// Value of `DESTINATIONS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many attempts were refused.
    pub count: u64,
    /// The first, `CLOCK_BOOTTIME`, nanoseconds.
    pub first: u64,
    /// The last, `CLOCK_BOOTTIME`, nanoseconds.
    pub last: u64,
}

/// Room for [`crate::denial::Reason`]s, whose numbers are all below.
pub const REASONS: usize = 24;

/// Denials of one seal by [`crate::denial::Reason`], and neighbour discovery state.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Denials, index = reason.
    pub by_reason: [u64; REASONS],
    /// Second (`CLOCK_MONOTONIC`) of the neighbour discovery window.
    pub nd_second: u64,
    /// Messages in that window.
    pub nd_count: u64,
    /// Refused attempts, of reasons that are not silent, whose destination did
    /// not fit into `DESTINATIONS`.
    pub other: u64,
    /// Refused attempts that fitted into neither `ATTEMPTS` nor `BURSTS`: who
    /// made them is not known.
    pub suppressed: u64,
    /// When the bucket of new attempts in `ATTEMPTS` is empty ([`admit`]),
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub attempts_due: u64,
    /// The same of the reserve for processes that have none there yet.
    pub reserve_due: u64,
    /// The same of new attempts in `BURSTS`.
    pub bursts_due: u64,
    /// The same of processes' first new attempts in a second.
    pub fresh_due: u64,
    /// The same of new destinations.
    pub destinations_due: u64,
    /// The same of the reserve for processes that have none counted yet.
    pub destination_reserve_due: u64,
}

impl Counters {
    /// Counters of a seal that refused nothing yet.
    pub const ZERO: Self = Self {
        by_reason: [0; REASONS],
        nd_second: 0,
        nd_count: 0,
        other: 0,
        suppressed: 0,
        attempts_due: 0,
        reserve_due: 0,
        bursts_due: 0,
        fresh_due: 0,
        destinations_due: 0,
        destination_reserve_due: 0,
    };

    /// Attempts that something inside the container made and that were
    /// refused: all but the silent reasons.
    pub fn refused(&self) -> u64 {
        let silent = Reason::SILENT.map(|reason| self.by_reason[reason as usize]);
        let silent: u64 = silent.iter().sum();
        self.by_reason.iter().sum::<u64>() - silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_one_an_interval() {
        let (mut due, mut let_through) = (0, 0);
        let mut offer = |now| {
            let next = admit(due, now, 10, 4);
            due = next.unwrap_or(due);
            let_through += usize::from(next.is_some());
            let_through
        };
        let at_once: usize = (0..100).map(|_| offer(1_000)).max().unwrap();
        assert_eq!(at_once, 4);
        assert_eq!(offer(1_009), 4);
        assert_eq!(offer(1_010), 5);
        assert_eq!(offer(1_010), 5);
        // Ten intervals later it is empty again, and no emptier.
        let later: usize = (0..100).map(|_| offer(1_110)).max().unwrap();
        assert_eq!(later, 5 + 4);
    }

    #[test]
    fn questions_and_connections_have_shares_of_their_own() {
        assert_ne!(kind_of(Reason::Dns as u64), kind_of(Reason::Egress as u64));
        assert_ne!(
            kind_of(Reason::SocketType as u64),
            kind_of(Reason::Egress as u64)
        );
        let kinds: std::collections::BTreeSet<_> = (0..REASONS as u64).map(kind_of).collect();
        assert_eq!(kinds.len(), 3);
    }

    /// What `EVENTS.md` says of the tables.
    #[test]
    fn a_noisy_process_leaves_room() {
        const { assert!(SHARE_BURST < ATTEMPTS_BURST) };
        const { assert!(SHARE_PER_SECOND < BURSTS_PER_SECOND) };
        const { assert!(DESTINATIONS_PER_SHARE < DESTINATIONS_PER_SEAL) };
        // A seal that does its worst keeps what it did for ten seconds at least.
        const {
            let kept = (MAX_BURSTS - ORDER_SLACK) as u64;
            assert!(kept / (BURSTS_PER_SECOND + FRESH_PER_SECOND) >= 10);
        };
    }
}
