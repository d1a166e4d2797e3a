//! Loopback that is none: a loopback destination through eth0, and a far address that is the
//! packet's source as well as its destination, as it is on lo between own addresses.

use super::message::{self, Control};
use super::reflect::{freebind, transparent};
use super::sys::{Socket, Step};
use super::target::Target;
use super::tcp::talk;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const IP_UNICAST_IF: i32 = 50;

fn here4(t: &Target) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), t.port)
}

fn here6(t: &Target) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::LOCALHOST.into(), t.port)
}

pub fn unicast_if(t: &Target) -> Step<()> {
    let socket = Socket::udp(here4(t))?;
    socket.bind(SocketAddr::new(t.own4()?.into(), 0))?;
    let index = t.index()?.to_be();
    socket.set("IP_UNICAST_IF", libc::IPPROTO_IP, IP_UNICAST_IF, &index)?;
    socket.send_to(t.payload(), 0, here4(t))
}

pub fn pktinfo(t: &Target) -> Step<()> {
    let socket = Socket::udp(here4(t))?;
    let through = Control::pktinfo4(t.index()?, t.own4()?);
    message::send(&socket, here4(t), t.payload(), &through)
}

pub fn device_udp4(t: &Target) -> Step<()> {
    let socket = Socket::udp(here4(t))?;
    socket.bind_device(&t.device)?;
    socket.send_to(t.payload(), 0, here4(t))
}

pub fn device_udp6(t: &Target) -> Step<()> {
    let socket = Socket::udp(here6(t))?;
    socket.bind(SocketAddr::new(t.own6()?.into(), 0))?;
    socket.bind_device(&t.device)?;
    socket.send_to(t.payload(), 0, here6(t))
}

pub fn device_tcp4(t: &Target) -> Step<()> {
    let socket = Socket::tcp(here4(t))?;
    socket.bind_device(&t.device)?;
    talk(&socket, here4(t), t)
}

/// The hooks find that the destination is the address the socket has itself.
pub fn self_udp4(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    transparent(&socket)?;
    socket.bind(SocketAddr::new(t.v4.into(), 0))?;
    socket.connect(t.at4())?;
    socket.send(t.payload(), 0)
}

/// Somebody inside stands ready to receive what is sent to the far address.
pub fn self_udp4_received(t: &Target) -> Step<()> {
    let receiver = Socket::udp(t.at4())?;
    transparent(&receiver)?;
    receiver.bind(t.at4())?;
    let socket = Socket::udp(t.at4())?;
    transparent(&socket)?;
    socket.bind(SocketAddr::new(t.v4.into(), 0))?;
    socket.send_to(t.payload(), 0, t.at4())
}

pub fn self_tcp4(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    transparent(&socket)?;
    socket.bind(SocketAddr::new(t.v4.into(), 0))?;
    talk(&socket, t.at4(), t)
}

/// Needs no capability.
pub fn self_udp6(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    freebind(&socket)?;
    socket.bind(SocketAddr::new(t.v6.into(), 0))?;
    socket.connect(t.at6())?;
    socket.send(t.payload(), 0)
}

/// Needs no capability.
pub fn self_tcp6(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at6())?;
    freebind(&socket)?;
    socket.bind(SocketAddr::new(t.v6.into(), 0))?;
    talk(&socket, t.at6(), t)
}
