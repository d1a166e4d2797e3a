//! Source routes: the address says loopback, the packet goes elsewhere. And other headers
//! between IP and transport.

use super::int80;
use super::message::{self, Control};
use super::sys::{Socket, Step};
use super::target::Target;
use super::tcp::{pair_at, talk};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const IPV6_RTHDR: i32 = 57;
const IPV6_HOPOPTS: i32 = 54;
const IPV6_DSTOPTS: i32 = 59;

fn here4(t: &Target) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), t.port)
}

fn here6(t: &Target) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::LOCALHOST.into(), t.port)
}

/// Loose source route: the gateway becomes the first hop, the outside the destination.
pub fn route(t: &Target) -> Vec<u8> {
    // NOP, LSRR, length 11, pointer 4, two addresses.
    let mut option = vec![1, 131, 11, 4];
    option.extend(t.gateway.octets());
    option.extend(t.v4.octets());
    option
}

fn lsrr(socket: &Socket, t: &Target) -> Step<()> {
    let (level, name) = (libc::IPPROTO_IP, libc::IP_OPTIONS);
    socket.set_bytes("IP_OPTIONS", level, name, &route(t))
}

fn lsrr_int80(socket: &Socket, t: &Target) -> Step<()> {
    int80::setsockopt(socket, libc::IPPROTO_IP, libc::IP_OPTIONS, &route(t))
}

pub fn lsrr_tcp(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    lsrr(&socket, t)?;
    talk(&socket, here4(t), t)
}

pub fn lsrr_tcp_int80(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    lsrr_int80(&socket, t)?;
    talk(&socket, here4(t), t)
}

pub fn lsrr_udp_int80(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    lsrr_int80(&socket, t)?;
    socket.send_to(t.payload(), 0, here4(t))
}

pub fn lsrr_udp(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    lsrr(&socket, t)?;
    socket.send_to(t.payload(), 0, here4(t))
}

/// For one datagram only, without `setsockopt`.
pub fn lsrr_udp_message(t: &Target) -> Step<()> {
    let options = Control {
        level: libc::IPPROTO_IP,
        kind: libc::IP_RETOPTS,
        data: route(t),
    };
    message::send(&Socket::udp(t.at4())?, here4(t), t.payload(), &options)
}

/// SRv6 header with one segment: the outside.
fn segments(t: &Target) -> Vec<u8> {
    let mut header = vec![0, 4, 4, 1, 1, 0, 0, 0];
    header.extend([0; 16]);
    header.extend(t.v6.octets());
    header
}

fn srh(socket: &Socket, t: &Target) -> Step<()> {
    let level = libc::IPPROTO_IPV6;
    socket.set_bytes("IPV6_RTHDR", level, IPV6_RTHDR, &segments(t))
}

pub fn srh_udp(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    srh(&socket, t)?;
    socket.send_to(t.payload(), 0, here6(t))
}

pub fn srh_udp_int80(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    int80::setsockopt(&socket, libc::IPPROTO_IPV6, IPV6_RTHDR, &segments(t))?;
    socket.send_to(t.payload(), 0, here6(t))
}

pub fn srh_tcp_int80(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at6())?;
    int80::setsockopt(&socket, libc::IPPROTO_IPV6, IPV6_RTHDR, &segments(t))?;
    talk(&socket, here6(t), t)
}

pub fn srh_tcp(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at6())?;
    srh(&socket, t)?;
    talk(&socket, here6(t), t)
}

/// The accepted end of a connection with itself gets a route.
pub fn srh_accepted(t: &Target) -> Step<()> {
    // Its port is this attempt's: what the closing says is told from others.
    let (_client, accepted) = pair_at(SocketAddr::new(t.own6()?.into(), t.port))?;
    srh(&accepted, t)?;
    accepted.send(t.payload(), 0)
}

/// Next header, length 0 for eight bytes, PadN with four of them.
const PADDING: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

fn with_header(option: i32, t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    let level = libc::IPPROTO_IPV6;
    socket.set_bytes("IPv6 options", level, option, &PADDING)?;
    socket.send_to(t.payload(), 0, t.at6())
}

fn with_header_int80(option: i32, t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    int80::setsockopt(&socket, libc::IPPROTO_IPV6, option, &PADDING)?;
    socket.send_to(t.payload(), 0, t.at6())
}

pub fn hop_by_hop_int80(t: &Target) -> Step<()> {
    with_header_int80(IPV6_HOPOPTS, t)
}

pub fn destination_int80(t: &Target) -> Step<()> {
    with_header_int80(IPV6_DSTOPTS, t)
}

pub fn hop_by_hop(t: &Target) -> Step<()> {
    with_header(IPV6_HOPOPTS, t)
}

pub fn destination(t: &Target) -> Step<()> {
    with_header(IPV6_DSTOPTS, t)
}
