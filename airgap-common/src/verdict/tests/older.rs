//! Connections older than the seal: their end is heard, and nothing else.

use super::*;
use crate::{
    denial::Reason,
    packet::{ACK, FIN, RST, SYN},
    verdict::{Inbound, egress, frame, ingress},
};

/// Its socket, once it was cut: it has given its port back.
fn cut() -> Socket {
    Socket {
        state: state::CLOSE,
        sport: 0,
        tag: Tag::NONE,
        ..accepted()
    }
}

fn world(older: Ended) -> World {
    World {
        older,
        opened: false,
        kernel_socket: true,
        ..WORLD
    }
}

fn rst() -> Transport {
    Transport {
        header: 20,
        ..tcp(5060, 4000, RST | ACK)
    }
}

#[test]
fn the_peer_of_what_was_cut_gets_a_rst_and_nothing_else() {
    let (here, there) = (ip(OWN, CLIENT, 6), ip(OWN, EVIL, 6));
    let timestamps = Transport {
        header: 32,
        options: [1, 1, 8, 10],
        ..rst()
    };
    let long = Ip {
        payload: 32,
        ..here
    };
    let older = |tag| Socket { tag, ..cut() };
    let open = Ok(());
    let chatter = Err(Reason::KernelChatter);
    let none = Err(Reason::NoProvenance);
    let with = |flags| Transport { flags, ..rst() };
    let table = [
        ("the RST", here, rst(), cut(), Ended::Answered, open),
        (
            "before it closed",
            here,
            rst(),
            Socket {
                tag: Tag::NONE,
                ..accepted()
            },
            Ended::Answered,
            open,
        ),
        (
            "with timestamps",
            long,
            timestamps,
            cut(),
            Ended::Answered,
            open,
        ),
        (
            "of an earlier seal",
            here,
            rst(),
            older(tag(SEAL - 1, 5060)),
            Ended::Answered,
            open,
        ),
        ("a second one", here, rst(), cut(), Ended::Silent, chatter),
        (
            "of another connection",
            here,
            rst(),
            cut(),
            Ended::Unknown,
            none,
        ),
        (
            "another option",
            long,
            Transport {
                options: *b"TEXT",
                ..timestamps
            },
            cut(),
            Ended::Answered,
            none,
        ),
        ("with data", long, rst(), cut(), Ended::Answered, none),
        ("an ACK", here, with(ACK), cut(), Ended::Answered, none),
        ("a FIN", here, with(FIN | RST), cut(), Ended::Answered, none),
        (
            "a SYN",
            here,
            with(SYN),
            cut(),
            Ended::Answered,
            Err(Reason::Syn),
        ),
        ("to another", there, rst(), cut(), Ended::Answered, chatter),
        (
            "to another port",
            here,
            tcp_to(4001),
            cut(),
            Ended::Answered,
            chatter,
        ),
        (
            "from another port",
            here,
            Transport {
                sport: 5061,
                ..rst()
            },
            cut(),
            Ended::Answered,
            chatter,
        ),
    ];
    for (what, ip, transport, socket, older, expected) in table {
        let kernel = world(older);
        let rules = policy(&[5060]);
        let judged = egress(&ip, &transport, false, &socket, SEAL, Some(&rules), &kernel);
        assert_eq!(judged, expected, "{what}");
        let expected = if expected == none {
            Err(Reason::Frame)
        } else {
            expected
        };
        let judged = frame(&ip, &transport, &socket, SEAL, Some(&rules), &kernel);
        assert_eq!(judged, expected, "{what}, as a frame");
    }
}

fn tcp_to(dport: u16) -> Transport {
    Transport { dport, ..rst() }
}

#[test]
fn the_port_is_served_and_the_peer_a_client() {
    let judge = |rules: &Policy, kernel: &World| {
        let (packet, rst) = (ip(OWN, CLIENT, 6), rst());
        egress(&packet, &rst, false, &cut(), SEAL, Some(rules), kernel)
    };
    let kernel = world(Ended::Answered);
    assert_eq!(judge(&policy(&[5060]), &kernel), Ok(()));
    assert_eq!(judge(&policy(&[80]), &kernel), Err(Reason::KernelChatter));
    let few = Policy {
        flags: 0,
        ..policy(&[5060])
    };
    assert_eq!(judge(&few, &kernel), Ok(()));
    let stranger = World {
        allowed: false,
        ..kernel
    };
    assert_eq!(judge(&few, &stranger), Err(Reason::KernelChatter));
}

/// From the kernel's control socket, or what is left of the connection.
#[test]
fn the_kernel_finishes_what_was_kept_and_answers_for_what_was_cut() {
    let control = Socket {
        kind: 3,
        tag: Tag::NONE,
        ..accepted()
    };
    let listener = Socket {
        state: state::LISTEN,
        dport: 0,
        peer: Addr::default(),
        kind: 1,
        ..control
    };
    for socket in [control, Socket::NONE, listener] {
        for (older, flags, expected) in [
            (Ended::Answered, RST, Ok(())),
            (Ended::Answered, ACK, Ok(())),
            (Ended::Silent, RST, Err(Reason::KernelChatter)),
            (Ended::Unknown, ACK, Err(Reason::KernelChatter)),
        ] {
            let (packet, segment) = (ip(OWN, CLIENT, 6), Transport { flags, ..rst() });
            let rules = policy(&[5060]);
            let judged = frame(
                &packet,
                &segment,
                &socket,
                SEAL,
                Some(&rules),
                &world(older),
            );
            assert_eq!(judged, expected, "{older:?} {flags}");
        }
    }
    // A packet socket of the container's makes the same frame.
    let user = World {
        kernel_socket: false,
        ..world(Ended::Answered)
    };
    let judged = frame(
        &ip(OWN, CLIENT, 6),
        &rst(),
        &control,
        SEAL,
        Some(&policy(&[5060])),
        &user,
    );
    assert_eq!(judged, Err(Reason::Frame));
}

#[test]
fn only_the_listener_gets_what_comes_for_a_cut_connection() {
    let listener = Socket {
        state: state::LISTEN,
        dport: 0,
        tag: Tag::NONE,
        ..accepted()
    };
    let judge = |socket: &Socket, older| {
        let (packet, t) = (ip(CLIENT, OWN, 6), tcp(4000, 5060, ACK));
        ingress(
            &packet,
            &t,
            false,
            socket,
            SEAL,
            Some(&policy(&[5060])),
            &world(older),
        )
    };
    assert_eq!(judge(&listener, Ended::Answered), Ok(Inbound::Deliver));
    assert_eq!(judge(&listener, Ended::Unknown), Err(Reason::Inbound));
    let open = Socket {
        tag: Tag::NONE,
        ..accepted()
    };
    assert_eq!(judge(&open, Ended::Answered), Err(Reason::Inbound));
}
