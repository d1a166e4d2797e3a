//! The verdict on packets on loopback, out and in.

use super::{Kernel, Peer, Socket, exit};
use crate::{
    denial::Reason,
    map::{Policy, SealNumber},
    packet::{ICMP, ICMPV6, Ip, Kind, SYN, Transport},
};

/// Judges a plain packet that a sealed cgroup sends on loopback, which stays usable among the
/// container's own sockets.
///
/// Both addresses must be loopback, or be the same (an own address): anything
/// else is forged to make the container's kernel answer outwards.
///
/// For an own address other than loopback the kernel itself looks by the interface that has
/// it, not by lo (ip_route_output_key_hash_rcu, ip6_rcv_core), and so finds listeners bound
/// to that one, which the look-up here does not. Where others may be such a listener, TCP is
/// let to a socket of the seal's own that is bound to no interface, as no other can share
/// its port then; and UDP, whose ports can be shared (SO_REUSEADDR), to nobody.
///
/// Whom it goes to, if it passes; nobody for what no socket gets.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn on_loopback<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    policy: &Policy,
    kernel: &K,
) -> Result<Peer, Reason> {
    if ip.dst.is_embedded_resolver() {
        return Err(Reason::Dns);
    }
    if !loopback_addresses(ip) || ip.dst.is_group() {
        return Err(Reason::Loopback);
    }
    let shared = policy.flags & Policy::SHARED_NETWORK != 0 && !ip.dst.is_loopback();
    match transport.kind {
        Kind::Udp if shared => Err(Reason::Loopback),
        Kind::Tcp | Kind::Udp => match kernel.peer(ip, transport) {
            Peer::Inside => Ok(Peer::Inside),
            peer @ (Peer::Bound | Peer::None) if !shared => Ok(peer),
            // A SYN revives the listener behind a TIME_WAIT, whoever's it is.
            Peer::TimeWait if transport.kind == Kind::Tcp && transport.flags & SYN == 0 => {
                Ok(Peer::TimeWait)
            }
            Peer::Bound | Peer::None | Peer::TimeWait | Peer::Outside => Err(Reason::Loopback),
        },
        // Errors the kernel makes for closed ports and the like.
        Kind::Icmp if ip.protocol == ICMP && matches!(transport.icmp_type, 3 | 11 | 12) => {
            Ok(Peer::None)
        }
        Kind::Icmp if ip.protocol == ICMPV6 && matches!(transport.icmp_type, 1..=4) => {
            Ok(Peer::None)
        }
        Kind::Icmp | Kind::Other => Err(Reason::Loopback),
    }
}

/// Judges once more what [`egress`](super::egress) has refused for [`Reason::Loopback`]: an exception may
/// let it to others of the same network namespace.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn near<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    socket: &Socket,
    seal: SealNumber,
    policy: &Policy,
    kernel: &K,
) -> Result<(), Reason> {
    let excepted = policy.flags & Policy::LOOPBACK_EXITS != 0 && ip.plain;
    if !excepted || !ip.src.is_loopback() || !ip.dst.is_loopback() {
        return Err(Reason::Loopback);
    }
    match transport.kind {
        Kind::Tcp if exit::is_of(socket, seal) => {
            exit::segment(ip, transport, socket, seal, kernel)
        }
        Kind::Udp => match exit::datagram(ip, transport, socket, seal, kernel) {
            Err(Reason::Egress | Reason::Dns) => Err(Reason::Loopback),
            verdict => verdict,
        },
        _ => Err(Reason::Loopback),
    }
}

/// Judges a packet that reaches a socket of a sealed cgroup on loopback.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn to_loopback(ip: &Ip) -> Result<(), Reason> {
    if ip.plain && loopback_addresses(ip) {
        Ok(())
    } else {
        Err(Reason::Loopback)
    }
}

/// Both are loopback, or the same.
#[inline(always)]
fn loopback_addresses(ip: &Ip) -> bool {
    ip.src.is(ip.dst) || (ip.src.is_loopback() && ip.dst.is_loopback())
}
