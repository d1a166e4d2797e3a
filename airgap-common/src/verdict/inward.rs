//! The verdict on frames towards a container, on the host's end of its veth:
//! whether one that opens a connection, or answers by an exception, can come from where
//! it says. A neighbour
//! on the bridge may claim the gateway's address by ARP and speak as a far client;
//! the host knows by which interface a frame came in, and where that client is.

use crate::{
    addr::Addr,
    denial::Reason,
    map::Veth,
    packet::{ACK, ICMP, ICMPV6, Ip, Kind, SYN, TCP, Transport, UDP},
};

/// Where the host would send an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// By which interface; 0: nowhere, or to itself.
    pub ifindex: u32,
    /// Whether the address is on that link, and not behind a gateway.
    pub on_link: bool,
}

/// What a frame may bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Nothing that is looked at here.
    Nothing,
    /// A connection, or data by an exception: a SYN, TCP that cannot be read here, a
    /// datagram.
    Opens,
    /// Another route: a router advertisement or a redirect, or what cannot be
    /// told from one.
    Steers,
}

/// What this frame may bring about. `transport` is [`Transport::OTHER`] where
/// the header could not be read.
#[inline(always)]
pub fn concern(ip: &Ip, transport: &Transport) -> Concern {
    /// ICMP redirect (RFC 792).
    const REDIRECT: u8 = 5;
    /// Router advertisement and redirect (RFC 4861 §4.2, §4.5).
    const ADVERTISEMENT6: u8 = 134;
    const REDIRECT6: u8 = 137;
    if !ip.plain {
        return match (ip.version, ip.protocol) {
            // Fragments and options: the container puts together what this cannot read.
            (4, TCP | UDP) => Concern::Opens,
            (4, ICMP) | (6, _) => Concern::Steers,
            _ => Concern::Nothing,
        };
    }
    match (ip.protocol, transport.kind) {
        (TCP, Kind::Tcp) if transport.flags & (SYN | ACK) != SYN => Concern::Nothing,
        (TCP | UDP, _) => Concern::Opens,
        (ICMP, Kind::Icmp) if transport.icmp_type != REDIRECT => Concern::Nothing,
        (ICMP, _) => Concern::Steers,
        (ICMPV6, Kind::Icmp)
            if transport.icmp_type != ADVERTISEMENT6 && transport.icmp_type != REDIRECT6 =>
        {
            Concern::Nothing
        }
        (ICMPV6, _) => Concern::Steers,
        _ => Concern::Nothing,
    }
}

/// Judges a frame of some concern that came in by the interface `from` (0: the
/// host's own). `route` says where an answer to `client` would go.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn inward(
    concern: Concern,
    client: Addr,
    from: u32,
    veth: &Veth,
    route: impl FnOnce() -> Route,
) -> Result<(), Reason> {
    if from == 0 || veth.bridge == Veth::UNPLUGGED || veth.is_uplink(from) {
        return Ok(());
    }
    if concern == Concern::Steers {
        return Err(Reason::Inbound);
    }
    // No router passes these on: such a client is on the link.
    if client.is_v6_link_local() {
        return Ok(());
    }
    // A neighbour that came by a published port, behind the host's own address:
    // the host takes no frame with that address in.
    if from == veth.bridge && veth.gateway != 0 && client.is(Addr::v4(veth.gateway)) {
        return Ok(());
    }
    let Route { ifindex, on_link } = route();
    // It came in where an answer leaves: by an interface of the host's own, as a
    // bridge's ports have no routes. Or it is on the bridge's link, and so may
    // come in by any port, or by the bridge, if the host forwarded it back.
    let comes_from_there = ifindex == from && from != veth.bridge;
    let is_neighbour = ifindex == veth.bridge && on_link;
    if ifindex != 0 && (comes_from_there || is_neighbour) {
        return Ok(());
    }
    Err(Reason::Inbound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{MAX_UPLINKS, Mac};

    const BRIDGE: u32 = 10;
    const PORT: u32 = 11;
    const ETH0: u32 = 2;
    const TUNNEL: u32 = 30;
    const OTHER_BRIDGE: u32 = 40;
    const NEAR: Addr = Addr::from_v4([198, 51, 100, 9]);
    const FAR: Addr = Addr::from_v4([198, 51, 100, 200]);
    const GATEWAY: [u8; 4] = [198, 51, 100, 1];

    fn veth() -> Veth {
        let mut uplinks = [0; MAX_UPLINKS];
        uplinks[..2].copy_from_slice(&[3, ETH0]);
        Veth {
            seal: 7,
            bridge: BRIDGE,
            gateway: u32::from_ne_bytes(GATEWAY),
            uplinks,
            mac: Mac::default(),
        }
    }

    fn judge(client: Addr, from: u32, ifindex: u32, on_link: bool) -> bool {
        let route = || Route { ifindex, on_link };
        inward(Concern::Opens, client, from, &veth(), route).is_ok()
    }

    #[test]
    fn a_far_client_comes_in_where_its_answer_leaves() {
        assert!(judge(FAR, ETH0, ETH0, false), "by a known uplink");
        assert!(judge(FAR, 3, ETH0, false), "by another one");
        assert!(judge(FAR, TUNNEL, TUNNEL, false), "by one that is new");
        assert!(judge(FAR, OTHER_BRIDGE, OTHER_BRIDGE, true), "a bridge");
        assert!(judge(FAR, 0, ETH0, false), "by the host's proxy");
        assert!(!judge(FAR, PORT, ETH0, false), "by a neighbour's port");
        assert!(!judge(FAR, PORT, OTHER_BRIDGE, true), "by a port");
        assert!(!judge(FAR, BRIDGE, ETH0, false), "back by the gateway");
        assert!(!judge(FAR, PORT, BRIDGE, false), "behind a neighbour");
        assert!(!judge(FAR, BRIDGE, BRIDGE, false), "and by the gateway");
        assert!(!judge(FAR, TUNNEL, ETH0, false), "by nobody knows what");
        for from in [PORT, BRIDGE, TUNNEL] {
            assert!(!judge(FAR, from, 0, false), "no route");
            assert!(!judge(FAR, from, 0, true), "no route");
        }
    }

    #[test]
    fn a_neighbour_comes_in_by_its_port() {
        assert!(judge(NEAR, PORT, BRIDGE, true));
        assert!(judge(NEAR, BRIDGE, BRIDGE, true), "by a published port");
        let local = Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert!(judge(local, PORT, 0, false), "link-local");
        let gateway = Addr::from_v4(GATEWAY);
        assert!(judge(gateway, BRIDGE, 0, false), "masqueraded");
        assert!(!judge(gateway, PORT, 0, false), "under the host's address");
        let alone = Veth {
            bridge: 0,
            gateway: 0,
            ..veth()
        };
        let nowhere = || Route {
            ifindex: 0,
            on_link: true,
        };
        let judged = inward(Concern::Opens, Addr::v4(0), PORT, &alone, nowhere);
        assert_eq!(judged, Err(Reason::Inbound));
        let unplugged = Veth {
            bridge: Veth::UNPLUGGED,
            ..alone
        };
        let judged = inward(Concern::Opens, Addr::v4(0), PORT, &unplugged, nowhere);
        assert_eq!(judged, Ok(()), "nothing is known of it yet");
    }

    #[test]
    fn routers_are_the_hosts_and_the_uplinks() {
        let judge = |from| {
            let route = || unreachable!("routes say nothing of routers");
            inward(Concern::Steers, FAR, from, &veth(), route)
        };
        assert_eq!(judge(0), Ok(()));
        assert_eq!(judge(ETH0), Ok(()));
        for from in [PORT, BRIDGE, TUNNEL] {
            assert_eq!(judge(from), Err(Reason::Inbound), "{from}");
        }
    }

    #[test]
    fn only_what_opens_or_steers_is_of_concern() {
        use Concern::{Nothing, Opens, Steers};
        let tcp = |flags| Transport {
            kind: Kind::Tcp,
            flags,
            ..Transport::OTHER
        };
        let icmp = |icmp_type| Transport {
            kind: Kind::Icmp,
            icmp_type,
            ..Transport::OTHER
        };
        let other = Transport::OTHER;
        for (version, protocol, transport, plain, expected) in [
            (4, TCP, tcp(SYN), true, Opens),
            (6, TCP, tcp(SYN), true, Opens),
            // ECN's flags (RFC 3168) and FIN are no reason to look away.
            (4, TCP, tcp(SYN | 0xc0), true, Opens),
            (4, TCP, tcp(SYN | 1), true, Opens),
            (4, TCP, tcp(SYN | ACK), true, Nothing),
            (6, TCP, tcp(ACK), true, Nothing),
            (4, TCP, other, true, Opens),
            (4, TCP, tcp(ACK), false, Opens),
            (4, TCP, other, false, Opens),
            (4, UDP, other, false, Opens),
            (4, UDP, other, true, Opens),
            (4, ICMP, icmp(8), true, Nothing),
            (4, ICMP, icmp(5), true, Steers),
            (4, ICMP, other, true, Steers),
            (4, ICMP, icmp(8), false, Steers),
            (6, ICMPV6, icmp(134), true, Steers),
            (6, ICMPV6, icmp(137), true, Steers),
            (6, ICMPV6, icmp(133), true, Nothing),
            (6, ICMPV6, icmp(135), true, Nothing),
            (6, ICMPV6, icmp(136), true, Nothing),
            (6, ICMPV6, other, true, Steers),
            (6, 0, other, false, Steers),
            (6, 44, other, false, Steers),
            (6, 60, other, false, Steers),
            (6, UDP, other, true, Opens),
        ] {
            let ip = Ip {
                src: FAR,
                dst: NEAR,
                version,
                protocol,
                ttl: 64,
                plain,
                payload: 20,
            };
            let found = concern(&ip, &transport);
            assert_eq!(found, expected, "{version} {protocol} {transport:?}");
        }
    }
}
