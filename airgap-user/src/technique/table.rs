//! The one table of ways out: what each is, how far it gets, what must become of it.

use super::{
    Technique, dns, icmp, join, options, packet, raw, reflect, stranger, tcp, udp, uring,
    vector::{
        DNS, DNS_SERVERS, IP_SOCKETS, JOINS, PACKET_SOCKETS, REFLECTION, SOURCE_ROUTES, STRANGERS,
        TCP, UDP,
    },
};

/// A way out.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Unique, for people and for [`super::find`].
    pub name: &'static str,
    /// One of [`super::vector`].
    pub vector: &'static str,
    /// How far it gets without a seal.
    pub reach: Reach,
    /// What a sealed attempt must come back with.
    pub sealed: Sealed,
    pub run: Technique,
}

impl Way {
    /// Whether only the frame layer can stop it, on the far side of the container's veth.
    pub fn is_frame_level(&self) -> bool {
        self.vector == PACKET_SOCKETS || self.vector == JOINS
    }

    /// Whether the kernel announces it from a socket that it made for the
    /// network namespace, and so in the container's cgroup: sealed with it.
    pub fn is_announced_inside(&self) -> bool {
        self.name == "mld-join"
    }

    /// Whether it takes IPv6 packets over lo.
    pub fn is_over_loopback6(&self) -> bool {
        let sixth = self.name.ends_with('6') || self.name.starts_with("raw6-lo");
        let local = [REFLECTION, SOURCE_ROUTES, STRANGERS].contains(&self.vector);
        sixth && local
    }
}

/// How far a technique gets without a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Recorded outside.
    Outside,
    /// Recorded on the container's link; something else stops it there.
    Link,
    /// Recorded outside, where Docker's resolver takes it from its own cgroup.
    Resolver,
    /// Heard by a listener on an own address that is outside the cgroup.
    Guest,
}
use Reach::{Guest, Link, Outside, Resolver};

/// What a sealed attempt must come back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// The call fails at once with this errno.
    Errno(i32),
    /// The call may succeed; the packet is dropped.
    Dropped,
}
use Sealed::{Dropped, Errno};

/// Refused by a connect or sendmsg hook. (For a packet socket: without CAP_NET_RAW, by the
/// kernel itself; with it, only frames are refused.)
const EPERM: Sealed = Errno(libc::EPERM);
/// Refused as a kind of socket: runtimes then fall back to plain TCP or UDP.
const NO_PROTOCOL: Sealed = Errno(libc::EPROTONOSUPPORT);

const fn way(
    name: &'static str,
    vector: &'static str,
    reach: Reach,
    sealed: Sealed,
    run: Technique,
) -> Way {
    Way {
        name,
        vector,
        reach,
        sealed,
        run,
    }
}

/// Every way out; a line here adds one, to `airgap verify` and to the tests.
#[rustfmt::skip]
pub const TABLE: &[Way] = &[
    way("tcp4", TCP, Outside, EPERM, tcp::v4),
    way("tcp6", TCP, Outside, EPERM, tcp::v6),
    way("tcp-mapped", TCP, Outside, EPERM, tcp::mapped),
    way("tcp4-nonblocking", TCP, Outside, EPERM, tcp::nonblocking),
    way("tcp4-fastopen", TCP, Outside, EPERM, tcp::fastopen4),
    way("tcp6-fastopen", TCP, Outside, EPERM, tcp::fastopen6),
    way("tcp4-fastopen-connect", TCP, Outside, EPERM, tcp::fastopen_connect),
    way("tcp4-sport5060", TCP, Outside, EPERM, tcp::sport4),
    way("tcp6-sport5060", TCP, Outside, EPERM, tcp::sport6),
    way("tcp4-bindtodevice", TCP, Outside, EPERM, tcp::bind_to_device),
    way("tcp4-listener", TCP, Outside, EPERM, tcp::listener_connect),
    way("tcp4-accepted", TCP, Outside, EPERM, tcp::accepted_connect),
    way("tcp4-gateway", TCP, Link, EPERM, tcp::gateway),
    way("mptcp4", IP_SOCKETS, Outside, NO_PROTOCOL, tcp::mptcp4),
    way("mptcp6", IP_SOCKETS, Outside, NO_PROTOCOL, tcp::mptcp6),
    way("udp4", UDP, Outside, EPERM, udp::v4),
    way("udp6", UDP, Outside, EPERM, udp::v6),
    way("udp-mapped", UDP, Outside, EPERM, udp::mapped),
    way("udp4-connected", UDP, Outside, EPERM, udp::connected4),
    way("udp6-connected", UDP, Outside, EPERM, udp::connected6),
    way("udp-mapped-connected", UDP, Outside, EPERM, udp::connected_mapped),
    way("udp4-sendmmsg", UDP, Outside, EPERM, udp::sendmmsg),
    way("udp4-corked", UDP, Outside, EPERM, udp::corked),
    way("udp4-sport5060", UDP, Outside, EPERM, udp::sport4),
    way("udp4-gateway", UDP, Link, EPERM, udp::gateway),
    way("udp4-broadcast", UDP, Link, EPERM, udp::broadcast),
    way("udp4-multicast", UDP, Link, EPERM, udp::multicast4),
    way("udp6-multicast", UDP, Link, EPERM, udp::multicast6),
    way("udplite4", IP_SOCKETS, Outside, NO_PROTOCOL, udp::lite4),
    way("udplite6", IP_SOCKETS, Outside, NO_PROTOCOL, udp::lite6),
    way("ping4", IP_SOCKETS, Outside, NO_PROTOCOL, icmp::ping4),
    way("ping6", IP_SOCKETS, Outside, NO_PROTOCOL, icmp::ping6),
    way("raw4-icmp", IP_SOCKETS, Outside, EPERM, icmp::raw4),
    way("raw6-icmp", IP_SOCKETS, Outside, EPERM, icmp::raw6),
    way("raw6-ns", IP_SOCKETS, Outside, EPERM, icmp::neighbour_solicitation),
    way("raw4-udp", IP_SOCKETS, Outside, EPERM, raw::udp4),
    way("raw4-tcp-syn", IP_SOCKETS, Outside, EPERM, raw::syn4),
    way("raw4-tcp-data", IP_SOCKETS, Outside, EPERM, raw::data4),
    way("raw4-tcp-rst", IP_SOCKETS, Outside, EPERM, raw::rst4),
    way("raw4-ipip", IP_SOCKETS, Outside, EPERM, raw::ipip),
    way("raw6-tcp", IP_SOCKETS, Outside, EPERM, raw::tcp6),
    way("raw6-hdrincl", IP_SOCKETS, Outside, EPERM, raw::hdrincl6),
    way("raw6-proto253", IP_SOCKETS, Outside, EPERM, raw::proto253),
    way("raw4-lo-echo", REFLECTION, Outside, EPERM, raw::lo_echo4),
    way("raw6-lo-echo", REFLECTION, Outside, EPERM, raw::lo_echo6),
    way("lo-lsrr-tcp4", SOURCE_ROUTES, Link, Dropped, options::lsrr_tcp),
    way("lo-lsrr-udp4", SOURCE_ROUTES, Link, Dropped, options::lsrr_udp),
    way("lo-srh-udp6", SOURCE_ROUTES, Outside, Dropped, options::srh_udp),
    way("lo-srh-tcp6", SOURCE_ROUTES, Outside, Dropped, options::srh_tcp),
    way("transparent-synack4", REFLECTION, Outside, Dropped, reflect::transparent_synack),
    way("transparent-synack4-int80", REFLECTION, Outside, Dropped, reflect::transparent_synack_int80),
    way("transparent-unreach4", REFLECTION, Outside, Dropped, reflect::transparent_unreach),
    way("freebind-synack6", REFLECTION, Outside, Dropped, reflect::freebind_synack),
    way("freebind-unreach6", REFLECTION, Outside, Dropped, reflect::freebind_unreach),
    way("dns-embedded", DNS, Resolver, EPERM, dns::embedded),
    way("dns-embedded-connected", DNS, Resolver, EPERM, dns::embedded_connected),
    way("dns-embedded-mapped", DNS, Resolver, EPERM, dns::embedded_mapped),
    way("dns-embedded-tcp", DNS, Resolver, EPERM, dns::embedded_tcp),
    way("dns-embedded-port", DNS, Resolver, EPERM, dns::embedded_port),
    way("dns-direct", DNS_SERVERS, Outside, EPERM, dns::direct),
    way("dns-direct-tcp", DNS_SERVERS, Outside, EPERM, dns::direct_tcp),
    way("uring-tcp4", TCP, Outside, EPERM, uring::tcp4),
    way("uring-udp4", UDP, Outside, EPERM, uring::udp4),
    way("igmp-join", JOINS, Link, Dropped, join::igmp),
    way("igmp-join-int80", JOINS, Link, Dropped, join::igmp_int80),
    way("mld-join", JOINS, Link, Dropped, join::mld),
    way("packet-raw", PACKET_SOCKETS, Outside, EPERM, packet::raw),
    way("packet-raw-sport5060", PACKET_SOCKETS, Outside, EPERM, packet::raw_service_port),
    way("packet-dgram", PACKET_SOCKETS, Outside, EPERM, packet::dgram),
    way("packet-qdisc-bypass", PACKET_SOCKETS, Outside, EPERM, packet::qdisc_bypass),
    way("packet-lo-forward", PACKET_SOCKETS, Outside, EPERM, packet::lo_forward),
    way("packet-arp-trailer", PACKET_SOCKETS, Link, EPERM, packet::arp_trailer),
    way("stranger-udp4", STRANGERS, Guest, EPERM, stranger::udp4),
    way("stranger-udp4-connected", STRANGERS, Guest, EPERM, stranger::udp4_connected),
    way("stranger-udp6", STRANGERS, Guest, EPERM, stranger::udp6),
    way("stranger-udp-mapped", STRANGERS, Guest, EPERM, stranger::udp_mapped),
    way("stranger-udp4-own", STRANGERS, Guest, EPERM, stranger::udp_own4),
    way("stranger-tcp4", STRANGERS, Guest, Dropped, stranger::tcp4),
    way("stranger-tcp6", STRANGERS, Guest, Dropped, stranger::tcp6),
    way("stranger-tcp4-own", STRANGERS, Guest, Dropped, stranger::tcp_own4),
];

#[cfg(test)]
mod tests {
    use super::TABLE;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = TABLE.iter().map(|way| way.name).collect();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn tells_what_takes_ipv6_over_lo() {
        let over: Vec<_> = TABLE.iter().filter(|way| way.is_over_loopback6()).collect();
        let names: Vec<_> = over.iter().map(|way| way.name).collect();
        let expected = [
            "raw6-lo-echo",
            "lo-srh-udp6",
            "lo-srh-tcp6",
            "freebind-synack6",
            "freebind-unreach6",
            "stranger-udp6",
            "stranger-tcp6",
        ];
        assert_eq!(names, expected);
    }
}
