//! Exceptions: what leaves by them, and what comes back.

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

fn udp(sport: u16, dport: u16) -> Transport {
    Transport {
        kind: Kind::Udp,
        sport,
        dport,
        ..Transport::OTHER
    }
}

fn sender() -> Socket {
    Socket {
        exists: true,
        kind: 2,
        protocol: 17,
        state: state::CLOSE,
        sport: 40_000,
        ..Socket::NONE
    }
}

#[test]
fn datagrams_are_judged_one_by_one() {
    let send = |socket: Socket, to, port, exit| {
        let ip = ip(OWN, to, 17);
        let world = world(exit, false);
        egress(
            &ip,
            &udp(40_000, port),
            false,
            &socket,
            SEAL,
            Some(&with_exits()),
            &world,
        )
    };
    assert_eq!(send(sender(), FAR, 443, Exit::Open), Ok(()));
    assert_eq!(
        send(sender(), FAR, 443, Exit::Lapsed),
        Err(Reason::ExitLapsed)
    );
    assert_eq!(send(sender(), FAR, 444, Exit::Open), Err(Reason::ExitPort));
    assert_eq!(send(sender(), FAR, 53, Exit::Open), Err(Reason::Dns));
    assert_eq!(
        send(sender(), OTHER_FAR, 443, Exit::Open),
        Err(Reason::Egress)
    );
    assert_eq!(send(sender(), OTHER_FAR, 53, Exit::Open), Err(Reason::Dns));
    // Connected to the far side, and sent elsewhere.
    let connected = Socket {
        peer: FAR,
        dport: 443,
        state: state::ESTABLISHED,
        ..sender()
    };
    assert_eq!(send(connected, FAR, 443, Exit::Open), Ok(()));
    assert_eq!(
        send(connected, OTHER_FAR, 443, Exit::Open),
        Err(Reason::Egress)
    );
    let raw = Socket {
        kind: 3,
        ..sender()
    };
    assert_eq!(send(raw, FAR, 443, Exit::Open), Err(Reason::Egress));
    let lite = Socket {
        protocol: 136,
        ..sender()
    };
    assert_eq!(send(lite, FAR, 443, Exit::Open), Err(Reason::Egress));
    assert_eq!(
        send(Socket::NONE, FAR, 443, Exit::Open),
        Err(Reason::Egress)
    );
    let group = Addr::from_v4([224, 0, 0, 1]);
    assert_eq!(send(sender(), group, 443, Exit::Open), Err(Reason::Egress));
}

#[test]
fn datagrams_come_in_as_answers_only() {
    let receive = |socket: Socket, from, port, exit, remembered| {
        let ip = ip(from, OWN, 17);
        let world = world(exit, remembered);
        ingress(
            &ip,
            &udp(port, 40_000),
            false,
            &socket,
            SEAL,
            Some(&with_exits()),
            &world,
        ) == Ok(Inbound::Deliver)
    };
    let connected = Socket {
        peer: FAR,
        dport: 443,
        state: state::ESTABLISHED,
        ..sender()
    };
    assert!(receive(sender(), FAR, 443, Exit::Open, true));
    assert!(receive(connected, FAR, 443, Exit::Open, false));
    assert!(receive(connected, FAR, 443, Exit::Lapsed, false));
    assert!(!receive(sender(), FAR, 443, Exit::Open, false), "uninvited");
    assert!(!receive(sender(), FAR, 444, Exit::Open, true));
    assert!(!receive(sender(), OTHER_FAR, 443, Exit::Open, true));
    assert!(!receive(connected, FAR, 443, Exit::None, true), "removed");
}

#[test]
fn the_kernel_answers_on_flows_that_went_out() {
    let bare = Transport {
        header: 20,
        ..tcp(40_000, FAR_PORT, ACK)
    };
    let judge = |t: Transport, kernel_socket, remembered, exit| {
        let world = World {
            kernel_socket,
            opened: false,
            ..world(exit, remembered)
        };
        frame(
            &ip(OWN, FAR, 6),
            &t,
            &Socket::NONE,
            SEAL,
            Some(&with_exits()),
            &world,
        )
    };
    assert_eq!(judge(bare, true, true, Exit::Open), Ok(()));
    assert_eq!(judge(bare, true, true, Exit::Lapsed), Ok(()));
    let chatter = Err(Reason::KernelChatter);
    assert_eq!(judge(bare, true, true, Exit::None), chatter);
    assert_eq!(judge(bare, true, false, Exit::Open), chatter);
    assert_eq!(judge(bare, false, true, Exit::Open), Err(Reason::Frame));
    for other in [
        Transport {
            flags: FIN | ACK,
            ..bare
        },
        Transport { dport: 444, ..bare },
        // 12 bytes of payload.
        Transport { header: 8, ..bare },
    ] {
        assert_eq!(judge(other, true, true, Exit::Open), chatter, "{other:?}");
    }
    // A SYN-ACK is never made of one.
    let synack = Transport {
        flags: SYN | ACK,
        ..bare
    };
    assert_eq!(judge(synack, true, true, Exit::Open), Err(Reason::Frame));
}

/// A socket, and the truth about it: whether it has the connection that it opened itself to
/// the far side, or one that a client opened to the service port.
#[derive(Clone, Copy)]
struct Life {
    socket: Socket,
    rightful: Option<(Addr, u16)>,
}

/// Random lives of sockets that connect by an exception: disconnected, turned into listeners,
/// accepting, connecting again. What leaves goes to the far side on a connection that this
/// very socket opened, or to a client on the one that it opened.
#[test]
fn a_tag_takes_nothing_out_but_what_it_was_given_for() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |n: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % n
    };
    let policy = with_exits();
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..60_000 {
        let mut life = Life {
            socket: Socket {
                exists: true,
                kind: 1,
                protocol: 6,
                state: state::CLOSE,
                ..Socket::NONE
            },
            rightful: None,
        };
        for _ in 0..1 + below(8) {
            let socket = &mut life.socket;
            let (peer, port) = [
                (FAR, FAR_PORT),
                (FAR, 444),
                (EVIL, FAR_PORT),
                (CLIENT, 4000),
            ][below(4) as usize];
            match below(6) {
                // Connect: the hook erases the tag, and gives another where it may.
                0 if socket.state == state::CLOSE => {
                    socket.tag = Tag::NONE;
                    if (peer, port) == (FAR, FAR_PORT) {
                        socket.tag = Tag::exit(SEAL, EXIT);
                        (socket.peer, socket.dport) = (peer, port);
                        socket.sport = [40_000, 5060][below(2) as usize];
                        socket.state = [state::SYN_SENT, state::ESTABLISHED][below(2) as usize];
                        life.rightful = Some((peer, port));
                    }
                }
                // Disconnect: no hook runs.
                1 => {
                    socket.state = state::CLOSE;
                    (socket.peer, socket.dport) = (Addr::default(), 0);
                    life.rightful = None;
                }
                2 if socket.state == state::CLOSE => {
                    socket.state = state::LISTEN;
                    socket.sport = [6000, 5060][below(2) as usize];
                }
                // A client comes, if the verdict lets its SYN in; what is accepted goes on.
                3 if socket.state == state::LISTEN => {
                    let syn = tcp(port, socket.sport, SYN);
                    let world = world(Exit::Open, false);
                    let ip = ip(peer, OWN, 6);
                    let judged = ingress(&ip, &syn, false, socket, SEAL, Some(&policy), &world);
                    if judged == Ok(Inbound::TagListener) {
                        socket.tag = tag(SEAL, socket.sport);
                        (socket.peer, socket.dport) = (peer, port);
                        socket.state = state::ESTABLISHED;
                        life.rightful = Some((peer, port));
                    }
                }
                // Over lo anybody inside is let in: a child with the listener's tag.
                4 if socket.state == state::LISTEN => {
                    (socket.peer, socket.dport) = (OWN, FAR_PORT);
                    socket.state = [state::SYN_RECV, state::ESTABLISHED][below(2) as usize];
                }
                _ => {}
            }
        }
        let mut to = [FAR, EVIL, CLIENT, OTHER_FAR, OWN][below(5) as usize];
        let mut port = [FAR_PORT, 444, 4000][below(3) as usize];
        let mut sport = [6000, 5060, 40_000][below(3) as usize];
        if below(2) == 0 && life.socket.dport != 0 {
            // As its socket has it.
            (to, port, sport) = (life.socket.peer, life.socket.dport, life.socket.sport);
        }
        let flags = [SYN, SYN | ACK, ACK, FIN | ACK, RST][below(5) as usize];
        let judged = egress(
            &ip(OWN, to, 6),
            &tcp(sport, port, flags),
            false,
            &life.socket,
            SEAL,
            Some(&policy),
            &world(Exit::Open, false),
        );
        if judged.is_ok() {
            passed += 1;
            // What leaves a listener is the answer to a SYN that it got.
            if life.socket.state != state::LISTEN {
                assert_eq!(
                    life.rightful,
                    Some((to, port)),
                    "{life:?}",
                    life = life.socket
                );
                assert_eq!(sport, life.socket.sport);
            }
        } else {
            refused += 1;
        }
    }
    assert!(passed > 1_000 && refused > 10_000, "{passed} {refused}");
}
