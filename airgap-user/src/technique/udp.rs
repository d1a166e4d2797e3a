//! UDP and UDP-Lite.

use super::datagram;
use super::sys::{Socket, Step, unspecified};
use super::target::Target;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub fn v4(t: &Target) -> Step<()> {
    send(t.at4(), t)
}

pub fn v6(t: &Target) -> Step<()> {
    send(t.at6(), t)
}

pub fn mapped(t: &Target) -> Step<()> {
    send(t.mapped(), t)
}

pub fn gateway(t: &Target) -> Step<()> {
    send(SocketAddr::new(t.gateway.into(), t.port), t)
}

fn send(at: SocketAddr, t: &Target) -> Step<()> {
    Socket::udp(at)?.send_to(t.payload(), 0, at)
}

pub fn connected4(t: &Target) -> Step<()> {
    connected(t.at4(), t)
}

pub fn connected6(t: &Target) -> Step<()> {
    connected(t.at6(), t)
}

pub fn connected_mapped(t: &Target) -> Step<()> {
    connected(t.mapped(), t)
}

fn connected(at: SocketAddr, t: &Target) -> Step<()> {
    let socket = Socket::udp(at)?;
    socket.connect(at)?;
    socket.send(t.payload(), 0)
}

/// Data held back by MSG_MORE goes out with the last send.
pub fn corked(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.send_to(b"corked ", libc::MSG_MORE, t.at4())?;
    socket.send_to(t.payload(), 0, t.at4())
}

pub fn sendmmsg(t: &Target) -> Step<()> {
    datagram::many(&Socket::udp(t.at4())?, t.at4(), t.payload())
}

pub fn sport4(t: &Target) -> Step<()> {
    from_service_port(t.at4(), t)?.send_to(t.payload(), 0, t.at4())
}

pub fn sport6(t: &Target) -> Step<()> {
    from_service_port(t.at6(), t)?.send_to(t.payload(), 0, t.at6())
}

pub fn sport_mapped(t: &Target) -> Step<()> {
    from_service_port(t.mapped(), t)?.send_to(t.payload(), 0, t.mapped())
}

/// As a server makes a socket for one client.
pub fn sport4_connected(t: &Target) -> Step<()> {
    let socket = from_service_port(t.at4(), t)?;
    socket.connect(t.at4())?;
    socket.send(t.payload(), 0)
}

fn from_service_port(at: SocketAddr, t: &Target) -> Step<Socket> {
    let socket = Socket::udp(at)?;
    socket.share_port()?;
    socket.bind(unspecified(at, t.datagrams))?;
    Ok(socket)
}

pub fn broadcast(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.set("SO_BROADCAST", libc::SOL_SOCKET, libc::SO_BROADCAST, &1_i32)?;
    socket.set_bytes(
        "SO_BINDTODEVICE",
        libc::SOL_SOCKET,
        libc::SO_BINDTODEVICE,
        t.device.as_bytes_with_nul(),
    )?;
    socket.send_to(
        t.payload(),
        0,
        SocketAddr::new(Ipv4Addr::BROADCAST.into(), t.port),
    )
}

pub fn multicast4(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.set_bytes(
        "IP_MULTICAST_IF",
        libc::IPPROTO_IP,
        libc::IP_MULTICAST_IF,
        &t.own4()?.octets(),
    )?;
    let group = Ipv4Addr::new(239, 1, 2, 3);
    socket.send_to(t.payload(), 0, SocketAddr::new(group.into(), t.port))
}

pub fn multicast6(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    socket.set(
        "IPV6_MULTICAST_IF",
        libc::IPPROTO_IPV6,
        libc::IPV6_MULTICAST_IF,
        &t.index()?,
    )?;
    let group = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x5060);
    socket.send_to(t.payload(), 0, SocketAddr::new(group.into(), t.port))
}

pub fn lite4(t: &Target) -> Step<()> {
    Socket::new(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE)?.send_to(
        t.payload(),
        0,
        t.at4(),
    )
}

pub fn lite6(t: &Target) -> Step<()> {
    Socket::new(libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE)?.send_to(
        t.payload(),
        0,
        t.at6(),
    )
}
