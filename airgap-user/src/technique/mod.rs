//! Ways out of a container, as code that tries them.
//!
//! `airgap verify` runs them inside a sealed container, and the end-to-end
//! tests run the same ones: what verify claims is what the tests prove.

pub mod datagram;
pub mod dns;
pub mod ethernet;
pub mod forged;
pub mod header;
pub mod host;
pub mod icmp;
pub mod int80;
pub mod join;
pub mod loopback;
pub mod message;
pub mod options;
pub mod packet;
pub mod pass;
pub mod raw;
pub mod reflect;
pub mod refused;
pub mod splice;
pub mod stranger;
pub mod sys;
mod table;
pub mod target;
pub mod tcp;
pub mod udp;
pub mod unix;
pub mod uring;
pub mod vector;
pub mod xdp;

pub use self::table::{Reach, Sealed, TABLE, Way};

use self::sys::{Fail, Step};
use self::target::Target;

use serde::{Deserialize, Serialize};
use std::time::Instant;

pub type Technique = fn(&Target) -> Step<()>;

/// Ways out that no packet shows: sockets that only the security hooks refuse.
/// The unix ones need somebody outside at the abstract name that is the marker.
pub const HOST_TABLE: &[(&str, Technique)] = &[
    ("vsock-stream", host::vsock),
    ("vsock-dgram", host::vsock_dgram),
    ("netlink-audit", host::audit),
    ("netlink-usersock", host::netlink_user),
    ("packet-socket", host::packet),
    ("xdp-socket", host::xdp),
    ("unix-stream", unix::stream),
    ("unix-seqpacket", unix::seqpacket),
    ("unix-dgram", unix::dgram),
    ("unix-dgram-connected", unix::dgram_connected),
];

/// What a container is refused with or without a seal.
pub const REFUSED: &[(&str, Technique)] = &[
    ("sctp", refused::sctp),
    ("dccp", refused::dccp),
    ("l2tp", refused::l2tp),
    ("smc", refused::smc),
    ("smc-inet", refused::smc_inet),
    ("rds", refused::rds),
    ("pppoe", refused::pppoe),
    ("can", refused::can),
    ("tipc", refused::tipc),
    ("rxrpc", refused::rxrpc),
    ("kcm", refused::kcm),
    ("new-network", refused::new_network),
    ("new-user", refused::new_user),
    ("new-cgroup", refused::new_cgroup),
    ("clone3", refused::clone3),
    ("bpf", refused::bpf),
    ("request-key", refused::request_key),
    ("tcp-repair", refused::repair),
    ("anycast", refused::anycast),
    ("tun", refused::tun),
    ("neighbour", refused::neighbour),
    ("device", refused::device),
];

/// How one attempt ended, as seen by the process that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Name in [`TABLE`].
    pub technique: String,
    pub outcome: Outcome,
    /// 0 unless a call failed.
    pub errno: i32,
    pub micros: u64,
    /// The call that ended it, or the reason for skipping.
    pub detail: String,
}

/// See [`Report`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every call succeeded: something was handed to the kernel for sending.
    Sent,
    /// A call failed with an errno.
    Refused,
    /// Nothing failed, but no answer came in time.
    NoAnswer,
    /// This kernel or container cannot even try.
    Skipped,
}

/// The way out of this name.
pub fn find(name: &str) -> Option<&'static Way> {
    TABLE.iter().find(|way| way.name == name)
}

/// The technique of this name in [`HOST_TABLE`] or [`REFUSED`].
pub fn find_other(name: &str) -> Option<Technique> {
    let mut all = HOST_TABLE.iter().chain(REFUSED);
    let found = all.find(|(known, _)| *known == name);
    found.map(|(_, technique)| *technique)
}

/// Tries one way out.
pub fn attempt(way: &Way, target: &Target) -> Report {
    attempt_with(way.name, way.run, target)
}

/// Tries whatever can be tried, and reports it under this name.
pub fn attempt_with(name: &str, work: impl FnOnce(&Target) -> Step<()>, target: &Target) -> Report {
    let start = Instant::now();
    let result = work(target);
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (outcome, errno, detail) = match result {
        Ok(()) => (Outcome::Sent, 0, String::new()),
        Err(Fail::Skip(why)) => (Outcome::Skipped, 0, why),
        Err(Fail::Os { step, errno }) => (outcome(step, errno), errno, step.to_owned()),
    };
    Report {
        technique: name.to_owned(),
        outcome,
        errno,
        micros,
        detail,
    }
}

fn outcome(step: &str, errno: i32) -> Outcome {
    match errno {
        // The peer's own answer: the question got there.
        libc::ECONNREFUSED | libc::ECONNRESET => Outcome::Sent,
        libc::EINPROGRESS | libc::ETIMEDOUT | libc::EAGAIN => Outcome::NoAnswer,
        libc::EAFNOSUPPORT | libc::ENOSYS | libc::ENOPROTOOPT
            if matches!(step, "socket" | "io_uring_setup") =>
        {
            Outcome::Skipped
        }
        _ => Outcome::Refused,
    }
}
