//! Loopback and neighbour discovery.

use super::*;
use crate::{
    denial::Reason,
    packet::{ACK, SYN},
    verdict::{egress, frame, near},
};

#[test]
fn a_connection_made_over_lo_stays_there() {
    let lo = Addr::from_v4([127, 0, 0, 1]);
    for (own, peer) in [(EVIL, EVIL), (OWN, OWN), (lo, lo), (lo, EVIL), (OWN, lo)] {
        let socket = Socket { peer, ..accepted() };
        let packet = ip(own, peer, 6);
        let answer = tcp(5060, 4000, ACK);
        let rules = policy(&[5060]);
        let judged = egress(&packet, &answer, false, &socket, SEAL, Some(&rules), &WORLD);
        assert_eq!(judged, Err(Reason::Loopback), "{own:?} to {peer:?}");
        let judged = frame(&packet, &answer, &Socket::NONE, SEAL, Some(&rules), &WORLD);
        assert_eq!(judged, Err(Reason::Frame), "{own:?} to {peer:?}");
    }
}

#[test]
fn loopback_is_for_own_sockets() {
    let lo = Addr::from_v4([127, 0, 0, 1]);
    let resolver = Addr::from_v4([127, 0, 0, 11]);
    let v6 = Addr::from_octets([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let judge = |src, dst, t: Transport, peer| {
        egress(
            &ip(src, dst, 6),
            &t,
            true,
            &Socket::NONE,
            SEAL,
            Some(&policy(&[5060])),
            &World { peer, ..WORLD },
        )
    };
    let syn = tcp(1, 2, SYN);
    for (src, dst) in [
        (lo, lo),
        (OWN, OWN),
        (v6, v6),
        (Addr::from_v4([127, 0, 0, 5]), lo),
    ] {
        assert_eq!(judge(src, dst, syn, Peer::Inside), Ok(()));
        assert_eq!(
            judge(src, dst, syn, Peer::None),
            Ok(()),
            "the kernel answers with a RST"
        );
        assert_eq!(judge(src, dst, syn, Peer::Outside), Err(Reason::Loopback));
        assert_eq!(judge(src, dst, syn, Peer::TimeWait), Err(Reason::Loopback));
        assert_eq!(judge(src, dst, tcp(1, 2, ACK), Peer::TimeWait), Ok(()));
    }
    assert_eq!(judge(lo, resolver, syn, Peer::Inside), Err(Reason::Dns));
    for (src, dst) in [(EVIL, OWN), (OWN, EVIL), (lo, OWN), (EVIL, lo)] {
        assert_eq!(judge(src, dst, syn, Peer::Inside), Err(Reason::Loopback));
    }
}

/// A connection that is bound leaves by that interface, whichever its client came by.
#[test]
fn in_a_shared_network_no_connection_is_bound() {
    let local = Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    let mut rules = policy(&[5060]);
    let judge = |rules: &Policy, peer, bound, listens| {
        let mut socket = Socket {
            bound,
            peer,
            ..accepted()
        };
        let mut flags = ACK;
        if listens {
            socket.state = state::LISTEN;
            flags = SYN | ACK;
        }
        let (ip, t) = (ip(OWN, peer, 6), tcp(5060, 4000, flags));
        egress(&ip, &t, false, &socket, SEAL, Some(rules), &WORLD)
    };
    for listens in [false, true] {
        assert_eq!(
            judge(&rules, CLIENT, true, listens),
            Ok(()),
            "its own network"
        );
    }
    rules.flags |= Policy::SHARED_NETWORK;
    for listens in [false, true] {
        assert_eq!(judge(&rules, CLIENT, false, listens), Ok(()));
        assert_eq!(judge(&rules, CLIENT, true, listens), Err(Reason::NextHop));
        assert_eq!(
            judge(&rules, local, true, listens),
            Ok(()),
            "the kernel binds it"
        );
    }
}

/// An own address leads to listeners that no look-up by lo finds.
#[test]
fn in_a_shared_network_only_what_is_seen_is_reached() {
    let lo = Addr::from_v4([127, 0, 0, 1]);
    let mut rules = policy(&[5060]);
    rules.flags |= Policy::SHARED_NETWORK;
    let judge = |rules: &Policy, at, t: Transport, protocol, peer| {
        let world = World { peer, ..WORLD };
        let ip = ip(at, at, protocol);
        egress(&ip, &t, true, &Socket::NONE, SEAL, Some(rules), &world).is_ok()
    };
    let udp = Transport {
        kind: Kind::Udp,
        ..tcp(1, 2, 0)
    };
    for (peer, by_lo, by_own) in [
        (Peer::Inside, true, true),
        (Peer::Bound, true, false),
        (Peer::None, true, false),
        (Peer::Outside, false, false),
    ] {
        for segment in [tcp(1, 2, SYN), tcp(1, 2, ACK)] {
            assert_eq!(judge(&rules, lo, segment, 6, peer), by_lo, "{peer:?}");
            assert_eq!(judge(&rules, OWN, segment, 6, peer), by_own, "{peer:?}");
            let alone = policy(&[5060]);
            assert_eq!(judge(&alone, OWN, segment, 6, peer), by_lo, "{peer:?}");
        }
        assert_eq!(judge(&rules, lo, udp, 17, peer), by_lo, "{peer:?}");
        assert!(!judge(&rules, OWN, udp, 17, peer), "{peer:?}");
    }
    assert!(judge(&rules, OWN, tcp(1, 2, ACK), 6, Peer::TimeWait));
}

/// By an exception that names it, and by a socket that connected by that: to nobody else.
#[test]
fn others_on_loopback_are_reached_by_an_exception_alone() {
    let lo = Addr::from_v4([127, 0, 0, 1]);
    let far = Addr::from_v4([127, 0, 0, 53]);
    let mut rules = policy(&[5060]);
    rules.flags |= Policy::SHARED_NETWORK | Policy::HAS_EXITS;
    let without = rules;
    rules.flags |= Policy::LOOPBACK_EXITS;
    let connected = Socket {
        exists: true,
        bound: false,
        kind: 1,
        protocol: 6,
        state: state::SYN_SENT,
        sport: 40_000,
        dport: 443,
        peer: far,
        tag: Tag::exit(SEAL, EXIT),
    };
    let world = World {
        peer: Peer::Outside,
        exit: Exit::Open,
        ..WORLD
    };
    let syn = tcp(40_000, 443, SYN);
    let judge = |rules: &Policy, dst, t: &Transport, protocol, socket: &Socket, world: &World| {
        let ip = ip(lo, dst, protocol);
        let judged = egress(&ip, t, true, socket, SEAL, Some(rules), world);
        match judged {
            Err(Reason::Loopback) => near(&ip, t, socket, SEAL, rules, world),
            judged => judged,
        }
    };
    // `World` names one far side, outside: here the flow is to nobody's.
    let to_far = judge(&rules, far, &syn, 6, &connected, &world);
    assert_eq!(to_far, Err(Reason::StaleProvenance));
    let shut = Err(Reason::Loopback);
    assert_eq!(judge(&without, far, &syn, 6, &connected, &world), shut);
    for tag in [Tag::NONE, Tag::exit(SEAL + 1, EXIT)] {
        let socket = Socket { tag, ..connected };
        assert_eq!(judge(&rules, far, &syn, 6, &socket, &world), shut);
    }
    assert_eq!(judge(&rules, far, &syn, 6, &Socket::NONE, &world), shut);
    assert_eq!(judge(&rules, OWN, &syn, 6, &connected, &world), shut);
    let udp = Transport {
        kind: Kind::Udp,
        ..tcp(40_000, 443, 0)
    };
    assert_eq!(judge(&rules, far, &udp, 17, &Socket::NONE, &world), shut);
    let ping = Transport {
        kind: Kind::Icmp,
        ..tcp(0, 0, 0)
    };
    assert_eq!(judge(&rules, far, &ping, 1, &Socket::NONE, &world), shut);
    let own = World {
        peer: Peer::Inside,
        ..world
    };
    assert_eq!(judge(&rules, far, &syn, 6, &Socket::NONE, &own), Ok(()));
}

#[test]
fn neighbour_discovery_is_the_kernel_s_own() {
    let target = Addr::from_octets([
        0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0xef,
    ]);
    let group = Addr::from_octets([
        0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xab, 0xcd, 0xef,
    ]);
    let far = Addr::from_octets([0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let nd = Ip {
        ttl: 255,
        payload: 32,
        ..ip(Addr::default(), group, 58)
    };
    let kernel = World {
        kernel_socket: true,
        ..WORLD
    };
    let judge = |ip: Ip, kind, code, world: World| {
        egress(
            &ip,
            &Transport::icmp([kind, code], target),
            false,
            &Socket::NONE,
            SEAL,
            Some(&policy(&[])),
            &world,
        )
    };
    assert_eq!(judge(nd, 135, 0, kernel), Ok(()));
    assert_eq!(judge(Ip { dst: target, ..nd }, 135, 0, kernel), Ok(()));
    assert_eq!(judge(Ip { dst: far, ..nd }, 136, 0, kernel), Ok(()));
    let table = [
        ("a user's socket", nd, 135, 0, WORLD, Reason::Egress),
        (
            "to somebody else",
            Ip { dst: far, ..nd },
            135,
            0,
            kernel,
            Reason::Neighbour,
        ),
        (
            "routed",
            Ip { ttl: 254, ..nd },
            135,
            0,
            kernel,
            Reason::Neighbour,
        ),
        (
            "with a trailer",
            Ip { payload: 40, ..nd },
            135,
            0,
            kernel,
            Reason::Neighbour,
        ),
        ("with a code", nd, 135, 1, kernel, Reason::Neighbour),
        (
            "too many",
            nd,
            135,
            0,
            World {
                budget: false,
                ..kernel
            },
            Reason::NeighbourBudget,
        ),
        (
            "a router solicitation",
            nd,
            133,
            0,
            kernel,
            Reason::KernelChatter,
        ),
        ("an echo reply", nd, 129, 0, kernel, Reason::KernelChatter),
    ];
    for (what, ip, kind, code, world, reason) in table {
        assert_eq!(judge(ip, kind, code, world), Err(reason), "{what}");
    }
    // What neighbours ask pays for answers, and for nothing else.
    let asked = World {
        owed: true,
        budget: false,
        ..kernel
    };
    assert_eq!(judge(Ip { dst: far, ..nd }, 136, 0, asked), Ok(()));
    assert_eq!(judge(nd, 135, 0, asked), Err(Reason::NeighbourBudget));
    let forged = World {
        kernel_socket: false,
        ..asked
    };
    assert_eq!(judge(nd, 136, 0, forged), Err(Reason::Egress));
}

/// Without these a bridge that snoops brings no question for its addresses.
#[test]
fn the_kernel_says_which_groups_its_addresses_need() {
    let report = Ip {
        plain: false,
        protocol: 0,
        version: 6,
        ..ip(OWN, Addr::default(), 0)
    };
    let own = World {
        kernel_socket: true,
        groups: true,
        ..WORLD
    };
    let judge = |loopback, world: World| {
        egress(
            &report,
            &Transport::OTHER,
            loopback,
            &Socket::NONE,
            SEAL,
            Some(&policy(&[5060])),
            &world,
        )
    };
    assert_eq!(judge(false, own), Ok(()));
    for (what, loopback, world, reason) in [
        (
            "others",
            false,
            World {
                groups: false,
                ..own
            },
            Reason::KernelChatter,
        ),
        (
            "too many",
            false,
            World {
                budget: false,
                ..own
            },
            Reason::KernelChatter,
        ),
        ("on lo", true, own, Reason::KernelChatter),
        (
            "by a process",
            false,
            World {
                kernel_socket: false,
                ..own
            },
            Reason::Header,
        ),
    ] {
        assert_eq!(judge(loopback, world), Err(reason), "{what}");
    }
}
