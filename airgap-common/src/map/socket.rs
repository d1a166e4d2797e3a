//! What is kept of a socket, and of flows that have none.

use super::{SealNumber, UNRECORDED};
use crate::addr::Addr;

/// Provenance of a TCP socket: written on a listener when a client's SYN
/// arrives, inherited by the sockets it accepts, deleted by `connect`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Seal under which the SYN was accepted.
    pub seal: SealNumber,
    /// Service port, host byte order.
    pub port: u16,
    /// Zero.
    pub _pad: [u8; 6],
}

impl Tag {
    /// No tag: no seal has this number.
    pub const NONE: Self = Self {
        seal: UNRECORDED,
        port: 0,
        _pad: [0; 6],
    };
}

/// Who uses a socket: set when a sealed task creates it, refreshed by the
/// connect and sendmsg hooks.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mark {
    /// Seal of the task that created the socket.
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

/// Value of `SYNS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynSeen {
    /// Sequence number.
    pub seq: u32,
    /// 1 once a SYN cookie's SYN-ACK has answered it; a retry opens it again.
    pub answered: u32,
    /// When it was last seen, `CLOCK_MONOTONIC`, nanoseconds.
    pub time: u64,
}

/// How long after a client's last SYN the kernel may answer on its flow
/// without a socket of the flow, nanoseconds. Connections that last longer
/// lose the last ACK of TIME_WAIT only.
pub const SYN_LIFE: u64 = 10 * 60 * 1_000_000_000;

/// Key of `SYNS`: a SYN that went into a container, as its veth saw it.
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
