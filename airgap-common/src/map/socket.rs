//! What is kept of a socket, and of flows that have none.

use super::{SealNumber, UNRECORDED};
use crate::addr::Addr;

/// Flows remembered for answers that the kernel gives without a socket, a power
/// of two; a new one takes the place of whichever shares its slot.
pub const MAX_SYNS: u32 = 32_768;

/// What is kept with a socket. One value and not two: the kernel copies each to
/// every socket that is accepted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Of no seal ([`Tag::NONE`]'s) until a client's SYN arrives.
    pub tag: Tag,
    /// All zero until it was found on loopback who is at the other end.
    pub near: Near,
    /// All zero until a sealed task binds it, or uses it for what may be refused later.
    pub mark: Mark,
}

/// Provenance of a TCP socket: written on a listener when a client's SYN
/// arrives, inherited by the sockets it accepts, erased by `connect`. Or written by
/// `connect` itself, if an exception allows it: see [`Tag::exit`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Seal under which the SYN was accepted.
    pub seal: SealNumber,
    /// `EPOCH` when the seal's policy was last found to serve the port to any
    /// client, or to this one, or [`Tag::NO_EPOCH`]. While it is the present one, no policy has
    /// changed since, and the packets' short way need not look at any. With `port` 0
    /// the number of the exception.
    pub epoch: u32,
    /// Service port, host byte order; 0: an exception's.
    pub port: u16,
    /// 1: the epoch holds for the peer that this socket is connected to alone, as the
    /// policy serves some clients only. Another client is judged.
    pub peer_only: u8,
    /// Bits of [`Tag::TOLD`] and [`Tag::LET_OUT`], under an audit alone.
    pub told: u8,
}

impl Tag {
    /// No tag: no seal has this number.
    pub const NONE: Self = Self {
        seal: UNRECORDED,
        epoch: Self::NO_EPOCH,
        port: 0,
        peer_only: 0,
        told: 0,
    };

    /// What the socket does next was told and counted already.
    pub const TOLD: u8 = 1;
    /// Something of it left that a seal would have refused: so it would the answer.
    pub const LET_OUT: u8 = 2;

    /// Never the present epoch where it counts: it is odd, and in odd ones
    /// policies change.
    pub const NO_EPOCH: u32 = 1;

    /// That of a socket which connects by an exception. No segment has port 0, so
    /// whatever goes by the service port refuses it.
    #[inline(always)]
    pub const fn exit(seal: SealNumber, number: u32) -> Self {
        Self {
            seal,
            epoch: number,
            port: 0,
            peer_only: 0,
            told: 0,
        }
    }

    /// Whether it is one of those, under this seal.
    #[inline(always)]
    pub const fn is_exit(&self, seal: SealNumber) -> bool {
        self.port == 0 && self.seal == seal && seal != UNRECORDED
    }

    /// Whether this is the tag's epoch, and one in which no policy changes.
    #[inline(always)]
    pub const fn is_of(&self, epoch: u32) -> bool {
        self.epoch == epoch && epoch & 1 == 0
    }
}

/// Of a TCP connection on loopback: that whoever has its other end is of the same seal. No
/// verdict needs to look for that one again, in the same epoch, while the socket is connected
/// to that very end: whoever takes its place gets no more than a RST from the kernel, as none of
/// that connection is his. Not found where a shared network namespace was accepted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Near {
    /// `EPOCH` when that was found.
    pub epoch: u32,
    /// The connection, as an accepted socket has a copy of what its listener has: see
    /// [`Near::ports_of`]. 0: nothing was found.
    pub ports: u32,
}

impl Near {
    /// Own and peer's port, host byte order, in one.
    #[inline(always)]
    pub const fn ports_of(own: u16, peer: u16) -> u32 {
        (own as u32) << 16 | peer as u32
    }

    /// Whether it was found of a connection with these ports, in this epoch, and that is one
    /// in which no policy changes.
    #[inline(always)]
    pub const fn is_of(&self, epoch: u32, ports: u32) -> bool {
        self.epoch == epoch && epoch & 1 == 0 && self.ports == ports && ports != 0
    }
}

/// Who uses a socket: set when a sealed task binds it, and by the connect and sendmsg hooks.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mark {
    /// Seal of that task.
    pub seal: SealNumber,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// User id in the initial user namespace.
    pub uid: u32,
    /// Group id in the initial user namespace.
    pub gid: u32,
    /// `task->comm`, NUL-terminated, chosen by the container.
    pub comm: [u8; 16],
    /// When the process started, `CLOCK_BOOTTIME`, nanoseconds; 0: not known.
    pub start: u64,
    /// Process id in the process's own pid namespace; 0: not known.
    pub nspid: u32,
    /// Parent's process id in the initial pid namespace; 0: not known.
    pub ppid: u32,
    /// Parent's `comm`.
    pub parent: [u8; 16],
}

/// Element of `SYNS`: what was last seen of a flow whose [`Syn::slot`] this is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynSeen {
    /// Which flow. All zero at first, and no seal has the number 0.
    pub syn: Syn,
    /// Sequence number.
    pub seq: u32,
    /// 1 once a SYN cookie's SYN-ACK has answered it; a retry opens it again.
    pub answered: u32,
    /// When it was last seen, `CLOCK_MONOTONIC`, nanoseconds.
    pub time: u64,
}

/// How long after a client's last SYN the kernel may answer on its flow
/// without a socket of the flow, nanoseconds. Connections that last longer, or
/// whose slot another flow has taken, lose the last ACK of TIME_WAIT only.
pub const SYN_LIFE: u64 = 10 * 60 * 1_000_000_000;

/// A SYN that went into a container, as its veth saw it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn {
    /// Seal of the container.
    pub seal: SealNumber,
    /// Client.
    pub client: Addr,
    /// The container's address that it was sent to.
    pub own: Addr,
    /// Client's port, host byte order.
    pub client_port: u16,
    /// Service port, host byte order.
    pub port: u16,
    /// Zero.
    pub _pad: u32,
}

impl Syn {
    /// Its place in `SYNS`; with another seed another one.
    #[inline(always)]
    pub const fn slot(&self, seed: u64) -> u32 {
        const fn mix(hash: u64, high: u32, low: u32) -> u64 {
            let word = (high as u64) << 32 | low as u64;
            let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^ (hash >> 29)
        }
        let (client, own) = (self.client.0, self.own.0);
        let ports = (self.client_port as u32) << 16 | self.port as u32;
        let hash = mix(seed ^ self.seal, client[0], client[1]);
        let hash = mix(mix(hash, client[2], client[3]), own[0], own[1]);
        (mix(mix(hash, own[2], own[3]), 0, ports) >> 32) as u32 & (MAX_SYNS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_near_is_known_of_one_connection_in_one_epoch() {
        let ports = Near::ports_of(5432, 40_000);
        let near = Near { epoch: 8, ports };
        assert!(near.is_of(8, ports));
        assert!(!near.is_of(10, ports), "a policy has changed");
        assert!(!near.is_of(8, Near::ports_of(5432, 40_001)), "another peer");
        assert!(
            !near.is_of(8, Near::ports_of(40_000, 5432)),
            "the other end"
        );
        let changing = Near { epoch: 9, ports };
        assert!(!changing.is_of(9, ports), "a policy is changing");
        // What was made for a tag or a mark, at a gate's first epoch, of an unbound socket.
        assert!(!Near::default().is_of(0, 0));
    }

    #[test]
    fn flows_that_differ_by_a_port_are_spread() {
        let syn = |client_port| Syn {
            seal: 1,
            client: Addr::from_v4([198, 51, 100, 9]),
            own: Addr::from_v4([198, 51, 100, 2]),
            client_port,
            port: 5060,
            _pad: 0,
        };
        let slots = |seed| (0..4096).map(move |port| syn(port).slot(seed));
        let distinct: std::collections::BTreeSet<_> = slots(7).collect();
        // Thrown at random, 4,096 would meet about 3,850 of 32,768.
        assert!(distinct.len() > 3_700, "{}", distinct.len());
        assert!(distinct.iter().all(|slot| *slot < MAX_SYNS));
        assert!(slots(7).zip(slots(8)).filter(|(a, b)| a == b).count() < 20);
    }
}
