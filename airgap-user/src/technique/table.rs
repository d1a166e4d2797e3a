//! The one table of ways out: what each is, how far it gets, what must become of it.

use super::{
    Technique, datagram, dns, ethernet, forged, header, icmp, int80, join, loopback, options,
    packet, raw, reflect, splice, stranger, tcp, udp, uring,
    vector::{
        DEVICES, DNS, DNS_SERVERS, IP_SOCKETS, JOINS, PACKET_SOCKETS, REFLECTION, SOURCE_ROUTES,
        STRANGERS, TCP, UDP,
    },
    xdp,
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
    /// Whether `airgap verify` tries it: each kind has some that can be shown
    /// on any container, and the rest take a laboratory.
    pub is_shown: bool,
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
        self.name.starts_with("mld-")
    }

    /// Whether it takes IPv6 packets over lo.
    pub fn is_over_loopback6(&self) -> bool {
        let local = [REFLECTION, SOURCE_ROUTES, STRANGERS, DEVICES].contains(&self.vector);
        let forged = ["raw6-lo", "packet-lo"]
            .iter()
            .any(|way| self.name.starts_with(way));
        self.name.contains('6') && (local || forged)
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
    /// The same, from Linux 5.18: what it fails with on a host without a network. Before it,
    /// with `EPERM`. To IPv6, in a container that has an address of it.
    Offline(i32),
    /// The call may succeed; the packet is dropped.
    Dropped,
}
use Sealed::{Dropped, Errno, Offline};

/// Refused by a connect or sendmsg hook.
const UNREACHABLE: Sealed = Offline(libc::ENETUNREACH);
/// The same, on loopback.
const NOBODY: Sealed = Offline(libc::ECONNREFUSED);
/// Refused as a packet. (For a packet socket: without CAP_NET_RAW, by the
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
        is_shown: true,
        run,
    }
}

/// One that only the project's own tests try.
const fn also(
    name: &'static str,
    vector: &'static str,
    reach: Reach,
    sealed: Sealed,
    run: Technique,
) -> Way {
    Way {
        is_shown: false,
        ..way(name, vector, reach, sealed, run)
    }
}

/// Every way out; a line here adds one, to `airgap verify` and to the tests.
#[rustfmt::skip]
pub const TABLE: &[Way] = &[
    way("tcp4", TCP, Outside, UNREACHABLE, tcp::v4),
    way("tcp6", TCP, Outside, UNREACHABLE, tcp::v6),
    way("tcp-mapped", TCP, Outside, UNREACHABLE, tcp::mapped),
    way("tcp4-nonblocking", TCP, Outside, UNREACHABLE, tcp::nonblocking),
    way("tcp4-fastopen", TCP, Outside, UNREACHABLE, tcp::fastopen4),
    way("tcp6-fastopen", TCP, Outside, UNREACHABLE, tcp::fastopen6),
    way("tcp4-fastopen-connect", TCP, Outside, UNREACHABLE, tcp::fastopen_connect),
    way("tcp4-sport5060", TCP, Outside, UNREACHABLE, tcp::sport4),
    way("tcp6-sport5060", TCP, Outside, UNREACHABLE, tcp::sport6),
    way("tcp4-bindtodevice", TCP, Outside, UNREACHABLE, tcp::bind_to_device),
    way("tcp4-listener", TCP, Outside, UNREACHABLE, tcp::listener4),
    way("tcp4-accepted", TCP, Outside, UNREACHABLE, tcp::accepted4),
    way("tcp4-gateway", TCP, Link, UNREACHABLE, tcp::gateway),
    way("mptcp4", IP_SOCKETS, Outside, NO_PROTOCOL, tcp::mptcp4),
    way("mptcp6", IP_SOCKETS, Outside, NO_PROTOCOL, tcp::mptcp6),
    way("udp4", UDP, Outside, UNREACHABLE, udp::v4),
    way("udp6", UDP, Outside, UNREACHABLE, udp::v6),
    way("udp-mapped", UDP, Outside, UNREACHABLE, udp::mapped),
    way("udp4-connected", UDP, Outside, UNREACHABLE, udp::connected4),
    way("udp6-connected", UDP, Outside, UNREACHABLE, udp::connected6),
    way("udp-mapped-connected", UDP, Outside, UNREACHABLE, udp::connected_mapped),
    way("udp4-sendmmsg", UDP, Outside, UNREACHABLE, udp::sendmmsg),
    way("udp4-corked", UDP, Outside, UNREACHABLE, udp::corked),
    way("udp4-sport5060", UDP, Outside, UNREACHABLE, udp::sport4),
    way("udp6-sport5060", UDP, Outside, UNREACHABLE, udp::sport6),
    way("udp4-sport5060-connected", UDP, Outside, UNREACHABLE, udp::sport4_connected),
    also("udp-mapped-sport5060", UDP, Outside, UNREACHABLE, udp::sport_mapped),
    way("udp4-gateway", UDP, Link, UNREACHABLE, udp::gateway),
    way("udp4-broadcast", UDP, Link, UNREACHABLE, udp::broadcast),
    way("udp4-multicast", UDP, Link, UNREACHABLE, udp::multicast4),
    way("udp6-multicast", UDP, Link, UNREACHABLE, udp::multicast6),
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
    also("raw4-gre", IP_SOCKETS, Outside, EPERM, header::gre),
    also("raw4-esp", IP_SOCKETS, Outside, EPERM, header::esp),
    also("raw4-sctp", IP_SOCKETS, Outside, EPERM, header::sctp),
    also("raw4-6in4", IP_SOCKETS, Outside, EPERM, header::ipv6_in_ipv4),
    also("raw4-lsrr", IP_SOCKETS, Link, EPERM, header::source_route),
    also("raw4-connected", IP_SOCKETS, Outside, EPERM, header::connected),
    also("raw4-lo-syn", IP_SOCKETS, Outside, EPERM, header::lo_syn4),
    also("raw6-hop-by-hop", IP_SOCKETS, Outside, EPERM, header::hop_by_hop),
    also("raw6-destination-option", IP_SOCKETS, Outside, EPERM, header::destination),
    way("raw6-fragment", IP_SOCKETS, Outside, EPERM, header::fragment),
    also("uring-raw4", IP_SOCKETS, Outside, EPERM, uring::raw4),
    way("raw4-lo-echo", REFLECTION, Outside, EPERM, raw::lo_echo4),
    way("raw6-lo-echo", REFLECTION, Outside, EPERM, raw::lo_echo6),
    way("lo-lsrr-tcp4", SOURCE_ROUTES, Link, Dropped, options::lsrr_tcp),
    way("lo-lsrr-udp4", SOURCE_ROUTES, Link, Dropped, options::lsrr_udp),
    way("lo-srh-udp6", SOURCE_ROUTES, Outside, Dropped, options::srh_udp),
    way("lo-srh-tcp6", SOURCE_ROUTES, Outside, Dropped, options::srh_tcp),
    also("lo-lsrr-tcp4-int80", SOURCE_ROUTES, Link, Dropped, options::lsrr_tcp_int80),
    also("lo-lsrr-udp4-message", SOURCE_ROUTES, Link, Dropped, options::lsrr_udp_message),
    also("lo-srh-udp6-int80", SOURCE_ROUTES, Outside, Dropped, options::srh_udp_int80),
    also("lo-lsrr-udp4-int80", SOURCE_ROUTES, Link, Dropped, options::lsrr_udp_int80),
    also("lo-srh-tcp6-int80", SOURCE_ROUTES, Outside, Dropped, options::srh_tcp_int80),
    also("lo-srh-accepted6", SOURCE_ROUTES, Outside, Dropped, options::srh_accepted),
    also("lo-eth0-unicast-if", DEVICES, Link, Dropped, loopback::unicast_if),
    also("lo-eth0-pktinfo", DEVICES, Link, Dropped, loopback::pktinfo),
    also("lo-eth0-udp4", DEVICES, Link, Dropped, loopback::device_udp4),
    also("lo-eth0-udp6", DEVICES, Link, Dropped, loopback::device_udp6),
    also("lo-eth0-tcp4", DEVICES, Link, Dropped, loopback::device_tcp4),
    way("transparent-synack4", REFLECTION, Outside, Dropped, reflect::transparent_synack),
    way("transparent-synack4-int80", REFLECTION, Outside, Dropped, reflect::transparent_synack_int80),
    way("transparent-unreach4", REFLECTION, Outside, Dropped, reflect::transparent_unreach),
    way("freebind-synack6", REFLECTION, Outside, Dropped, reflect::freebind_synack),
    way("freebind-unreach6", REFLECTION, Outside, Dropped, reflect::freebind_unreach),
    also("self-udp4", REFLECTION, Outside, Dropped, loopback::self_udp4),
    also("self-udp4-received", REFLECTION, Outside, Dropped, loopback::self_udp4_received),
    also("self-tcp4", REFLECTION, Outside, Dropped, loopback::self_tcp4),
    also("self-udp6", REFLECTION, Outside, Dropped, loopback::self_udp6),
    also("self-tcp6", REFLECTION, Outside, Dropped, loopback::self_tcp6),
    also("transparent-rst4", REFLECTION, Outside, Dropped, reflect::transparent_rst),
    also("transparent-unreach4-int80", REFLECTION, Outside, Dropped, reflect::transparent_unreach_int80),
    also("freebind-rst6", REFLECTION, Outside, Dropped, reflect::freebind_rst),
    also("freebind-unreach6-int80", REFLECTION, Outside, Dropped, reflect::freebind_unreach_int80),
    also("pktinfo-unreach6", REFLECTION, Outside, Dropped, reflect::pktinfo_unreach),
    way("dns-embedded", DNS, Resolver, EPERM, dns::embedded),
    way("dns-embedded-connected", DNS, Resolver, EPERM, dns::embedded_connected),
    way("dns-embedded-mapped", DNS, Resolver, EPERM, dns::embedded_mapped),
    way("dns-embedded-tcp", DNS, Resolver, NOBODY, dns::embedded_tcp),
    way("dns-embedded-port", DNS, Resolver, EPERM, dns::embedded_port),
    also("raw4-dns-embedded", DNS, Resolver, EPERM, header::embedded_dns),
    way("dns-direct", DNS_SERVERS, Outside, EPERM, dns::direct),
    way("dns-direct-tcp", DNS_SERVERS, Outside, UNREACHABLE, dns::direct_tcp),
    also("dns-direct6", DNS_SERVERS, Outside, EPERM, dns::direct6),
    way("uring-tcp4", TCP, Outside, UNREACHABLE, uring::tcp4),
    also("tcp4-mark", TCP, Outside, UNREACHABLE, tcp::marked),
    also("tcp4-self-connected", TCP, Outside, UNREACHABLE, tcp::self_connected),
    also("tcp6-listener", TCP, Outside, UNREACHABLE, tcp::listener6),
    also("tcp6-accepted", TCP, Outside, UNREACHABLE, tcp::accepted6),
    also("tcp-mapped-fastopen", TCP, Outside, UNREACHABLE, tcp::fastopen_mapped),
    also("tcp4-fastopen-listener", TCP, Outside, UNREACHABLE, tcp::fastopen_listener),
    also("tcp6-fastopen-connect", TCP, Outside, UNREACHABLE, tcp::fastopen_connect6),
    also("tcp4-int80", TCP, Outside, UNREACHABLE, int80::tcp),
    also("tcp4-splice", TCP, Outside, UNREACHABLE, splice::tcp4),
    also("tcp4-sendfile", TCP, Outside, UNREACHABLE, splice::sendfile),
    way("uring-udp4", UDP, Outside, UNREACHABLE, uring::udp4),
    also("udp4-splice", UDP, Outside, UNREACHABLE, splice::udp4),
    also("udp6-splice", UDP, Outside, UNREACHABLE, splice::udp6),
    also("udp4-int80", UDP, Outside, UNREACHABLE, int80::udp),
    also("udp6-sendmmsg", UDP, Outside, UNREACHABLE, datagram::sendmmsg6),
    also("udp6-sockaddr4", UDP, Outside, UNREACHABLE, datagram::other_family),
    also("udp6-sockaddr4-connected", UDP, Outside, UNREACHABLE, datagram::other_family_connected),
    also("udp4-gso", UDP, Outside, UNREACHABLE, datagram::segmented),
    also("udp4-uncorked", UDP, Outside, UNREACHABLE, datagram::uncorked),
    also("udp4-fragments", UDP, Outside, UNREACHABLE, datagram::large4),
    way("udp6-fragments", UDP, Outside, UNREACHABLE, datagram::large6),
    also("udp4-pktinfo", UDP, Outside, UNREACHABLE, datagram::pktinfo4),
    also("udp6-pktinfo", UDP, Outside, UNREACHABLE, datagram::pktinfo6),
    also("udp4-bindtodevice", UDP, Outside, UNREACHABLE, datagram::bind_to_device),
    also("udp4-mark", UDP, Outside, UNREACHABLE, datagram::marked),
    also("udp4-own-connected", UDP, Outside, UNREACHABLE, datagram::from_own),
    also("udp4-disconnected", UDP, Outside, UNREACHABLE, datagram::disconnected),
    also("udp4-reconnected", UDP, Outside, UNREACHABLE, datagram::reconnected),
    also("udp4-own-broadcast", UDP, Link, UNREACHABLE, datagram::own_broadcast),
    also("udp-mapped-multicast", UDP, Link, UNREACHABLE, datagram::mapped_multicast),
    also("udp6-hop-by-hop", UDP, Outside, UNREACHABLE, options::hop_by_hop),
    also("udp6-destination-option", UDP, Outside, UNREACHABLE, options::destination),
    also("udp6-hop-by-hop-int80", UDP, Outside, UNREACHABLE, options::hop_by_hop_int80),
    also("udp6-destination-option-int80", UDP, Outside, UNREACHABLE, options::destination_int80),
    also("uring-udp4-zerocopy", UDP, Outside, UNREACHABLE, uring::udp4_zero_copy),
    also("uring-udp4-sqpoll", UDP, Outside, UNREACHABLE, uring::udp4_polled),
    also("uring-send4", UDP, Outside, UNREACHABLE, uring::send_to4),
    also("uring-send4-zerocopy", UDP, Outside, UNREACHABLE, uring::send_to4_zero_copy),
    way("igmp-join", JOINS, Link, Dropped, join::igmp),
    way("igmp-join-int80", JOINS, Link, Dropped, join::igmp_int80),
    way("mld-join", JOINS, Link, Dropped, join::mld),
    also("igmp-source", JOINS, Link, Dropped, join::igmp_source),
    also("igmp-source-int80", JOINS, Link, Dropped, join::igmp_source_int80),
    also("igmp-group", JOINS, Link, Dropped, join::group4),
    also("igmp-group-int80", JOINS, Link, Dropped, join::group4_int80),
    also("igmp-group-source", JOINS, Link, Dropped, join::group_by_source4),
    also("igmp-group-source-int80", JOINS, Link, Dropped, join::group_by_source4_int80),
    also("mld-join-int80", JOINS, Link, Dropped, join::mld_int80),
    also("mld-group", JOINS, Link, Dropped, join::group_v6),
    also("mld-group-int80", JOINS, Link, Dropped, join::group6_int80),
    also("mld-group-source", JOINS, Link, Dropped, join::group_by_source6),
    also("mld-group-source-int80", JOINS, Link, Dropped, join::group_by_source6_int80),
    way("packet-raw", PACKET_SOCKETS, Outside, EPERM, packet::raw),
    way("packet-raw-sport5060", PACKET_SOCKETS, Outside, EPERM, packet::raw_service_port),
    way("packet-dgram", PACKET_SOCKETS, Outside, EPERM, packet::dgram),
    way("packet-qdisc-bypass", PACKET_SOCKETS, Outside, EPERM, packet::qdisc_bypass),
    way("packet-lo-forward", PACKET_SOCKETS, Outside, EPERM, packet::lo_forward),
    way("packet-arp-trailer", PACKET_SOCKETS, Link, EPERM, packet::arp_trailer),
    also("packet-sock-packet", PACKET_SOCKETS, Outside, EPERM, ethernet::sock_packet),
    way("packet-tx-ring", PACKET_SOCKETS, Outside, EPERM, ethernet::tx_ring),
    also("packet-vnet-header", PACKET_SOCKETS, Outside, EPERM, ethernet::segmented),
    also("packet-ip6", PACKET_SOCKETS, Outside, EPERM, ethernet::ip6),
    also("packet-spoofed", PACKET_SOCKETS, Outside, EPERM, ethernet::spoofed),
    way("packet-vlan", PACKET_SOCKETS, Link, EPERM, ethernet::vlan),
    also("packet-ethertype", PACKET_SOCKETS, Link, EPERM, ethernet::unknown_type),
    also("packet-llc", PACKET_SOCKETS, Link, EPERM, ethernet::llc),
    also("packet-solicitation", PACKET_SOCKETS, Link, EPERM, ethernet::solicitation),
    also("packet-arp", PACKET_SOCKETS, Link, EPERM, ethernet::arp),
    also("packet-uring", PACKET_SOCKETS, Outside, EPERM, uring::packet),
    also("packet-lo-echo4", PACKET_SOCKETS, Outside, EPERM, forged::echo4),
    also("packet-lo-echo6", PACKET_SOCKETS, Outside, EPERM, forged::echo6),
    also("packet-lo-unreach4", PACKET_SOCKETS, Outside, EPERM, forged::unreach4),
    also("packet-lo-unreach6", PACKET_SOCKETS, Outside, EPERM, forged::unreach6),
    also("packet-lo-protocol4", PACKET_SOCKETS, Outside, EPERM, forged::protocol4),
    also("packet-lo-option6", PACKET_SOCKETS, Outside, EPERM, forged::option6),
    also("packet-lo-expired", PACKET_SOCKETS, Outside, EPERM, forged::expired),
    also("packet-lo-syn", PACKET_SOCKETS, Outside, EPERM, forged::syn),
    also("packet-lo-stray-ack", PACKET_SOCKETS, Outside, EPERM, forged::stray_ack),
    also("packet-lo-closed-syn", PACKET_SOCKETS, Outside, EPERM, forged::closed_syn),
    also("packet-lo-session", PACKET_SOCKETS, Outside, EPERM, forged::session),
    also("packet-lo-forward-synack", PACKET_SOCKETS, Outside, EPERM, forged::forward_syn_ack),
    also("packet-lo-forward-data", PACKET_SOCKETS, Outside, EPERM, forged::forward_data),
    also("xdp-send", PACKET_SOCKETS, Outside, EPERM, xdp::sent),
    also("xdp-poll", PACKET_SOCKETS, Outside, EPERM, xdp::polled),
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
    use super::Reach;
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
            "lo-srh-udp6-int80",
            "lo-srh-tcp6-int80",
            "lo-srh-accepted6",
            "lo-eth0-udp6",
            "freebind-synack6",
            "freebind-unreach6",
            "self-udp6",
            "self-tcp6",
            "freebind-rst6",
            "freebind-unreach6-int80",
            "pktinfo-unreach6",
            "packet-lo-echo6",
            "packet-lo-unreach6",
            "packet-lo-option6",
            "stranger-udp6",
            "stranger-tcp6",
        ];
        assert_eq!(names, expected);
    }

    /// Sending on one over a veth into a bridge panics Debian's 6.16.12
    /// (`xsk_destruct_skb`): nothing for somebody's host.
    #[test]
    fn verify_makes_no_xdp_socket() {
        let mut xdp = TABLE.iter().filter(|way| way.name.starts_with("xdp"));
        assert!(xdp.clone().count() == 2 && xdp.all(|way| !way.is_shown));
    }

    /// Docker's resolver asks a real server: `verify` must know, and never do it.
    #[test]
    fn whoever_asks_the_embedded_resolver_says_so() {
        for way in TABLE {
            let asks = way.name.contains("dns-embedded");
            assert_eq!(asks, way.reach == Reach::Resolver, "{}", way.name);
        }
    }
}
