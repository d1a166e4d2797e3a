//! Listeners in the container's network namespace that are not the container's,
//! Docker's embedded resolver being one: what they are told may go anywhere.

use super::sys::{Socket, Step};
use super::target::Target;
use super::tcp::talk;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const MAPPED: Ipv6Addr = Ipv4Addr::LOCALHOST.to_ipv6_mapped();

fn at(t: &Target, ip: impl Into<std::net::IpAddr>) -> SocketAddr {
    SocketAddr::new(ip.into(), t.listener)
}

pub fn udp4(t: &Target) -> Step<()> {
    udp(at(t, Ipv4Addr::LOCALHOST), t)
}

pub fn udp6(t: &Target) -> Step<()> {
    udp(at(t, Ipv6Addr::LOCALHOST), t)
}

pub fn udp_mapped(t: &Target) -> Step<()> {
    udp(at(t, MAPPED), t)
}

pub fn udp_own4(t: &Target) -> Step<()> {
    udp(at(t, t.own4()?), t)
}

fn udp(at: SocketAddr, t: &Target) -> Step<()> {
    Socket::udp(at)?.send_to(t.payload(), 0, at)
}

pub fn udp4_connected(t: &Target) -> Step<()> {
    let at = at(t, Ipv4Addr::LOCALHOST);
    let socket = Socket::udp(at)?;
    socket.connect(at)?;
    socket.send(t.payload(), 0)
}

pub fn tcp4(t: &Target) -> Step<()> {
    tcp(at(t, Ipv4Addr::LOCALHOST), t)
}

pub fn tcp6(t: &Target) -> Step<()> {
    tcp(at(t, Ipv6Addr::LOCALHOST), t)
}

pub fn tcp_own4(t: &Target) -> Step<()> {
    tcp(at(t, t.own4()?), t)
}

/// From a port that tells attempts apart, as a bare connection carries no marker.
fn tcp(at: SocketAddr, t: &Target) -> Step<()> {
    let socket = Socket::tcp(at)?;
    socket.bind_own_port(t.port, at)?;
    talk(&socket, at, t)
}
