//! The short way: what nearly every packet of a service is, told by its own
//! headers and its socket's tag alone. It never allows what the full verdict
//! would refuse; what it does not allow is judged in full.

use super::{Socket, state, touches_loopback};
use crate::{
    map::{Policy, SealNumber, Tag},
    packet::{ACK, Ip, Kind, SYN, Transport},
};

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
/// peer alone: a segment of it was judged in full, not on loopback, and passes. Nobody
/// can change the peer of a connection, and a listener that it becomes is judged.
#[inline(always)]
pub fn is_judged(socket: &Socket, seal: SealNumber, policy: &Policy) -> bool {
    is_connection(socket)
        && socket.is_tcp()
        && socket.tag.seal == seal
        && seal != Tag::NONE.seal
        && socket.tag.port != 0
        && socket.tag.port == socket.sport
        && policy.flags & Policy::CLIENTS_ANY == 0
        && policy.serves_tcp(socket.tag.port)
}

#[inline(always)]
const fn is_connection(socket: &Socket) -> bool {
    matches!(
        socket.state,
        state::ESTABLISHED
            | state::FIN_WAIT1
            | state::FIN_WAIT2
            | state::CLOSE_WAIT
            | state::LAST_ACK
            | state::CLOSING
    )
}

/// Whether this packet, which is not on loopback, is one of a connection that
/// some client made to a service port, or the answer to its SYN. `epoch` is the
/// present one.
#[inline(always)]
pub fn reply(ip: &Ip, transport: &Transport, socket: &Socket, epoch: u32) -> bool {
    let rightful = match socket.state {
        state::LISTEN => transport.flags & (SYN | ACK) == SYN | ACK && socket.tag.peer_only == 0,
        _ if is_connection(socket) => {
            transport.flags & SYN == 0 && socket.dport == transport.dport && socket.peer.is(ip.dst)
        }
        _ => false,
    };
    rightful
        && !socket.bound
        && is_served(ip, transport, socket, epoch, transport.sport)
        && socket.sport == transport.sport
        && !touches_loopback(ip)
}

/// The same for a packet that comes in, again not on loopback. A SYN may take it
/// to a listener that has the tag which the full verdict would write for any client.
#[inline(always)]
pub fn request(ip: &Ip, transport: &Transport, socket: &Socket, epoch: u32) -> bool {
    let syn = transport.flags & (SYN | ACK) == SYN && socket.state == state::LISTEN;
    let peer = socket.tag.peer_only == 0
        || is_connection(socket) && socket.dport == transport.sport && socket.peer.is(ip.src);
    (syn || transport.flags & SYN == 0)
        && peer
        && is_served(ip, transport, socket, epoch, transport.dport)
}

#[inline(always)]
fn is_served(ip: &Ip, transport: &Transport, socket: &Socket, epoch: u32, port: u16) -> bool {
    ip.plain
        && transport.kind == Kind::Tcp
        && socket.exists
        && socket.is_tcp()
        && socket.tag.seal != Tag::NONE.seal
        && socket.tag.port == port
        && socket.tag.is_of(epoch)
}
