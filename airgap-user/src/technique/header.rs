//! Raw packets with headers that a simple filter does not look behind.

use super::icmp::checksum;
use super::options::route;
use super::raw::{header_included, ipv4, ipv6, send6, tcp, udp};
use super::sys::{Socket, Step};
use super::target::Target;
use std::net::SocketAddr;

const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const UDP: u8 = libc::IPPROTO_UDP as u8;
const GRE: i32 = 47;
const ESP: i32 = 50;
const IPV6_IN_IPV4: i32 = 41;
const SCTP: i32 = 132;

/// A protocol of which the kernel knows nothing; the payload begins at once.
fn other(protocol: i32, t: &Target) -> Step<()> {
    let packet = ipv4(t.own4()?, t.v4, protocol, t.payload());
    header_included(&packet, t.v4.into())
}

pub fn gre(t: &Target) -> Step<()> {
    other(GRE, t)
}

pub fn esp(t: &Target) -> Step<()> {
    other(ESP, t)
}

pub fn sctp(t: &Target) -> Step<()> {
    other(SCTP, t)
}

pub fn ipv6_in_ipv4(t: &Target) -> Step<()> {
    let inner = ipv6(t.own6()?, t.v6, UDP, &udp(t.service, t.port, t.payload()));
    let packet = ipv4(t.own4()?, t.v4, IPV6_IN_IPV4, &inner);
    header_included(&packet, t.v4.into())
}

/// A source route towards the outside by way of the gateway.
pub fn source_route(t: &Target) -> Step<()> {
    let mut packet = ipv4(t.own4()?, t.gateway, libc::IPPROTO_UDP, &[]);
    // Twelve bytes of options: 32 bytes of header.
    packet.extend(route(t));
    packet.resize(32, 0);
    packet.extend(udp(t.service, t.port, t.payload()));
    packet[0] = 0x48;
    let len = (packet.len() as u16).to_be_bytes();
    packet[2..4].copy_from_slice(&len);
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..32]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    header_included(&packet, t.gateway.into())
}

/// A UDP datagram behind one extension header.
fn behind(header: u8, content: [u8; 7], t: &Target) -> Step<()> {
    let mut body = vec![UDP];
    body.extend(content);
    let mut datagram = udp(t.service, t.port, t.payload());
    let sum = super::raw::pseudo_sum(t.own6()?.into(), t.v6.into(), UDP, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    body.extend(datagram);
    send6(&ipv6(t.own6()?, t.v6, header, &body), t.v6)
}

pub fn hop_by_hop(t: &Target) -> Step<()> {
    behind(HOP_BY_HOP, [0, 1, 4, 0, 0, 0, 0], t)
}

pub fn destination(t: &Target) -> Step<()> {
    behind(DESTINATION, [0, 1, 4, 0, 0, 0, 0], t)
}

/// A fragment that is the whole packet (RFC 6946).
pub fn fragment(t: &Target) -> Step<()> {
    behind(FRAGMENT, [0, 0, 0, 0, 0, 0x13, 0x37], t)
}

/// A connected raw socket names no destination when it sends.
pub fn connected(t: &Target) -> Step<()> {
    let socket = Socket::new(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP)?;
    socket.connect(SocketAddr::new(t.v4.into(), 0))?;
    socket.send(&udp(t.service, t.port, t.payload()), 0)
}

/// The service's own kernel answers a forged SYN.
pub fn lo_syn4(t: &Target) -> Step<()> {
    let own = t.own4()?;
    let to = SocketAddr::new(own.into(), t.listener);
    let segment = tcp((t.v4.into(), t.port), to, 0x02, b"");
    header_included(&ipv4(t.v4, own, libc::IPPROTO_TCP, &segment), own.into())
}

/// A DNS question to Docker's resolver, past every hook on `sendmsg`.
pub fn embedded_dns(t: &Target) -> Step<()> {
    let resolver = std::net::Ipv4Addr::new(127, 0, 0, 11);
    let question = udp(t.service, 53, &super::dns::question(t));
    let from = std::net::Ipv4Addr::LOCALHOST;
    let packet = ipv4(from, resolver, libc::IPPROTO_UDP, &question);
    header_included(&packet, resolver.into())
}
