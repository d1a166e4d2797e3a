//! Ways out of a container, as code that tries them.
//!
//! `airgap verify` runs them inside a sealed container, and the end-to-end
//! tests run the same ones: what verify claims is what the tests prove.

pub mod dns;
pub mod host;
pub mod icmp;
pub mod int80;
pub mod join;
pub mod options;
pub mod packet;
pub mod pass;
pub mod raw;
pub mod reflect;
pub mod sys;
pub mod target;
pub mod tcp;
pub mod udp;
pub mod unix;
pub mod uring;

use self::sys::{Fail, Step};
use self::target::Target;

use serde::{Deserialize, Serialize};
use std::time::Instant;

pub type Technique = fn(&Target) -> Step<()>;

/// Every way out. A line here and one in the harness's `techniques.rs` add one.
pub const TABLE: &[(&str, Technique)] = &[
    ("tcp4", tcp::v4),
    ("tcp6", tcp::v6),
    ("tcp-mapped", tcp::mapped),
    ("tcp4-nonblocking", tcp::nonblocking),
    ("tcp4-fastopen", tcp::fastopen4),
    ("tcp6-fastopen", tcp::fastopen6),
    ("tcp4-fastopen-connect", tcp::fastopen_connect),
    ("tcp4-sport5060", tcp::sport4),
    ("tcp6-sport5060", tcp::sport6),
    ("tcp4-bindtodevice", tcp::bind_to_device),
    ("tcp4-listener", tcp::listener_connect),
    ("tcp4-accepted", tcp::accepted_connect),
    ("tcp4-gateway", tcp::gateway),
    ("mptcp4", tcp::mptcp4),
    ("mptcp6", tcp::mptcp6),
    ("udp4", udp::v4),
    ("udp6", udp::v6),
    ("udp-mapped", udp::mapped),
    ("udp4-connected", udp::connected4),
    ("udp6-connected", udp::connected6),
    ("udp-mapped-connected", udp::connected_mapped),
    ("udp4-sendmmsg", udp::sendmmsg),
    ("udp4-corked", udp::corked),
    ("udp4-sport5060", udp::sport4),
    ("udp4-gateway", udp::gateway),
    ("udp4-broadcast", udp::broadcast),
    ("udp4-multicast", udp::multicast4),
    ("udp6-multicast", udp::multicast6),
    ("udplite4", udp::lite4),
    ("udplite6", udp::lite6),
    ("ping4", icmp::ping4),
    ("ping6", icmp::ping6),
    ("raw4-icmp", icmp::raw4),
    ("raw6-icmp", icmp::raw6),
    ("raw6-ns", icmp::neighbour_solicitation),
    ("raw4-udp", raw::udp4),
    ("raw4-tcp-syn", raw::syn4),
    ("raw4-tcp-data", raw::data4),
    ("raw4-tcp-rst", raw::rst4),
    ("raw4-ipip", raw::ipip),
    ("raw6-tcp", raw::tcp6),
    ("raw6-hdrincl", raw::hdrincl6),
    ("raw6-proto253", raw::proto253),
    ("raw4-lo-echo", raw::lo_echo4),
    ("raw6-lo-echo", raw::lo_echo6),
    ("lo-lsrr-tcp4", options::lsrr_tcp),
    ("lo-lsrr-udp4", options::lsrr_udp),
    ("lo-srh-udp6", options::srh_udp),
    ("lo-srh-tcp6", options::srh_tcp),
    ("transparent-synack4", reflect::transparent_synack),
    (
        "transparent-synack4-int80",
        reflect::transparent_synack_int80,
    ),
    ("transparent-unreach4", reflect::transparent_unreach),
    ("freebind-synack6", reflect::freebind_synack),
    ("freebind-unreach6", reflect::freebind_unreach),
    ("dns-embedded", dns::embedded),
    ("dns-embedded-connected", dns::embedded_connected),
    ("dns-embedded-mapped", dns::embedded_mapped),
    ("dns-embedded-tcp", dns::embedded_tcp),
    ("dns-embedded-port", dns::embedded_port),
    ("dns-direct", dns::direct),
    ("dns-direct-tcp", dns::direct_tcp),
    ("uring-tcp4", uring::tcp4),
    ("uring-udp4", uring::udp4),
    ("igmp-join", join::igmp),
    ("igmp-join-int80", join::igmp_int80),
    ("mld-join", join::mld),
    ("packet-raw", packet::raw),
    ("packet-raw-sport5060", packet::raw_service_port),
    ("packet-dgram", packet::dgram),
    ("packet-qdisc-bypass", packet::qdisc_bypass),
    ("packet-lo-forward", packet::lo_forward),
    ("packet-arp-trailer", packet::arp_trailer),
];

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

/// The technique of this name.
pub fn find(name: &str) -> Option<Technique> {
    let mut all = TABLE.iter().chain(HOST_TABLE);
    let found = all.find(|(known, _)| *known == name);
    found.map(|(_, technique)| *technique)
}

/// Tries one technique.
pub fn attempt(name: &str, technique: impl FnOnce(&Target) -> Step<()>, target: &Target) -> Report {
    let start = Instant::now();
    let result = technique(target);
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
