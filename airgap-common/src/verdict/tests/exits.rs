//! Exceptions: what leaves by them, and what comes back.

mod datagrams;

use super::*;
use crate::{
    denial::Reason,
    packet::{ACK, FIN, RST, SYN},
    verdict::{Inbound, egress, frame, ingress},
};

const OTHER_FAR: Addr = Addr::from_v4([198, 51, 100, 11]);

fn with_exits() -> Policy {
    let mut policy = policy(&[5060]);
    policy.flags |= Policy::HAS_EXITS;
    policy
}

fn world(exit: Exit, remembered: bool) -> World {
    World {
        exit,
        remembered,
        ..WORLD
    }
}

fn connecting(state: u32) -> Socket {
    Socket {
        exists: true,
        bound: false,
        kind: 1,
        protocol: 6,
        state,
        sport: 40_000,
        dport: FAR_PORT,
        peer: FAR,
        tag: Tag::exit(SEAL, EXIT),
    }
}

fn out(socket: Socket, to: Addr, t: Transport, exit: Exit) -> Result<(), Reason> {
    let world = world(exit, false);
    let ip = ip(OWN, to, 6);
    let judged = egress(&ip, &t, false, &socket, SEAL, Some(&with_exits()), &world);
    // Frames differ in the name of one reason only.
    let framed = frame(&ip, &t, &socket, SEAL, Some(&with_exits()), &world);
    assert_eq!(judged.is_ok(), framed.is_ok());
    judged
}

fn inward(socket: Socket, from: Addr, t: Transport, exit: Exit) -> bool {
    let judged = ingress(
        &ip(from, OWN, 6),
        &t,
        false,
        &socket,
        SEAL,
        Some(&with_exits()),
        &world(exit, false),
    );
    judged == Ok(Inbound::Deliver)
}

#[test]
fn a_connection_goes_out_and_its_answers_come_in() {
    let syn = tcp(40_000, FAR_PORT, SYN);
    let ack = tcp(40_000, FAR_PORT, ACK);
    for exit in [Exit::Open, Exit::Lapsed] {
        // A connect that was put off until its exception was over opens nothing.
        let opened = match exit {
            Exit::Open => Ok(()),
            _ => Err(Reason::ExitLapsed),
        };
        assert_eq!(out(connecting(state::SYN_SENT), FAR, syn, exit), opened);
        for state in [1, 4, 5, 7, 8, 9, 11] {
            assert_eq!(out(connecting(state), FAR, ack, exit), Ok(()), "{state}");
            let reset = tcp(40_000, FAR_PORT, RST | ACK);
            assert_eq!(out(connecting(state), FAR, reset, exit), Ok(()), "{state}");
        }
        let answer = tcp(FAR_PORT, 40_000, SYN | ACK);
        assert!(inward(connecting(state::SYN_SENT), FAR, answer, exit));
        assert!(inward(connecting(1), FAR, tcp(FAR_PORT, 40_000, ACK), exit));
        assert!(inward(connecting(2), FAR, tcp(FAR_PORT, 40_000, RST), exit));
    }
    // Its exception was removed.
    for exit in [Exit::None, Exit::Port] {
        let judged = out(connecting(1), FAR, ack, exit);
        assert_eq!(judged, Err(Reason::StaleProvenance));
        let reset = out(connecting(7), FAR, tcp(40_000, FAR_PORT, RST), exit);
        assert_eq!(reset, Err(Reason::KernelChatter));
        // The seal has cut it, and the far side hears of that; of nothing else.
        for (header, older, expected) in [
            (20, Ended::Answered, Ok(())),
            (8, Ended::Answered, Err(Reason::KernelChatter)),
            (20, Ended::Silent, Err(Reason::KernelChatter)),
            (20, Ended::Unknown, Err(Reason::KernelChatter)),
        ] {
            let world = World {
                older,
                ..world(exit, false)
            };
            let reset = Transport {
                header,
                ..tcp(40_000, FAR_PORT, RST | ACK)
            };
            for rules in [with_exits(), policy(&[5060])] {
                let ip = ip(OWN, FAR, 6);
                let socket = connecting(state::CLOSE);
                let judged = egress(&ip, &reset, false, &socket, SEAL, Some(&rules), &world);
                assert_eq!(judged, expected, "{header} {older:?}");
                let ack = egress(&ip, &ack, false, &socket, SEAL, Some(&rules), &world);
                assert_eq!(ack, Err(Reason::StaleProvenance));
            }
        }
        assert!(!inward(
            connecting(1),
            FAR,
            tcp(FAR_PORT, 40_000, ACK),
            exit
        ));
    }
}

#[test]
fn a_tag_is_good_for_its_own_connection_alone() {
    let (syn, ack) = (tcp(40_000, FAR_PORT, SYN), tcp(40_000, FAR_PORT, ACK));
    let established = connecting(state::ESTABLISHED);
    for (what, socket, to, segment, reason) in [
        (
            "another address",
            established,
            OTHER_FAR,
            ack,
            Reason::NoProvenance,
        ),
        (
            "another port",
            established,
            FAR,
            tcp(40_000, 444, ACK),
            Reason::NoProvenance,
        ),
        (
            "another source port",
            established,
            FAR,
            tcp(40_001, FAR_PORT, ACK),
            Reason::NoProvenance,
        ),
        (
            "a SYN of an open connection",
            established,
            FAR,
            syn,
            Reason::Syn,
        ),
        (
            "a SYN-ACK",
            connecting(2),
            FAR,
            tcp(40_000, FAR_PORT, SYN | ACK),
            Reason::Syn,
        ),
        (
            "data before the answer",
            connecting(2),
            FAR,
            ack,
            Reason::NoProvenance,
        ),
        // Disconnected, then a listener: what it accepts has its tag.
        (
            "a listener",
            Socket {
                peer: FAR,
                ..connecting(state::LISTEN)
            },
            FAR,
            ack,
            Reason::StaleProvenance,
        ),
        (
            "a child",
            connecting(state::SYN_RECV),
            FAR,
            tcp(40_000, FAR_PORT, SYN | ACK),
            Reason::Syn,
        ),
        (
            "a child",
            connecting(state::SYN_RECV),
            FAR,
            ack,
            Reason::NoProvenance,
        ),
        (
            "a child of another peer",
            Socket {
                peer: EVIL,
                ..established
            },
            EVIL,
            ack,
            Reason::StaleProvenance,
        ),
        (
            "another exception",
            Socket {
                tag: Tag::exit(SEAL, EXIT + 1),
                ..established
            },
            FAR,
            ack,
            Reason::StaleProvenance,
        ),
        (
            "an earlier seal",
            Socket {
                tag: Tag::exit(SEAL - 1, EXIT),
                ..established
            },
            FAR,
            ack,
            Reason::StaleProvenance,
        ),
        (
            "no tag",
            Socket {
                tag: Tag::NONE,
                ..connecting(2)
            },
            FAR,
            syn,
            Reason::Syn,
        ),
        (
            "MPTCP",
            Socket {
                protocol: 262,
                ..established
            },
            FAR,
            ack,
            Reason::NoProvenance,
        ),
        (
            "a raw socket",
            Socket {
                kind: 3,
                ..established
            },
            FAR,
            ack,
            Reason::NoProvenance,
        ),
    ] {
        assert_eq!(out(socket, to, segment, Exit::Open), Err(reason), "{what}");
    }
    // Without an exception the tag means nothing.
    let ip = ip(OWN, FAR, 6);
    let plain = policy(&[5060]);
    let judged = egress(
        &ip,
        &ack,
        false,
        &established,
        SEAL,
        Some(&plain),
        &world(Exit::None, true),
    );
    assert_eq!(judged, Err(Reason::StaleProvenance));
}

#[test]
fn nobody_comes_in_by_an_exception() {
    let established = connecting(state::ESTABLISHED);
    let ack = tcp(FAR_PORT, 40_000, ACK);
    let syn = tcp(FAR_PORT, 40_000, SYN);
    for (what, socket, from, segment) in [
        ("another address", established, OTHER_FAR, ack),
        ("another port", established, FAR, tcp(444, 40_000, ACK)),
        (
            "another socket",
            Socket {
                tag: Tag::NONE,
                ..established
            },
            FAR,
            ack,
        ),
        ("a SYN", established, FAR, syn),
        ("a SYN at once", connecting(state::SYN_SENT), FAR, syn),
        (
            "to a listener",
            Socket {
                peer: FAR,
                ..connecting(state::LISTEN)
            },
            FAR,
            syn,
        ),
        (
            "to a listener",
            Socket {
                peer: FAR,
                ..connecting(state::LISTEN)
            },
            FAR,
            ack,
        ),
        ("to a child", connecting(state::SYN_RECV), FAR, ack),
    ] {
        assert!(!inward(socket, from, segment, Exit::Open), "{what}");
    }
    // A service port stays one.
    let listener = Socket {
        sport: 5060,
        ..connecting(state::LISTEN)
    };
    let judged = ingress(
        &ip(CLIENT, OWN, 6),
        &tcp(4000, 5060, SYN),
        false,
        &listener,
        SEAL,
        Some(&with_exits()),
        &world(Exit::Open, false),
    );
    assert_eq!(judged, Ok(Inbound::TagListener));
}
