//! Frames on the host's side of a veth.

use super::*;
use crate::{
    denial::Reason,
    packet::{ACK, SYN},
    verdict::frame,
};

#[test]
fn a_frame_is_judged_as_its_packet() {
    let kernel = World {
        kernel_socket: true,
        ..WORLD
    };
    let unknown = World {
        opened: false,
        ..kernel
    };
    let judge = |socket: Socket, protocol, t: Transport, world: World| {
        frame(
            &Ip {
                payload: if t.header == 32 { 32 } else { 20 },
                ..ip(OWN, CLIENT, protocol)
            },
            &t,
            &socket,
            SEAL,
            Some(&policy(&[5060])),
            &world,
        )
    };
    let t = |flags| Transport {
        header: 20,
        ..tcp(5060, 4000, flags)
    };
    let data = |flags| Transport {
        header: 16,
        ..t(flags)
    };
    let packet_socket = Socket {
        kind: 3,
        protocol: 0,
        ..accepted()
    };
    let control = Socket {
        kind: 3,
        tag: Tag::NONE,
        ..accepted()
    };
    let udp = Transport {
        kind: Kind::Udp,
        dport: 443,
        ..Transport::OTHER
    };
    let table = [
        ("a reply", accepted(), 6, t(ACK), WORLD, Ok(())),
        (
            "a forged reply",
            packet_socket,
            6,
            t(ACK),
            WORLD,
            Err(Reason::Frame),
        ),
        (
            "a forged datagram",
            packet_socket,
            17,
            udp,
            WORLD,
            Err(Reason::Egress),
        ),
        (
            "a cookie's SYN-ACK",
            Socket::NONE,
            6,
            t(SYN | ACK),
            WORLD,
            Ok(()),
        ),
        (
            "a SYN-ACK to nobody's SYN",
            Socket::NONE,
            6,
            t(SYN | ACK),
            unknown,
            Err(Reason::Frame),
        ),
        (
            "a SYN-ACK with data",
            Socket::NONE,
            6,
            data(SYN | ACK),
            WORLD,
            Err(Reason::Frame),
        ),
        (
            "a forwarded SYN",
            Socket::NONE,
            6,
            t(SYN),
            WORLD,
            Err(Reason::Frame),
        ),
        (
            "forwarded data",
            Socket::NONE,
            6,
            data(ACK),
            WORLD,
            Err(Reason::Frame),
        ),
        (
            "a forwarded datagram",
            Socket::NONE,
            17,
            udp,
            WORLD,
            Err(Reason::Frame),
        ),
        ("TIME_WAIT's ACK", control, 6, t(ACK), kernel, Ok(())),
        (
            "an ACK to nobody's SYN",
            control,
            6,
            t(ACK),
            unknown,
            Err(Reason::KernelChatter),
        ),
        (
            "TIME_WAIT's ACK with timestamps",
            Socket::NONE,
            6,
            Transport {
                header: 32,
                options: [1, 1, 8, 10],
                ..t(ACK)
            },
            kernel,
            Ok(()),
        ),
        (
            "an ACK with other options",
            Socket::NONE,
            6,
            Transport {
                header: 32,
                options: *b"TEXT",
                ..t(ACK)
            },
            kernel,
            Err(Reason::KernelChatter),
        ),
        (
            "an ACK with data",
            control,
            6,
            data(ACK),
            kernel,
            Err(Reason::KernelChatter),
        ),
        (
            "an echo reply",
            Socket::NONE,
            1,
            Transport::icmp([0, 0], Addr::default()),
            WORLD,
            Err(Reason::KernelChatter),
        ),
        (
            "a multicast join",
            Socket::NONE,
            2,
            Transport::OTHER,
            WORLD,
            Err(Reason::KernelChatter),
        ),
    ];
    for (what, socket, protocol, t, world, expected) in table {
        assert_eq!(judge(socket, protocol, t, world), expected, "{what}");
    }
}
