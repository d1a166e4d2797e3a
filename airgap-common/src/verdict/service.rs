//! UDP service ports: who may be answered, and who may ask.
//!
//! A datagram has no connection whose opening could be judged, and its source may be
//! forged. So a service port sends to those alone that `--from` allows and that have sent
//! to that very port a moment ago; the datagram is remembered where it is handed to a
//! socket of the seal.

use super::{Inbound, Kernel, Socket, exit, has_port, state, touches_loopback};
use crate::{
    addr::Addr,
    denial::Reason,
    map::{Policy, SealNumber, UdpPeer},
    packet::{Ip, Kind, Transport},
};

/// Judges once more a datagram that [`super::egress`] or [`super::frame`] has refused for
/// [`Reason::Unasked`], which they say of all that leave a seal with UDP service ports, but
/// on loopback.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn answer<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    socket: &Socket,
    seal: SealNumber,
    policy: &Policy,
    kernel: &K,
) -> Result<(), Reason> {
    let served = policy.flags & Policy::SERVES_UDP != 0
        && ip.plain
        && transport.kind == Kind::Udp
        && socket.exists
        && socket.is_udp()
        && has_port(socket, transport.sport)
        && policy.serves_udp(transport.sport);
    let sound = !ip.dst.is_group() && !touches_loopback(ip);
    let refused = if !served || !sound {
        Reason::Egress
    } else if !kernel.client_allowed(ip.dst) {
        Reason::Client
    } else if kernel.udp_peer(&UdpPeer::answered(seal, ip, transport)) {
        return Ok(());
    } else {
        Reason::Unasked
    };
    let reason = if policy.flags & Policy::HAS_EXITS != 0 {
        match exit::datagram(ip, transport, socket, seal, kernel) {
            Err(Reason::Egress) => refused,
            verdict => return verdict,
        }
    } else {
        refused
    };
    Err(if transport.dport == 53 {
        Reason::Dns
    } else {
        reason
    })
}

/// Judges once more what [`super::ingress`] has refused for [`Reason::Unasked`], which it
/// says of all datagrams that come in to a seal with UDP service ports, but on loopback.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn ask<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    socket: &Socket,
    seal: SealNumber,
    policy: &Policy,
    kernel: &K,
) -> Result<Inbound, Reason> {
    if !ip.plain || transport.kind != Kind::Udp || !socket.exists || !socket.is_udp() {
        return Err(Reason::Inbound);
    }
    let served = policy.flags & Policy::SERVES_UDP != 0
        && socket.sport == transport.dport
        && policy.serves_udp(transport.dport);
    let sound = transport.sport != 0
        && !ip.src.is_group()
        && !ip.dst.is_group()
        && !ip.src.is_unspecified()
        && !touches_loopback(ip);
    if served
        && sound
        && kernel.client_allowed(ip.src)
        && kernel.udp_ask(&UdpPeer::asking(seal, ip, transport))
    {
        return Ok(Inbound::Deliver);
    }
    if policy.flags & Policy::HAS_EXITS != 0 && exit::reply(ip, transport, socket, seal, kernel) {
        return Ok(Inbound::Deliver);
    }
    Err(Reason::Inbound)
}

/// Judges a fragment of a datagram to `dst` on the host's side: the whole was judged on its
/// way out, before the kernel cut it up, and only such a socket's fragments come this far.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn fragment<K: Kernel>(
    dst: Addr,
    socket: &Socket,
    seal: SealNumber,
    policy: &Policy,
    kernel: &K,
) -> Result<(), Reason> {
    let closed = socket.state == state::CLOSE && socket.sport == 0;
    let served = policy.flags & Policy::SERVES_UDP != 0
        && socket.exists
        && socket.is_udp()
        && (closed || policy.serves_udp(socket.sport));
    let to = UdpPeer {
        seal,
        addr: dst,
        port: 0,
        service: socket.sport,
        _pad: 0,
    };
    if served
        && !dst.is_group()
        && !dst.is_loopback()
        && kernel.client_allowed(dst)
        && kernel.udp_peer(&to)
    {
        return Ok(());
    }
    Err(Reason::Header)
}
