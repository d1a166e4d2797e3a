//! UDP service ports.

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

/// Who has asked what, and when.
#[derive(Default)]
struct Table {
    seen: RefCell<HashMap<(Addr, u16, u16), u64>>,
    now: u64,
}

impl Kernel for Table {
    fn own_groups(&self) -> bool {
        false
    }
    fn udp_peer(&self, peer: &UdpPeer) -> bool {
        let key = (peer.addr, peer.port, peer.service);
        let seen = self.seen.borrow().get(&key).copied();
        seen.is_some_and(|seen| is_fresh(seen, self.now))
    }
    fn udp_ask(&self, peer: &UdpPeer) -> bool {
        let key = (peer.addr, peer.port, peer.service);
        self.seen.borrow_mut().insert(key, self.now);
        true
    }
    fn client_allowed(&self, client: Addr) -> bool {
        client != EVIL
    }
    fn peer(&self, _: &Ip, _: &Transport) -> Peer {
        unreachable!("not on loopback")
    }
    fn kernel_socket(&self) -> bool {
        false
    }
    fn answer_owed(&self) -> bool {
        false
    }
    fn neighbour_budget(&self) -> bool {
        false
    }
    fn client_opened(&self, _: &Ip, _: &Transport, _: bool) -> bool {
        false
    }
    fn older(&self, _: &Ip, _: &Transport) -> Ended {
        Ended::Unknown
    }
    fn was_cut(&self, _: &Ip, _: &Transport) -> bool {
        false
    }
    fn exit_segment(&self, _: &Flow, _: &Ip, _: &Transport, _: u32, _: Passage) -> Exit {
        Exit::None
    }
    fn exit_datagram(&self, _: &Flow, _: &Ip) -> Exit {
        Exit::None
    }
    fn exit_reply(&self, _: &Flow, _: &Ip, _: bool) -> bool {
        false
    }
    fn exit_cut(&self, _: &Flow) -> Ended {
        Ended::Unknown
    }
    fn exit_remembered(&self, _: &Flow) -> bool {
        false
    }
}

/// Random datagrams both ways: each that leaves goes to a client that sent to that very
/// port within the time.
#[test]
fn every_datagram_answers_one_of_a_moment_ago() {
    let mut table = Table::default();
    let mut truth: HashMap<(Addr, u16, u16), u64> = HashMap::new();
    let (mut passed, mut refused) = (0, 0);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    for _ in 0..200_000 {
        table.now += below(UDP_PEER_LIFE / 8);
        let far = [CLIENT, EVIL, FAR][below(3) as usize];
        let far_port = [4000, 4001, 53][below(3) as usize];
        let port = [PORT, 10_000, 10_100, 10_101, 5061][below(5) as usize];
        let owner = [port, PORT][below(8) as usize / 7];
        let key = (far, far_port, port);
        if below(2) == 0 {
            let t = udp(far_port, port);
            if inward(&ip(far, OWN, UDP), t, bound(owner), &table) {
                assert!(owner == port && far != EVIL && rules().serves_udp(port));
                truth.insert(key, table.now);
            }
            continue;
        }
        let sent = out(
            &ip(OWN, far, UDP),
            udp(port, far_port),
            bound(owner),
            &table,
        );
        let asked = truth.get(&key).copied();
        let may = owner == port && asked.is_some_and(|at| table.now - at <= UDP_PEER_LIFE);
        assert_eq!(sent.is_ok(), may, "{key:?} {sent:?}");
        match sent {
            Ok(()) => passed += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(passed > 5_000 && refused > 5_000, "{passed} {refused}");
}
