//! Ways out of a container, as code that tries them.
//!
//! `airgap verify` runs them inside a sealed container, and the end-to-end
//! tests run the same ones: what verify claims is what the tests prove.

pub mod datagram;
pub mod dns;
pub mod ethernet;
pub mod forged;
pub mod header;
pub mod icmp;
pub mod int80;
pub mod join;
pub mod loopback;
pub mod message;
pub mod options;
pub mod packet;
pub mod raw;
pub mod reflect;
pub mod refused;
pub mod splice;
pub mod sys;
pub mod target;
pub mod tcp;
pub mod udp;
pub mod uring;
pub mod xdp;

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
    ("tcp4-listener", tcp::listener4),
    ("tcp4-accepted", tcp::accepted4),
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
    ("tcp4-mark", tcp::marked),
    ("tcp4-self-connected", tcp::self_connected),
    ("tcp6-listener", tcp::listener6),
    ("tcp6-accepted", tcp::accepted6),
    ("tcp-mapped-fastopen", tcp::fastopen_mapped),
    ("tcp4-fastopen-listener", tcp::fastopen_listener),
    ("tcp6-fastopen-connect", tcp::fastopen_connect6),
    ("tcp4-int80", int80::tcp),
    ("tcp4-splice", splice::tcp4),
    ("tcp4-sendfile", splice::sendfile),
    ("udp4-splice", splice::udp4),
    ("udp6-splice", splice::udp6),
    ("udp4-int80", int80::udp),
    ("udp6-sendmmsg", datagram::sendmmsg6),
    ("udp6-sockaddr4", datagram::other_family),
    ("udp6-sockaddr4-connected", datagram::other_family_connected),
    ("udp4-gso", datagram::segmented),
    ("udp4-uncorked", datagram::uncorked),
    ("udp4-fragments", datagram::large4),
    ("udp6-fragments", datagram::large6),
    ("udp4-pktinfo", datagram::pktinfo4),
    ("udp6-pktinfo", datagram::pktinfo6),
    ("udp4-bindtodevice", datagram::bind_to_device),
    ("udp4-mark", datagram::marked),
    ("udp4-own-connected", datagram::from_own),
    ("udp4-disconnected", datagram::disconnected),
    ("udp4-reconnected", datagram::reconnected),
    ("udp4-own-broadcast", datagram::own_broadcast),
    ("udp-mapped-multicast", datagram::mapped_multicast),
    ("udp6-hop-by-hop", options::hop_by_hop),
    ("udp6-destination-option", options::destination),
    ("raw4-gre", header::gre),
    ("raw4-esp", header::esp),
    ("raw4-sctp", header::sctp),
    ("raw4-6in4", header::ipv6_in_ipv4),
    ("raw4-lsrr", header::source_route),
    ("raw4-connected", header::connected),
    ("raw4-lo-syn", header::lo_syn4),
    ("raw4-dns-embedded", header::embedded_dns),
    ("raw6-hop-by-hop", header::hop_by_hop),
    ("raw6-destination-option", header::destination),
    ("raw6-fragment", header::fragment),
    ("lo-lsrr-tcp4-int80", options::lsrr_tcp_int80),
    ("lo-lsrr-udp4-message", options::lsrr_udp_message),
    ("lo-srh-udp6-int80", options::srh_udp_int80),
    ("lo-srh-accepted6", options::srh_accepted),
    ("lo-eth0-unicast-if", loopback::unicast_if),
    ("lo-eth0-pktinfo", loopback::pktinfo),
    ("lo-eth0-udp4", loopback::device_udp4),
    ("lo-eth0-udp6", loopback::device_udp6),
    ("lo-eth0-tcp4", loopback::device_tcp4),
    ("self-udp4", loopback::self_udp4),
    ("self-udp4-received", loopback::self_udp4_received),
    ("self-tcp4", loopback::self_tcp4),
    ("self-udp6", loopback::self_udp6),
    ("self-tcp6", loopback::self_tcp6),
    ("transparent-rst4", reflect::transparent_rst),
    (
        "transparent-unreach4-int80",
        reflect::transparent_unreach_int80,
    ),
    ("freebind-rst6", reflect::freebind_rst),
    ("freebind-unreach6-int80", reflect::freebind_unreach_int80),
    ("pktinfo-unreach6", reflect::pktinfo_unreach),
    ("dns-direct6", dns::direct6),
    ("uring-udp4-zerocopy", uring::udp4_zero_copy),
    ("uring-udp4-sqpoll", uring::udp4_polled),
    ("uring-send4", uring::send_to4),
    ("uring-send4-zerocopy", uring::send_to4_zero_copy),
    ("uring-raw4", uring::raw4),
    ("igmp-source", join::igmp_source),
    ("igmp-source-int80", join::igmp_source_int80),
    ("igmp-group", join::group4),
    ("igmp-group-int80", join::group4_int80),
    ("igmp-group-source", join::group_by_source4),
    ("mld-join-int80", join::mld_int80),
    ("mld-group", join::group_v6),
    ("mld-group-int80", join::group6_int80),
    ("mld-group-source", join::group_by_source6),
    ("packet-sock-packet", ethernet::sock_packet),
    ("packet-tx-ring", ethernet::tx_ring),
    ("packet-vnet-header", ethernet::segmented),
    ("packet-ip6", ethernet::ip6),
    ("packet-spoofed", ethernet::spoofed),
    ("packet-vlan", ethernet::vlan),
    ("packet-ethertype", ethernet::unknown_type),
    ("packet-llc", ethernet::llc),
    ("packet-solicitation", ethernet::solicitation),
    ("packet-arp", ethernet::arp),
    ("packet-uring", uring::packet),
    ("packet-lo-echo4", forged::echo4),
    ("packet-lo-echo6", forged::echo6),
    ("packet-lo-unreach4", forged::unreach4),
    ("packet-lo-unreach6", forged::unreach6),
    ("packet-lo-protocol4", forged::protocol4),
    ("packet-lo-option6", forged::option6),
    ("packet-lo-expired", forged::expired),
    ("packet-lo-syn", forged::syn),
    ("packet-lo-stray-ack", forged::stray_ack),
    ("packet-lo-closed-syn", forged::closed_syn),
    ("packet-lo-forward-synack", forged::forward_syn_ack),
    ("packet-lo-forward-data", forged::forward_data),
    ("xdp-send", xdp::sent),
    ("xdp-poll", xdp::polled),
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

/// The technique of this name.
pub fn find(name: &str) -> Option<Technique> {
    let mut all = TABLE.iter().chain(REFUSED);
    let found = all.find(|(known, _)| *known == name);
    found.map(|(_, technique)| *technique)
}

/// Tries one technique.
pub fn attempt(name: &str, technique: Technique, target: &Target) -> Report {
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
