//! The short way never allows more than the full verdict, and allows what it is for.

use super::*;
use crate::{
    packet::{ACK, FIN, RST, SYN},
    verdict::{Inbound, egress, frame, ingress, short},
};

const LOCAL: Addr = Addr::from_v4([127, 0, 0, 1]);
const CLIENT6: Addr = Addr([1, 2, 3, 4]);

/// The strictest kernel: whoever asks it is told no.
const STRICT: World = World {
    peer: Peer::Outside,
    allowed: false,
    kernel_socket: false,
    budget: false,
    groups: false,
    owed: false,
    opened: false,
    older: Ended::Unknown,
    exit: Exit::None,
    remembered: false,
    asked: None,
    asks: false,
};

struct Random(u64);

impl Random {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from[(self.0 % from.len() as u64) as usize]
    }
}

/// Mostly what a reply is, so that the short way is taken often enough.
fn facts(r: &mut Random) -> (Ip, Transport, Socket, Policy) {
    let peer = r.pick(&[CLIENT, CLIENT, CLIENT6, EVIL]);
    let dst = r.pick(&[peer, peer, peer, peer, OWN, LOCAL, EVIL]);
    let mut ip = ip(r.pick(&[OWN, OWN, OWN, dst, LOCAL]), dst, 6);
    ip.plain = r.pick(&[true, true, true, false]);
    let port = r.pick(&[5060, 5060, 5060, 80, 81]);
    let flags = r.pick(&[ACK, ACK, ACK | FIN, RST, SYN, SYN | ACK, 0, 0x18]);
    let transport = Transport {
        kind: r.pick(&[Kind::Tcp, Kind::Tcp, Kind::Tcp, Kind::Udp, Kind::Other]),
        ..tcp(port, r.pick(&[4000, 4000, 4001]), flags)
    };
    let mut socket = Socket {
        exists: r.pick(&[true, true, true, false]),
        bound: r.pick(&[false, false, false, true]),
        kind: r.pick(&[1, 1, 1, 2, 3]),
        protocol: r.pick(&[6, 6, 6, 17, 132]),
        state: r.pick(&[1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        sport: r.pick(&[port, port, port, 5060, 0]),
        dport: r.pick(&[4000, 4000, 0]),
        peer,
        tag: r.pick(&[tag(SEAL, port), tag(SEAL, port), tag(SEAL, 80), Tag::NONE]),
    };
    // Nobody writes any other: see `only_a_tcp_listener_is_tagged`.
    if !socket.exists || !socket.is_tcp() {
        socket.tag = Tag::NONE;
    }
    let socket = Socket {
        tag: Tag {
            epoch: r.pick(&[EPOCH, EPOCH, EPOCH, EPOCH - 2, Tag::NO_EPOCH]),
            ..socket.tag
        },
        ..socket
    };
    let mut rules = policy(&[5060, 80]);
    rules.flags = r.pick(&[Policy::CLIENTS_ANY, Policy::CLIENTS_ANY, 0])
        | r.pick(&[0, Policy::SHARED_NETWORK]);
    (ip, transport, socket, rules)
}

#[test]
fn allows_no_more_than_the_full_verdict() {
    let kernel = STRICT;
    let (mut out, mut inward) = (0, 0);
    let mut r = Random(0x5eed);
    for _ in 0..800_000 {
        let (ip, transport, mut socket, rules) = facts(&mut r);
        // As the gate writes it.
        if !short::opens(&socket.tag, SEAL, &rules) {
            socket.tag.epoch = r.pick(&[EPOCH - 2, Tag::NO_EPOCH]);
        }
        // The number of an exception may be that of an epoch.
        if r.pick(&[true, false, false, false, false]) {
            (socket.exists, socket.kind, socket.protocol) = (true, 1, 6);
            socket.tag = Tag::exit(SEAL, EPOCH);
        }
        let all = (&ip, &transport, &socket, &rules);
        if short::reply(&ip, &transport, &socket, EPOCH) {
            out += 1;
            let full = egress(&ip, &transport, false, &socket, SEAL, Some(&rules), &kernel);
            assert_eq!(full, Ok(()), "{all:?}");
            let full = frame(&ip, &transport, &socket, SEAL, Some(&rules), &kernel);
            assert_eq!(full, Ok(()), "{all:?}");
        }
        // The same headers, seen from the other side.
        let (mut ip, mut transport) = (ip, transport);
        (ip.src, ip.dst) = (ip.dst, ip.src);
        (transport.sport, transport.dport) = (transport.dport, transport.sport);
        if short::request(&ip, &transport, &socket, EPOCH) {
            inward += 1;
            let full = ingress(&ip, &transport, false, &socket, SEAL, Some(&rules), &kernel);
            // What it would write is there.
            assert!(full.is_ok(), "{ip:?} {transport:?} {socket:?}");
            let tags = full == Ok(Inbound::TagListener);
            assert!(!tags || socket.tag == tag(SEAL, transport.dport));
        }
    }
    assert!(out > 500 && inward > 500, "{out} {inward}");
}

/// What the short way takes for granted of a socket that has a tag. `connect` writes one by
/// an exception, and that on TCP sockets alone, too.
#[test]
fn only_a_tcp_listener_is_tagged() {
    let mut tagged = 0;
    let mut r = Random(0xacce55);
    for _ in 0..200_000 {
        let (mut ip, mut transport, socket, rules) = facts(&mut r);
        (ip.src, ip.dst) = (ip.dst, ip.src);
        (transport.sport, transport.dport) = (transport.dport, transport.sport);
        let kernel = World {
            allowed: true,
            ..STRICT
        };
        let full = ingress(&ip, &transport, false, &socket, SEAL, Some(&rules), &kernel);
        if full == Ok(Inbound::TagListener) {
            tagged += 1;
            assert!(socket.exists && socket.is_tcp(), "{socket:?}");
            assert_eq!(socket.state, state::LISTEN);
        }
    }
    assert!(tagged > 100, "{tagged}");
}

/// A connection of a client that `--from` allows was judged; since then the socket may have
/// become anything, but no connection to somebody else: that erases the tag.
#[test]
fn what_was_judged_for_a_peer_is_good_for_that_peer_alone() {
    let kernel = World {
        allowed: true,
        ..STRICT
    };
    let (mut out, mut inward, mut judged, mut by_peer) = (0, 0, 0, 0);
    let mut r = Random(0xf00d);
    for _ in 0..800_000 {
        let (ip, transport, mut socket, mut rules) = facts(&mut r);
        rules.flags &= Policy::SHARED_NETWORK;
        socket.tag.peer_only = 1;
        // As the gate writes it.
        if socket.tag.seal != SEAL || !rules.serves_tcp(socket.tag.port) {
            socket.tag.epoch = r.pick(&[EPOCH - 2, Tag::NO_EPOCH]);
        }
        let connected = [1, 4, 5, 8, 9, 11].contains(&socket.state);
        // A packet of its peer's that was delivered shows who that is.
        let mut theirs = (ip, transport);
        (theirs.0.src, theirs.0.dst) = (socket.peer, ip.src);
        (theirs.1.sport, theirs.1.dport) = (socket.dport, transport.sport);
        let (asked, request) = theirs;
        let denies = World {
            allowed: socket.peer != EVIL,
            ..STRICT
        };
        let delivered = ingress(
            &asked,
            &request,
            false,
            &socket,
            SEAL,
            Some(&rules),
            &denies,
        );
        if delivered == Ok(Inbound::Deliver) && short::is_judged(&socket, SEAL, &rules) {
            by_peer += 1;
            assert!(connected && socket.peer != EVIL, "{socket:?}");
        }
        if connected && socket.peer == EVIL {
            socket.peer = CLIENT;
        }
        let full = egress(&ip, &transport, false, &socket, SEAL, Some(&rules), &kernel);
        if full.is_ok() && short::is_judged(&socket, SEAL, &rules) {
            judged += 1;
            assert!(connected && socket.peer != EVIL, "{socket:?}");
        }
        if short::reply(&ip, &transport, &socket, EPOCH) {
            out += 1;
            assert_eq!(full, Ok(()), "{ip:?} {transport:?} {socket:?}");
            let full = frame(&ip, &transport, &socket, SEAL, Some(&rules), &kernel);
            assert_eq!(full, Ok(()), "{ip:?} {transport:?} {socket:?}");
        }
        let (mut ip, mut transport) = (ip, transport);
        (ip.src, ip.dst) = (ip.dst, ip.src);
        (transport.sport, transport.dport) = (transport.dport, transport.sport);
        if short::request(&ip, &transport, &socket, EPOCH) {
            inward += 1;
            let full = ingress(&ip, &transport, false, &socket, SEAL, Some(&rules), &kernel);
            assert_eq!(
                full,
                Ok(Inbound::Deliver),
                "{ip:?} {transport:?} {socket:?}"
            );
        }
    }
    assert!(
        out > 500 && inward > 500 && judged > 500 && by_peer > 500,
        "{out} {inward} {judged} {by_peer}"
    );
    // The socket of that connection, made a listener.
    let listener = Socket {
        state: state::LISTEN,
        tag: Tag {
            peer_only: 1,
            ..tag(SEAL, 5060)
        },
        ..accepted()
    };
    let (syn, answer) = (tcp(4000, 5060, SYN), tcp(5060, 4000, SYN | ACK));
    assert!(!short::request(&ip(EVIL, OWN, 6), &syn, &listener, EPOCH));
    assert!(!short::reply(&ip(OWN, EVIL, 6), &answer, &listener, EPOCH));
}

#[test]
fn takes_what_services_send_and_get() {
    let (out, inward) = (ip(OWN, CLIENT, 6), ip(CLIENT, OWN, 6));
    for flags in [ACK, ACK | FIN, RST | ACK, 0x18] {
        let (reply, request) = (tcp(5060, 4000, flags), tcp(4000, 5060, flags));
        assert!(short::reply(&out, &reply, &accepted(), EPOCH));
        assert!(short::request(&inward, &request, &accepted(), EPOCH));
        let changing = EPOCH + 1;
        assert!(!short::reply(&out, &reply, &accepted(), changing));
        assert!(!short::request(&inward, &request, &accepted(), changing));
    }
    let listener = Socket {
        state: state::LISTEN,
        peer: Addr::default(),
        dport: 0,
        ..accepted()
    };
    let (syn, answer) = (tcp(4000, 5060, SYN), tcp(5060, 4000, SYN | ACK));
    assert!(short::request(&inward, &syn, &listener, EPOCH));
    assert!(short::reply(&out, &answer, &listener, EPOCH));
    assert!(!short::reply(&out, &tcp(5060, 4000, ACK), &listener, EPOCH));
}

#[test]
fn is_open_to_any_client_or_to_none() {
    let (rules, tag) = (policy(&[5060]), tag(SEAL, 5060));
    let from = Policy { flags: 0, ..rules };
    assert!(short::opens(&tag, SEAL, &rules));
    assert!(!short::opens(&tag, SEAL, &from));
    assert!(!short::opens(&tag, SEAL + 1, &rules));
    assert!(!short::opens(&tag, SEAL, &policy(&[80])));
    assert!(!short::opens(&Tag::NONE, Tag::NONE.seal, &rules));
}

#[test]
fn no_tag_is_of_an_epoch_in_which_policies_change() {
    for epoch in 0..8 {
        let tag = Tag {
            epoch,
            ..tag(SEAL, 5060)
        };
        assert_eq!(tag.is_of(epoch), epoch % 2 == 0);
        assert!(!tag.is_of(epoch + 1));
    }
    assert!((0..8).all(|epoch| !Tag::NONE.is_of(epoch)));
}
