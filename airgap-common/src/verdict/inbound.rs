//! The verdict on what comes in, and on new sockets.

use super::{Kernel, SOCK_DGRAM, SOCK_STREAM, Socket, client, exit, state, to_loopback};
use crate::{
    denial::Reason,
    map::{Policy, SealNumber, Tag},
    packet::{ACK, Ip, Kind, SYN, Transport},
};

/// What to do with a packet that may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Deliver it.
    Deliver,
    /// Deliver it and tag the listener: a client opens a connection.
    TagListener,
}

/// Judges a packet that reaches a socket of a sealed cgroup.
///
/// Load-bearing for the way out, too: a SYN cookie's SYN-ACK leaves without
/// passing egress, so a SYN to any other port must not reach its listener.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn ingress<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    loopback: bool,
    socket: &Socket,
    seal: SealNumber,
    policy: Option<&Policy>,
    kernel: &K,
) -> Result<Inbound, Reason> {
    let Some(policy) = policy else {
        return Err(Reason::Unrecorded);
    };
    if loopback {
        return to_loopback(ip).map(|()| Inbound::Deliver);
    }
    if transport.kind == Kind::Udp && policy.flags & Policy::SERVES_UDP != 0 {
        // `service::ask` has the say.
        return Err(Reason::Unasked);
    }
    let Transport { dport, flags, .. } = *transport;
    if policy.flags & Policy::HAS_EXITS != 0 && ip.plain && socket.exists {
        let taken = match transport.kind {
            Kind::Tcp if exit::is_of(socket, seal) => {
                exit::answer(ip, transport, socket, seal, kernel)
            }
            Kind::Udp => exit::reply(ip, transport, socket, seal, kernel),
            _ => false,
        };
        if taken {
            return Ok(Inbound::Deliver);
        }
    }
    if transport.kind != Kind::Tcp || !socket.exists {
        return Err(Reason::Inbound);
    }
    if !ip.plain || !socket.is_tcp() || !policy.serves_tcp(dport) {
        return Err(Reason::Inbound);
    }
    if !client(ip.src, policy, kernel) {
        return Err(Reason::Inbound);
    }
    if flags & (SYN | ACK) == SYN && socket.state == state::LISTEN {
        return Ok(Inbound::TagListener);
    }
    let tag = socket.tag;
    if tag.seal != Tag::NONE.seal && tag.seal == seal && tag.port == dport {
        return Ok(Inbound::Deliver);
    }
    // What a peer sends on a connection that the seal has cut finds the listener,
    // and the kernel answers it with a RST.
    if socket.state == state::LISTEN && kernel.was_cut(ip, transport) {
        return Ok(Inbound::Deliver);
    }
    Err(Reason::Inbound)
}

/// Errno for a refused `socket()`, or `None` to allow it.
///
/// AF_INET and AF_INET6 only; no other family reaches this hook.
#[inline(always)]
pub const fn socket_errno(kind: u32, protocol: u32) -> Option<i32> {
    const EPERM: i32 = 1;
    const EPROTONOSUPPORT: i32 = 93;
    const SOCK_RAW: u32 = 3;
    match (kind, protocol) {
        (SOCK_STREAM, 0 | 6) | (SOCK_DGRAM, 0 | 17) => None,
        (SOCK_RAW, _) => Some(EPERM),
        // Runtimes take this for "the kernel lacks it" and fall back to TCP.
        _ => Some(EPROTONOSUPPORT),
    }
}
