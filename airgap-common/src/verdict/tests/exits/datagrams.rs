//! Datagrams of exceptions, flow by flow, and a socket's life.

use super::*;

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
        bound: false,
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
                bound: false,
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
                // NAT may have changed the packet's, but for an exception's connection.
                match life.socket.tag.is_exit(SEAL) {
                    true => assert_eq!(sport, life.socket.sport),
                    false => assert_eq!(life.socket.tag.port, life.socket.sport),
                }
            }
        } else {
            refused += 1;
        }
    }
    assert!(passed > 1_000 && refused > 10_000, "{passed} {refused}");
}
