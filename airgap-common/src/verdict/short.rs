//! The short way: what nearly every packet of a service is, told by its own
//! headers and its socket's tag alone. It never allows what the full verdict
//! would refuse; what it does not allow is judged in full.

use super::{Socket, loopback_addresses, state};
use crate::{
    map::{Policy, Tag},
    packet::{Ip, Kind, SYN, Transport},
};

/// Whether this packet, which is not on loopback, is one of an open connection
/// that some client made to a service port. `policy` is that of the tag's seal.
#[inline(always)]
pub fn reply(ip: &Ip, transport: &Transport, socket: &Socket, policy: &Policy) -> bool {
    let open = matches!(
        socket.state,
        state::ESTABLISHED
            | state::FIN_WAIT1
            | state::FIN_WAIT2
            | state::CLOSE_WAIT
            | state::LAST_ACK
            | state::CLOSING
    );
    open && is_served(ip, transport, socket, policy, transport.sport)
        && socket.sport == transport.sport
        && socket.dport == transport.dport
        && socket.peer == ip.dst
        && !loopback_addresses(ip)
        && !ip.src.is_loopback()
        && !ip.dst.is_loopback()
}

/// The same for a packet that comes in, again not on loopback.
#[inline(always)]
pub fn request(ip: &Ip, transport: &Transport, socket: &Socket, policy: &Policy) -> bool {
    is_served(ip, transport, socket, policy, transport.dport)
}

#[inline(always)]
fn is_served(ip: &Ip, transport: &Transport, socket: &Socket, policy: &Policy, port: u16) -> bool {
    ip.plain
        && transport.kind == Kind::Tcp
        && transport.flags & SYN == 0
        && socket.exists
        && socket.is_tcp()
        && socket.tag.seal != Tag::NONE.seal
        && socket.tag.port == port
        && policy.flags & Policy::CLIENTS_ANY != 0
        && policy.serves_tcp(port)
}
