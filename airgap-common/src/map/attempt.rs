//! What is counted and remembered of refused attempts.

use super::SealNumber;
use crate::{
    addr::Addr,
    denial::{Denial, Reason},
};

/// Attempts remembered with who made them; those not repeated for longest are
/// forgotten first.
pub const MAX_ATTEMPTS: u32 = 16_384;
/// Room for the attempts of seals that have used up their share of
/// [`MAX_ATTEMPTS`].
pub const MAX_BURSTS: u32 = 4_096;
/// New attempts a seal may add to `ATTEMPTS` at once, and then one a second: a
/// seal alone needs hours to push out what others did.
pub const ATTEMPTS_BURST: u64 = 256;
/// New attempts a second that a seal may add to `BURSTS`; what is beyond is
/// counted by destination only.
pub const BURSTS_PER_SECOND: u64 = 256;
/// Destinations counted exactly, on the host.
pub const MAX_DESTINATIONS: u32 = 65_536;
/// Destinations counted exactly for one seal; the rest is in
/// [`Counters::other`]. As many as 64 seals can have at once.
pub const DESTINATIONS_PER_SEAL: u64 = 1_024;

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
    /// How many of `DESTINATIONS` are this seal's.
    pub destinations: u64,
    /// Refused attempts, of reasons that are not silent, whose destination did
    /// not fit into `DESTINATIONS`.
    pub other: u64,
    /// Refused attempts that fitted into neither `ATTEMPTS` nor `BURSTS`: who
    /// made them is not known.
    pub suppressed: u64,
    /// When the next new attempt is due in `ATTEMPTS`, `CLOCK_BOOTTIME`, ns.
    pub attempts_due: u64,
    /// When the next new attempt is due in `BURSTS`, `CLOCK_BOOTTIME`, ns.
    pub bursts_due: u64,
}

impl Counters {
    /// Counters of a seal that refused nothing yet.
    pub const ZERO: Self = Self {
        by_reason: [0; REASONS],
        nd_second: 0,
        nd_count: 0,
        destinations: 0,
        other: 0,
        suppressed: 0,
        attempts_due: 0,
        bursts_due: 0,
    };

    /// Attempts that something inside the container made and that were
    /// refused: all but the silent reasons.
    pub fn refused(&self) -> u64 {
        let silent = Reason::SILENT.map(|reason| self.by_reason[reason as usize]);
        let silent: u64 = silent.iter().sum();
        self.by_reason.iter().sum::<u64>() - silent
    }
}
