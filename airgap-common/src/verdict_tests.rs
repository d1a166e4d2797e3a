//! The verdict under test: a table of single packets, and random socket life
//! cycles against the one invariant.

use std::{vec, vec::Vec};

use crate::{
    addr::Addr,
    denial::Reason,
    map::{MAX_PORTS, Policy, Tag},
    packet::{ACK, Ip, Kind, RST, SYN, Transport},
    verdict::{Inbound, Kernel, Peer, Socket, egress, frame, ingress, socket_errno, state},
};

const SEAL: u64 = 7;
const OWN: Addr = Addr::from_v4([198, 51, 100, 2]);
const CLIENT: Addr = Addr::from_v4([198, 51, 100, 9]);
const EVIL: Addr = Addr::from_v4([198, 51, 100, 66]);

#[derive(Clone, Copy)]
struct World {
    peer: Peer,
    allowed: bool,
    kernel_socket: bool,
    budget: bool,
    opened: bool,
}

const WORLD: World = World {
    peer: Peer::Inside,
    allowed: true,
    kernel_socket: false,
    budget: true,
    opened: true,
};

impl Kernel for World {
    fn peer(&self, _: &Ip, _: &Transport) -> Peer {
        self.peer
    }
    fn client_allowed(&self, _: Addr) -> bool {
        self.allowed
    }
    fn kernel_socket(&self) -> bool {
        self.kernel_socket
    }
    fn neighbour_budget(&self) -> bool {
        self.budget
    }
    fn client_opened(&self, _: &Ip, _: &Transport, _: bool) -> bool {
        self.opened
    }
}

fn policy(ports: &[u16]) -> Policy {
    let mut tcp = [0; MAX_PORTS];
    tcp[..ports.len()].copy_from_slice(ports);
    Policy {
        flags: Policy::CLIENTS_ANY,
        nd_per_second: 1,
        tcp,
    }
}

fn ip(src: Addr, dst: Addr, protocol: u8) -> Ip {
    let version = if dst.is_v4() { 4 } else { 6 };
    Ip {
        src,
        dst,
        version,
        protocol,
        ttl: 64,
        plain: true,
        payload: 20,
    }
}

fn tcp(sport: u16, dport: u16, flags: u8) -> Transport {
    Transport {
        kind: Kind::Tcp,
        sport,
        dport,
        flags,
        ..Transport::OTHER
    }
}

fn tag(seal: u64, port: u16) -> Tag {
    Tag {
        seal,
        port,
        _pad: [0; 6],
    }
}

fn accepted() -> Socket {
    Socket {
        exists: true,
        kind: 1,
        protocol: 6,
        state: state::ESTABLISHED,
        sport: 5060,
        dport: 4000,
        peer: CLIENT,
        tag: tag(SEAL, 5060),
    }
}

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
            accepted(),
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
    let packet_socket = (Socket {
        kind: 3,
        protocol: 0,
        ..accepted()
    });
    let control = (Socket {
        kind: 3,
        tag: Tag::NONE,
        ..accepted()
    });
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
            Reason::Neighbour,
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

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A socket, and the truth about it: the client that opened its connection.
#[derive(Clone, Copy)]
struct Life {
    socket: Socket,
    opened_by: Option<(Addr, u16)>,
}

/// Random life cycles: listen, accept, disconnect, rebind, connect, detach and
/// attach, under hostile headers. No SYN leaves, and every packet to the
/// outside goes to a client that opened the connection it belongs to.
#[test]
fn every_outside_byte_belongs_to_a_flow_that_a_client_opened() {
    let (mut passed, mut refused) = (0, 0);
    for seed in 1..400u64 {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut sockets: Vec<Life> = vec![];
        let mut pending: Vec<(usize, Addr, u16)> = vec![];
        let (mut seal, mut sealed) = (1u64, true);
        let rules = policy(&[5060, 80]);
        for _ in 0..400 {
            let peer = r.pick(&[CLIENT, EVIL]);
            let (port, dport) = (r.pick(&[5060, 80, 81]), r.pick(&[4000, 4001]));
            let i = r.below(sockets.len().max(1) as u64) as usize;
            match r.below(9) {
                0 if sockets.len() < 12 => sockets.push(Life {
                    socket: Socket {
                        exists: true,
                        kind: 1,
                        protocol: 6,
                        state: state::LISTEN,
                        sport: port,
                        dport: 0,
                        peer: Addr::default(),
                        tag: Tag::NONE,
                    },
                    opened_by: None,
                }),
                1 if i < sockets.len() && sealed => {
                    let life = &mut sockets[i];
                    let t = tcp(dport, life.socket.sport, SYN);
                    let judged = ingress(
                        &ip(peer, OWN, 6),
                        &t,
                        false,
                        &life.socket,
                        seal,
                        Some(&rules),
                        &WORLD,
                    );
                    if judged == Ok(Inbound::TagListener) {
                        life.socket.tag = tag(seal, life.socket.sport);
                        pending.push((i, peer, dport));
                    }
                }
                2 if !pending.is_empty() => {
                    let (listener, peer, dport) =
                        pending.swap_remove(r.below(pending.len() as u64) as usize);
                    let parent = sockets[listener].socket;
                    if parent.state == state::LISTEN {
                        let socket = Socket {
                            state: state::ESTABLISHED,
                            dport,
                            peer,
                            ..parent
                        };
                        sockets.push(Life {
                            socket,
                            opened_by: Some((peer, dport)),
                        });
                    }
                }
                // connect(AF_UNSPEC): runs no hook, keeps the tag.
                3 if i < sockets.len() => {
                    let s = &mut sockets[i];
                    s.socket = Socket {
                        state: state::CLOSE,
                        dport: 0,
                        peer: Addr::default(),
                        ..s.socket
                    };
                    s.opened_by = None;
                }
                // connect() deletes the tag; only unsealed does it go through.
                4 if i < sockets.len() => {
                    let s = &mut sockets[i];
                    s.socket.tag = Tag::NONE;
                    if !sealed && s.socket.state == state::CLOSE {
                        s.socket = Socket {
                            state: state::ESTABLISHED,
                            dport,
                            peer,
                            ..s.socket
                        };
                        s.opened_by = None;
                    }
                }
                5 if i < sockets.len() && sockets[i].socket.state == state::CLOSE => {
                    sockets[i].socket.sport = port;
                    if r.below(2) == 0 {
                        sockets[i].socket.state = state::LISTEN;
                    }
                }
                6 if r.below(15) == 0 => {
                    sealed = !sealed;
                    seal += u64::from(sealed);
                }
                _ if i < sockets.len() && sealed => {
                    let Life { socket, opened_by } = sockets[i];
                    // A listener's SYN-ACK is the kernel's answer to a SYN.
                    let flags = r.pick(&[ACK, SYN, SYN | ACK, RST, RST | ACK, 0]);
                    let (to, dport) = if r.below(2) == 0 && socket.dport != 0 {
                        (socket.peer, socket.dport)
                    } else {
                        (peer, dport)
                    };
                    let t = tcp(r.pick(&[socket.sport, 5060]), dport, flags);
                    let judged = egress(
                        &ip(OWN, to, 6),
                        &t,
                        false,
                        &socket,
                        seal,
                        Some(&rules),
                        &WORLD,
                    );
                    if judged.is_ok() {
                        passed += 1;
                        assert_ne!(flags, SYN, "a SYN left, seed {seed}");
                        let syn_ack =
                            socket.state == state::LISTEN && flags & (SYN | ACK) == SYN | ACK;
                        assert!(
                            syn_ack || opened_by == Some((to, dport)),
                            "seed {seed}: {socket:?} sent {t:?} to {to:?}"
                        );
                    } else {
                        refused += 1;
                    }
                }
                _ => {}
            }
        }
    }
    // Both must happen often, or the test says nothing.
    assert!(
        passed > 200 && refused > 2_000,
        "{passed} passed, {refused} refused"
    );
}
