//! A socket that reaches, or could reach, beyond its container.

use std::net::IpAddr;

use airgap_common::map::SealNumber;

/// Kind of a socket in `/proc/PID/net`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// A TCP connection.
    Tcp,
    /// A UDP socket with a peer.
    Udp,
    /// A raw IP socket.
    Raw,
    /// An AF_PACKET socket.
    Packet,
}

impl SocketKind {
    /// The name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Raw => "raw",
            Self::Packet => "packet",
        }
    }
}

/// A socket that reaches, or could reach, beyond the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSocket {
    /// Kind.
    pub kind: SocketKind,
    /// Own address and port.
    pub local: Option<(IpAddr, u16)>,
    /// Peer's address and port.
    pub peer: Option<(IpAddr, u16)>,
    /// Inode; 0 for a connection that nobody accepted yet.
    pub inode: u64,
    /// The kernel's own number for it; `None`: not known.
    pub cookie: Option<[u8; 8]>,
    /// Cgroup of whoever made it, or of its listener; `None`: not known.
    pub cgroup: Option<u64>,
    /// Seal of its tag; `None`: it has no tag, or none is known.
    pub seal: Option<SealNumber>,
    /// The exception that let it connect, by its tag; 0: none.
    pub exit: u32,
}

/// Whether a peer is neither loopback nor an own address.
pub(super) fn is_outside(local: IpAddr, peer: IpAddr) -> bool {
    !peer.is_unspecified() && !peer.is_loopback() && peer != local
}
