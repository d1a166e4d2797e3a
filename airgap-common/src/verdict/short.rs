//! The short way: what nearly every packet of a service is, told by its own
//! headers and its socket's tag alone. It never allows what the full verdict
//! would refuse; what it does not allow is judged in full.

use super::{Socket, state, touches_loopback};
use crate::{
    addr::Addr,
    map::{Policy, SealNumber, Tag},
    packet::{ACK, Ip, Kind, SYN, Transport},
};

/// A TCP socket that has a tag: a full one, as only TCP sockets get tags. Each field is
/// read where it is asked for, and most packets are told by few.
pub trait Tagged {
    /// One of [`state`].
    fn state(&self) -> u32;
    /// Whether it is bound to an interface.
    fn is_bound(&self) -> bool;
    /// Local port, host byte order.
    fn sport(&self) -> u16;
    /// Peer's port, host byte order.
    fn dport(&self) -> u16;
    /// Whether this is its peer's address.
    fn has_peer(&self, addr: Addr) -> bool;
    /// The tag's service port.
    fn port(&self) -> u16;
    /// Whether the tag holds for the socket's peer alone.
    fn peer_only(&self) -> bool;
    /// Whether the tag names a seal, and `epoch`, in which no policy changes.
    fn is_of(&self, epoch: u32) -> bool;
}

impl Tagged for Socket {
    #[inline(always)]
    fn state(&self) -> u32 {
        self.state
    }

    #[inline(always)]
    fn is_bound(&self) -> bool {
        self.bound
    }

    #[inline(always)]
    fn sport(&self) -> u16 {
        self.sport
    }

    #[inline(always)]
    fn dport(&self) -> u16 {
        self.dport
    }

    #[inline(always)]
    fn has_peer(&self, addr: Addr) -> bool {
        self.peer.is(addr)
    }

    #[inline(always)]
    fn port(&self) -> u16 {
        self.tag.port
    }

    #[inline(always)]
    fn peer_only(&self) -> bool {
        self.tag.peer_only != 0
    }

    #[inline(always)]
    fn is_of(&self, epoch: u32) -> bool {
        self.tag.seal != Tag::NONE.seal && self.tag.is_of(epoch)
    }
}

/// Whether the tag of a TCP socket under `seal` may name the epoch in which
/// `policy` was read: from then on, and until a policy changes, the short way
/// is open to what the socket sends and gets on the tag's port.
#[inline(always)]
pub fn opens(tag: &Tag, seal: SealNumber, policy: &Policy) -> bool {
    tag.seal == seal
        && seal != Tag::NONE.seal
        && policy.flags & Policy::CLIENTS_ANY != 0
        && policy.serves_tcp(tag.port)
}

/// Whether the tag of this socket may name the epoch in which `policy` was read, for its
/// peer alone: a segment to or from it was judged in full, not on loopback, and passes. Nobody
/// can change the peer of a connection, and a listener that it becomes is judged.
#[inline(always)]
pub fn is_judged(socket: &Socket, seal: SealNumber, policy: &Policy) -> bool {
    is_connection(socket.state)
        && socket.is_tcp()
        && socket.tag.seal == seal
        && seal != Tag::NONE.seal
        && socket.tag.port != 0
        && socket.tag.port == socket.sport
        && policy.flags & Policy::CLIENTS_ANY == 0
        && policy.serves_tcp(socket.tag.port)
}

/// Whether a socket in this state has a peer that nobody can change. One comparison and one
/// test of bits, where `matches!` becomes as many as there are states.
#[inline(always)]
pub const fn is_connection(state: u32) -> bool {
    const CONNECTED: u32 = 1 << state::ESTABLISHED
        | 1 << state::FIN_WAIT1
        | 1 << state::FIN_WAIT2
        | 1 << state::CLOSE_WAIT
        | 1 << state::LAST_ACK
        | 1 << state::CLOSING;
    state < 32 && CONNECTED & 1 << state != 0
}

/// Whether this packet, which is not on loopback, is one of a connection that
/// some client made to a service port, or the answer to its SYN. `epoch` is the
/// present one.
#[inline(always)]
pub fn reply<S: Tagged>(ip: &Ip, transport: &Transport, socket: &S, epoch: u32) -> bool {
    if !socket.is_of(epoch) || !is_segment(ip, transport) {
        return false;
    }
    let state = socket.state();
    let rightful = if is_connection(state) {
        transport.flags & SYN == 0 && socket.dport() == transport.dport && socket.has_peer(ip.dst)
    } else {
        state == state::LISTEN && transport.flags & (SYN | ACK) == SYN | ACK && !socket.peer_only()
    };
    rightful
        && socket.port() == transport.sport
        && socket.sport() == transport.sport
        && !socket.is_bound()
        && !touches_loopback(ip)
}

/// The same for a packet that comes in, again not on loopback. A SYN may take it
/// to a listener that has the tag which the full verdict would write for any client.
#[inline(always)]
pub fn request<S: Tagged>(ip: &Ip, transport: &Transport, socket: &S, epoch: u32) -> bool {
    if !socket.is_of(epoch) || !is_segment(ip, transport) {
        return false;
    }
    if socket.port() != transport.dport {
        return false;
    }
    if transport.flags & SYN != 0 && (transport.flags & ACK != 0 || socket.state() != state::LISTEN)
    {
        return false;
    }
    !socket.peer_only()
        || is_connection(socket.state())
            && socket.dport() == transport.sport
            && socket.has_peer(ip.src)
}

#[inline(always)]
fn is_segment(ip: &Ip, transport: &Transport) -> bool {
    ip.plain && transport.kind == Kind::Tcp
}
