//! Hand-made packets from raw sockets.

use super::icmp::{checksum, echo};
use super::sys::{Socket, Step};
use super::target::Target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH_ACK: u8 = 0x18;
/// Reserved for experiments (RFC 3692).
const EXPERIMENT: u8 = 253;

pub fn udp4(t: &Target) -> Step<()> {
    send4(t, libc::IPPROTO_UDP, &udp(t.service, t.port, t.payload()))
}

pub fn syn4(t: &Target) -> Step<()> {
    let own = t.own4()?;
    send4(
        t,
        libc::IPPROTO_TCP,
        &tcp((own.into(), t.service), t.at4(), SYN, b""),
    )
}

pub fn data4(t: &Target) -> Step<()> {
    let own = t.own4()?;
    send4(
        t,
        libc::IPPROTO_TCP,
        &tcp((own.into(), t.service), t.at4(), PSH_ACK, t.payload()),
    )
}

pub fn rst4(t: &Target) -> Step<()> {
    let own = t.own4()?;
    send4(
        t,
        libc::IPPROTO_TCP,
        &tcp((own.into(), t.service), t.at4(), RST, t.payload()),
    )
}

pub fn ipip(t: &Target) -> Step<()> {
    let inner = ipv4(
        t.own4()?,
        t.v4,
        libc::IPPROTO_UDP,
        &udp(t.service, t.port, t.payload()),
    );
    send4(t, libc::IPPROTO_IPIP, &inner)
}

fn send4(t: &Target, protocol: i32, body: &[u8]) -> Step<()> {
    let packet = ipv4(t.own4()?, t.v4, protocol, body);
    header_included(&packet, t.v4.into())
}

/// A forged echo request on lo, so that the kernel answers outward.
pub fn lo_echo4(t: &Target) -> Step<()> {
    let own = t.own4()?;
    header_included(
        &ipv4(t.v4, own, libc::IPPROTO_ICMP, &echo(8, t.payload())),
        own.into(),
    )
}

pub fn header_included(packet: &[u8], at: IpAddr) -> Step<()> {
    let socket = Socket::new(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW)?;
    socket.send_to(packet, 0, SocketAddr::new(at, 0))
}

pub fn tcp6(t: &Target) -> Step<()> {
    let segment = tcp((t.own6()?.into(), t.service), t.at6(), PSH_ACK, t.payload());
    let socket = Socket::new(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_TCP)?;
    socket.send_to(&segment, 0, SocketAddr::new(t.v6.into(), 0))
}

pub fn hdrincl6(t: &Target) -> Step<()> {
    let segment = tcp((t.own6()?.into(), t.service), t.at6(), PSH_ACK, t.payload());
    send6(
        &ipv6(t.own6()?, t.v6, libc::IPPROTO_TCP as u8, &segment),
        t.v6,
    )
}

pub fn proto253(t: &Target) -> Step<()> {
    let socket = Socket::new(libc::AF_INET6, libc::SOCK_RAW, EXPERIMENT.into())?;
    socket.send_to(t.payload(), 0, SocketAddr::new(t.v6.into(), 0))
}

/// The IPv6 sister of [`lo_echo4`].
pub fn lo_echo6(t: &Target) -> Step<()> {
    let own = t.own6()?;
    let mut request = echo(128, t.payload());
    let sum = pseudo_sum(
        t.v6.into(),
        own.into(),
        libc::IPPROTO_ICMPV6 as u8,
        &request,
    );
    request[2..4].copy_from_slice(&sum.to_be_bytes());
    send6(&ipv6(t.v6, own, libc::IPPROTO_ICMPV6 as u8, &request), own)
}

pub fn send6(packet: &[u8], at: Ipv6Addr) -> Step<()> {
    let socket = Socket::new(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_RAW)?;
    socket.send_to(packet, 0, SocketAddr::new(at.into(), 0))
}

/// A UDP datagram without a checksum (legal over IPv4).
pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let mut datagram = Vec::new();
    for field in [from, to, len, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(payload);
    datagram
}

/// A TCP segment with a valid checksum.
pub fn tcp(from: (IpAddr, u16), to: SocketAddr, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(from.1.to_be_bytes());
    segment.extend(to.port().to_be_bytes());
    segment.extend([
        0, 0, 0x50, 0x60, 0, 0, 0x13, 0x37, 0x50, flags, 0x20, 0, 0, 0, 0, 0,
    ]);
    segment.extend(payload);
    let sum = pseudo_sum(from.0, to.ip(), libc::IPPROTO_TCP as u8, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

pub fn pseudo_sum(from: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> u16 {
    let mut pseudo = Vec::new();
    for address in [from, to] {
        match address {
            IpAddr::V4(v4) => pseudo.extend(v4.octets()),
            IpAddr::V6(v6) => pseudo.extend(v6.octets()),
        }
    }
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    pseudo.extend([0, protocol, len[0], len[1]]);
    checksum(&[&pseudo, body])
}

/// An IPv4 packet with a valid header checksum.
pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: i32, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + body.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let mut packet = vec![
        0x45,
        0,
        len[0],
        len[1],
        0x13,
        0x37,
        0,
        0,
        64,
        protocol as u8,
        0,
        0,
    ];
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(body);
    packet
}

/// An IPv6 packet; `protocol` is the next header.
pub fn ipv6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, len[0], len[1], protocol, 64];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(body);
    packet
}
