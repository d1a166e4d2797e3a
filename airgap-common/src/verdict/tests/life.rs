//! Random socket life cycles.

use std::{vec, vec::Vec};

use super::*;
use crate::{
    packet::{ACK, RST, SYN},
    verdict::{Inbound, egress, ingress},
};

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
                        bound: false,
                        kind: 1,
                        protocol: 6,
                        state: state::LISTEN,
                        sport: port,
                        dport: 0,
                        peer: Addr::default(),
                        // As the storage that `socket()` makes.
                        tag: Tag {
                            epoch: 0,
                            ..Tag::NONE
                        },
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
                // connect() erases the tag's seal and epoch; only unsealed does it go through.
                4 if i < sockets.len() => {
                    let s = &mut sockets[i];
                    s.socket.tag.seal = Tag::NONE.seal;
                    s.socket.tag.epoch = Tag::NO_EPOCH;
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
