//! Single packets.

use super::*;
use crate::{
    denial::Reason,
    packet::{ACK, RST, SYN},
    verdict::{Inbound, egress, ingress, socket_errno},
};

fn reply(socket: Socket, to: Addr, t: Transport) -> Result<(), Reason> {
    egress(
        &ip(OWN, to, 6),
        &t,
        false,
        &socket,
        SEAL,
        Some(&policy(&[5060])),
        &WORLD,
    )
}

#[test]
fn only_the_accepted_peer_gets_an_answer() {
    let answer = tcp(5060, 4000, ACK);
    assert_eq!(reply(accepted(), CLIENT, answer), Ok(()));
    let table = [
        (
            "another address",
            accepted(),
            EVIL,
            answer,
            Reason::NoProvenance,
        ),
        (
            "another port",
            accepted(),
            CLIENT,
            tcp(5060, 4001, ACK),
            Reason::NoProvenance,
        ),
        (
            "another source port",
            Socket {
                sport: 5061,
                ..accepted()
            },
            CLIENT,
            tcp(5061, 4000, ACK),
            Reason::NoProvenance,
        ),
        (
            "a SYN",
            accepted(),
            CLIENT,
            tcp(5060, 4000, SYN),
            Reason::Syn,
        ),
        (
            "a SYN-ACK",
            accepted(),
            CLIENT,
            tcp(5060, 4000, SYN | ACK),
            Reason::Syn,
        ),
        (
            "no tag",
            Socket {
                tag: Tag::NONE,
                ..accepted()
            },
            CLIENT,
            answer,
            Reason::NoProvenance,
        ),
        (
            "an old seal's tag",
            Socket {
                tag: tag(SEAL - 1, 5060),
                ..accepted()
            },
            CLIENT,
            answer,
            Reason::StaleProvenance,
        ),
        (
            "a port no longer served",
            Socket {
                sport: 80,
                tag: tag(SEAL, 80),
                ..accepted()
            },
            CLIENT,
            tcp(80, 4000, ACK),
            Reason::StaleProvenance,
        ),
        (
            "a raw socket",
            Socket {
                kind: 3,
                ..accepted()
            },
            CLIENT,
            answer,
            Reason::NoProvenance,
        ),
        (
            "an MPTCP socket",
            Socket {
                protocol: 262,
                ..accepted()
            },
            CLIENT,
            answer,
            Reason::NoProvenance,
        ),
        (
            "a socket that connects",
            Socket {
                state: state::SYN_SENT,
                ..accepted()
            },
            CLIENT,
            answer,
            Reason::NoProvenance,
        ),
        (
            "a disconnected socket",
            Socket {
                state: state::CLOSE,
                peer: Addr::default(),
                dport: 0,
                ..accepted()
            },
            CLIENT,
            answer,
            Reason::NoProvenance,
        ),
        (
            "a listener's data",
            Socket {
                state: state::LISTEN,
                ..accepted()
            },
            CLIENT,
            answer,
            Reason::NoProvenance,
        ),
    ];
    for (what, socket, to, t, reason) in table {
        assert_eq!(reply(socket, to, t), Err(reason), "{what}");
    }
    let translated = reply(accepted(), CLIENT, tcp(8088, 4000, ACK));
    assert_eq!(translated, Ok(()), "by REDIRECT in the namespace");
    assert_eq!(
        reply(
            Socket {
                state: state::CLOSE,
                ..accepted()
            },
            CLIENT,
            tcp(5060, 4000, RST)
        ),
        Ok(())
    );
    assert_eq!(
        reply(
            Socket {
                state: state::LISTEN,
                dport: 0,
                peer: Addr::default(),
                ..accepted()
            },
            CLIENT,
            tcp(5060, 4000, SYN | ACK)
        ),
        Ok(())
    );
    assert_eq!(
        reply(
            Socket {
                state: state::SYN_RECV,
                ..accepted()
            },
            CLIENT,
            tcp(5060, 4000, SYN | ACK)
        ),
        Ok(()),
        "TCP Fast Open"
    );
}

#[test]
fn from_is_judged_for_each_packet() {
    let limited = Policy {
        flags: 0,
        ..policy(&[5060])
    };
    let judge = |allowed| {
        let world = World { allowed, ..WORLD };
        egress(
            &ip(OWN, CLIENT, 6),
            &tcp(5060, 4000, ACK),
            false,
            &accepted(),
            SEAL,
            Some(&limited),
            &world,
        )
    };
    assert_eq!(judge(true), Ok(()));
    assert_eq!(judge(false), Err(Reason::Client));
}

#[test]
fn nothing_but_tcp_replies_leaves() {
    let out = |protocol, t: Transport| {
        egress(
            &ip(OWN, CLIENT, protocol),
            &t,
            false,
            &accepted(),
            SEAL,
            Some(&policy(&[5060])),
            &WORLD,
        )
    };
    let udp = |dport| Transport {
        kind: Kind::Udp,
        dport,
        ..Transport::OTHER
    };
    assert_eq!(out(17, udp(443)), Err(Reason::Egress));
    assert_eq!(out(17, udp(53)), Err(Reason::Dns));
    assert_eq!(
        out(1, Transport::icmp([8, 0], Addr::default())),
        Err(Reason::Egress)
    );
    assert_eq!(out(47, Transport::OTHER), Err(Reason::Egress));
    let options = Ip {
        plain: false,
        ..ip(OWN, CLIENT, 6)
    };
    let judged = egress(
        &options,
        &tcp(5060, 4000, ACK),
        false,
        &accepted(),
        SEAL,
        Some(&policy(&[5060])),
        &WORLD,
    );
    assert_eq!(judged, Err(Reason::Header));
    let judged = egress(
        &ip(OWN, CLIENT, 6),
        &tcp(5060, 4000, ACK),
        false,
        &accepted(),
        SEAL,
        None,
        &WORLD,
    );
    assert_eq!(judged, Err(Reason::Unrecorded));
}

#[test]
fn inbound_is_for_service_ports() {
    let listener = Socket {
        state: state::LISTEN,
        dport: 0,
        peer: Addr::default(),
        tag: Tag::NONE,
        ..accepted()
    };
    let judge = |socket: Socket, t: Transport| {
        ingress(
            &ip(CLIENT, OWN, 6),
            &t,
            false,
            &socket,
            SEAL,
            Some(&policy(&[5060])),
            &WORLD,
        )
    };
    assert_eq!(
        judge(listener, tcp(4000, 5060, SYN)),
        Ok(Inbound::TagListener)
    );
    assert_eq!(judge(listener, tcp(4000, 5061, SYN)), Err(Reason::Inbound));
    assert_eq!(
        judge(listener, tcp(4000, 5060, ACK)),
        Err(Reason::Inbound),
        "not tagged yet"
    );
    assert_eq!(
        judge(
            Socket {
                tag: tag(SEAL, 5060),
                ..listener
            },
            tcp(4000, 5060, ACK)
        ),
        Ok(Inbound::Deliver),
        "a SYN cookie's ACK"
    );
    assert_eq!(
        judge(accepted(), tcp(4000, 5060, ACK)),
        Ok(Inbound::Deliver)
    );
    assert_eq!(
        judge(
            Socket {
                tag: tag(SEAL - 1, 5060),
                ..accepted()
            },
            tcp(4000, 5060, ACK)
        ),
        Err(Reason::Inbound)
    );
    assert_eq!(
        judge(
            Socket {
                state: state::SYN_SENT,
                tag: Tag::NONE,
                ..accepted()
            },
            tcp(443, 5060, SYN | ACK)
        ),
        Err(Reason::Inbound)
    );
}

#[test]
fn only_tcp_and_udp_sockets() {
    for (kind, protocol, errno) in [
        (1, 0, None),
        (1, 6, None),
        (2, 0, None),
        (2, 17, None),
        (3, 1, Some(1)),
        (3, 255, Some(1)),
        (3, 58, Some(1)),
        (1, 262, Some(93)),
        (2, 1, Some(93)),
        (2, 58, Some(93)),
        (2, 136, Some(93)),
        (1, 132, Some(93)),
        (5, 132, Some(93)),
        (6, 33, Some(93)),
    ] {
        assert_eq!(socket_errno(kind, protocol), errno, "{kind} {protocol}");
    }
}
