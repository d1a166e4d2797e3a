//! Reflection: forge an outside source over loopback and let the own kernel answer outward.

use super::int80;
use super::message::{self, Control};
use super::sys::{Socket, Step};
use super::target::Target;
use std::net::{IpAddr, SocketAddr};

const IPV6_FREEBIND: i32 = 78;
/// Nobody listens here: the kernel answers with an ICMP error that quotes the datagram.
pub const CLOSED: u16 = 9;

pub fn transparent(socket: &Socket) -> Step<()> {
    socket.set(
        "IP_TRANSPARENT",
        libc::IPPROTO_IP,
        libc::IP_TRANSPARENT,
        &1_i32,
    )
}

pub fn freebind(socket: &Socket) -> Step<()> {
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

/// The kernel answers for a closed port with a RST.
pub fn transparent_rst(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    transparent(&socket)?;
    socket.bind(t.at4())?;
    socket.connect(SocketAddr::new(t.own4()?.into(), CLOSED))
}

pub fn transparent_unreach(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    transparent(&socket)?;
    unreach(&socket, t.at4(), t.own4()?.into(), t)
}

pub fn transparent_unreach_int80(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    let (level, on) = (libc::IPPROTO_IP, 1_i32.to_ne_bytes());
    int80::setsockopt(&socket, level, libc::IP_TRANSPARENT, &on)?;
    unreach(&socket, t.at4(), t.own4()?.into(), t)
}

/// The ICMP error quotes the datagram.
fn unreach(socket: &Socket, from: SocketAddr, own: IpAddr, t: &Target) -> Step<()> {
    socket.bind(from)?;
    socket.send_to(t.payload(), 0, SocketAddr::new(own, CLOSED))
}

/// Needs no capability at all.
pub fn freebind_synack(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at6())?;
    freebind(&socket)?;
    socket.bind(t.at6())?;
    socket.connect(SocketAddr::new(t.own6()?.into(), t.listener))
}

/// Needs no capability at all.
pub fn freebind_rst(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at6())?;
    freebind(&socket)?;
    socket.bind(t.at6())?;
    socket.connect(SocketAddr::new(t.own6()?.into(), CLOSED))
}

/// Needs no capability at all; the ICMPv6 error carries the payload.
pub fn freebind_unreach(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    freebind(&socket)?;
    unreach(&socket, t.at6(), t.own6()?.into(), t)
}

pub fn freebind_unreach_int80(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    let (level, on) = (libc::IPPROTO_IPV6, 1_i32.to_ne_bytes());
    int80::setsockopt(&socket, level, IPV6_FREEBIND, &on)?;
    unreach(&socket, t.at6(), t.own6()?.into(), t)
}

/// No bind: the source is that of one datagram.
pub fn pktinfo_unreach(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    freebind(&socket)?;
    let from = Control::pktinfo6(0, t.v6);
    let closed = SocketAddr::new(t.own6()?.into(), CLOSED);
    message::send(&socket, closed, t.payload(), &from)
}
