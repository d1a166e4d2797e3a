//! UDP service ports.

mod random;

use std::{cell::RefCell, collections::HashMap};

use super::*;
use crate::{
    denial::Reason,
    map::{UDP_PEER_LIFE, is_fresh},
    packet::UDP,
    verdict::{Inbound, egress, frame, ingress, service},
};

const PORT: u16 = 5060;
const CLIENT_PORT: u16 = 4000;

fn rules() -> Policy {
    let mut rules = policy(&[80]);
    rules.flags = Policy::SERVES_UDP;
    rules.udp[0] = PortRange::one(PORT);
    rules.udp[1] = PortRange {
        first: 10_000,
        last: 10_100,
    };
    rules
}

fn bound(sport: u16) -> Socket {
    Socket {
        exists: true,
        bound: false,
        kind: 2,
        protocol: UDP.into(),
        state: state::CLOSE,
        sport,
        dport: 0,
        peer: Addr::default(),
        tag: Tag::NONE,
    }
}

fn udp(sport: u16, dport: u16) -> Transport {
    Transport {
        kind: Kind::Udp,
        sport,
        dport,
        ..Transport::OTHER
    }
}

const fn peer(addr: Addr, port: u16, service: u16) -> UdpPeer {
    UdpPeer {
        seal: SEAL,
        addr,
        port,
        service,
        _pad: 0,
    }
}

/// As the programs judge it, first by the verdict for all, then by that for datagrams.
fn out<K: Kernel>(ip: &Ip, t: Transport, socket: Socket, world: &K) -> Result<(), Reason> {
    let first = egress(ip, &t, false, &socket, SEAL, Some(&rules()), world);
    assert!(first.is_err());
    let framed = frame(ip, &t, &socket, SEAL, Some(&rules()), world);
    match first {
        Err(Reason::Unasked) => {
            assert!(!socket.exists || framed == first);
            service::answer(ip, &t, &socket, SEAL, &rules(), world)
        }
        other => other,
    }
}

fn inward<K: Kernel>(ip: &Ip, t: Transport, socket: Socket, world: &K) -> bool {
    let first = ingress(ip, &t, false, &socket, SEAL, Some(&rules()), world);
    match first {
        Err(Reason::Unasked) => {
            service::ask(ip, &t, &socket, SEAL, &rules(), world) == Ok(Inbound::Deliver)
        }
        other => other.is_ok(),
    }
}

#[test]
fn who_has_asked_a_port_is_answered_from_it_alone() {
    let world = World {
        asked: Some(peer(CLIENT, CLIENT_PORT, PORT)),
        ..WORLD
    };
    let answer = udp(PORT, CLIENT_PORT);
    let to = |dst| ip(OWN, dst, UDP);
    assert_eq!(out(&to(CLIENT), answer, bound(PORT), &world), Ok(()));
    let connected = Socket {
        dport: CLIENT_PORT,
        peer: CLIENT,
        state: state::ESTABLISHED,
        ..bound(PORT)
    };
    assert_eq!(out(&to(CLIENT), answer, connected, &world), Ok(()));
    for (what, dst, t, socket, reason) in [
        (
            "another port of his",
            CLIENT,
            udp(PORT, 4001),
            bound(PORT),
            Reason::Unasked,
        ),
        (
            "another service port",
            CLIENT,
            udp(10_000, CLIENT_PORT),
            bound(10_000),
            Reason::Unasked,
        ),
        (
            "no service port",
            CLIENT,
            udp(5061, CLIENT_PORT),
            bound(5061),
            Reason::Egress,
        ),
        (
            "a forged source port",
            CLIENT,
            answer,
            bound(5061),
            Reason::Egress,
        ),
        (
            "a neighbour of his",
            FAR,
            answer,
            bound(PORT),
            Reason::Unasked,
        ),
        ("no client", EVIL, answer, bound(PORT), Reason::Client),
        ("his DNS", CLIENT, udp(PORT, 53), bound(PORT), Reason::Dns),
        ("no socket", CLIENT, answer, Socket::NONE, Reason::Egress),
        ("a TCP socket", CLIENT, answer, accepted(), Reason::Egress),
        (
            "a raw socket",
            CLIENT,
            answer,
            Socket {
                kind: 3,
                ..bound(PORT)
            },
            Reason::Egress,
        ),
        (
            "a group",
            Addr::from_v4([224, 0, 0, 1]),
            answer,
            bound(PORT),
            Reason::Egress,
        ),
    ] {
        assert_eq!(out(&to(dst), t, socket, &world), Err(reason), "{what}");
    }
    let mut fragment = to(CLIENT);
    fragment.plain = false;
    assert_eq!(
        out(&fragment, answer, bound(PORT), &world),
        Err(Reason::Header)
    );
}

#[test]
fn only_clients_that_may_come_in_are_heard() {
    let ask = udp(CLIENT_PORT, PORT);
    let from = |src| ip(src, OWN, UDP);
    assert!(inward(&from(CLIENT), ask, bound(PORT), &WORLD));
    assert!(inward(
        &from(CLIENT),
        udp(53, 10_100),
        bound(10_100),
        &WORLD
    ));
    let full = World {
        asks: false,
        ..WORLD
    };
    assert!(!inward(&from(CLIENT), ask, bound(PORT), &full));
    let group = |dst| ip(CLIENT, dst, UDP);
    let mut options = from(CLIENT);
    options.plain = false;
    for (what, ip, t, socket) in [
        ("no client", from(EVIL), ask, bound(PORT)),
        (
            "another port",
            from(CLIENT),
            udp(CLIENT_PORT, 10_101),
            bound(10_101),
        ),
        ("a TCP port", from(CLIENT), udp(CLIENT_PORT, 80), bound(80)),
        ("port 0", from(CLIENT), udp(0, PORT), bound(PORT)),
        ("a socket that forwards", from(CLIENT), ask, bound(5061)),
        ("nobody's", from(CLIENT), ask, Socket::NONE),
        ("options", options, ask, bound(PORT)),
        ("its own address", from(OWN), ask, bound(PORT)),
        (
            "loopback",
            from(Addr::from_v4([127, 0, 0, 1])),
            ask,
            bound(PORT),
        ),
        ("nowhere", from(Addr::from_v4([0; 4])), ask, bound(PORT)),
        (
            "from a group",
            from(Addr::from_v4([239, 1, 1, 1])),
            ask,
            bound(PORT),
        ),
        (
            "to a group",
            group(Addr::from_v4([239, 1, 1, 1])),
            ask,
            bound(PORT),
        ),
        ("to all", group(Addr::from_v4([255; 4])), ask, bound(PORT)),
        (
            "by TCP",
            ip(CLIENT, OWN, 6),
            tcp(CLIENT_PORT, PORT, 2),
            bound(PORT),
        ),
    ] {
        assert!(!inward(&ip, t, socket, &WORLD), "{what}");
    }
}

#[test]
fn fragments_of_answers_alone_pass_the_host_s_side() {
    let world = World {
        asked: Some(peer(CLIENT, 0, PORT)),
        ..WORLD
    };
    let judge = |dst, socket: &Socket| service::fragment(dst, socket, SEAL, &rules(), &world);
    assert_eq!(judge(CLIENT, &bound(PORT)), Ok(()));
    for (what, dst, socket) in [
        ("another client", FAR, bound(PORT)),
        ("no client", EVIL, bound(PORT)),
        ("no service port", CLIENT, bound(5061)),
        (
            "a packet socket",
            CLIENT,
            Socket {
                kind: 3,
                ..bound(PORT)
            },
        ),
        ("TCP", CLIENT, accepted()),
        ("none", CLIENT, Socket::NONE),
    ] {
        assert_eq!(judge(dst, &socket), Err(Reason::Header), "{what}");
    }
    let mut without = rules();
    without.flags = 0;
    let judged = service::fragment(CLIENT, &bound(PORT), SEAL, &without, &world);
    assert_eq!(judged, Err(Reason::Header));
}

#[test]
fn exceptions_go_on_beside_service_ports() {
    let mut both = rules();
    both.flags |= Policy::HAS_EXITS;
    let judge = |to: Addr, t: Transport, exit| {
        let world = World { exit, ..WORLD };
        service::answer(&ip(OWN, to, UDP), &t, &bound(t.sport), SEAL, &both, &world)
    };
    for sport in [PORT, 40_000] {
        let t = udp(sport, FAR_PORT);
        assert_eq!(judge(FAR, t, Exit::Open), Ok(()));
        assert_eq!(judge(FAR, t, Exit::Lapsed), Err(Reason::ExitLapsed));
    }
    assert_eq!(judge(FAR, udp(PORT, 9), Exit::Open), Err(Reason::ExitPort));
    assert_eq!(
        judge(CLIENT, udp(PORT, 9), Exit::Open),
        Err(Reason::Unasked)
    );
    assert_eq!(
        judge(CLIENT, udp(40_000, 9), Exit::Open),
        Err(Reason::Egress)
    );
    // Its answer comes in, and makes nobody a peer.
    let world = World {
        exit: Exit::Open,
        remembered: true,
        asks: false,
        ..WORLD
    };
    let t = udp(FAR_PORT, 40_000);
    let judged = service::ask(&ip(FAR, OWN, UDP), &t, &bound(40_000), SEAL, &both, &world);
    assert_eq!(judged, Ok(Inbound::Deliver));
}
