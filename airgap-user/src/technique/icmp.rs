//! ICMP from ping and raw sockets.

use super::sys::{Socket, Step};
use super::target::Target;
use std::net::SocketAddr;

const ECHO4: u8 = 8;
const ECHO6: u8 = 128;

/// Type, code 0, checksum, identifier, sequence, the payload. ICMPv6 checksums are the kernel's.
pub fn echo(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0x13, 0x37, 0, 1];
    message.extend(payload);
    if kind == ECHO4 {
        let sum = checksum(&[&message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The Internet checksum over the parts; every part but the last has an even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

pub fn ping4(t: &Target) -> Step<()> {
    send(libc::AF_INET, libc::SOCK_DGRAM, ECHO4, t)
}

pub fn ping6(t: &Target) -> Step<()> {
    send(libc::AF_INET6, libc::SOCK_DGRAM, ECHO6, t)
}

pub fn raw4(t: &Target) -> Step<()> {
    send(libc::AF_INET, libc::SOCK_RAW, ECHO4, t)
}

pub fn raw6(t: &Target) -> Step<()> {
    send(libc::AF_INET6, libc::SOCK_RAW, ECHO6, t)
}

fn send(family: i32, kind: i32, message: u8, t: &Target) -> Step<()> {
    let v4 = family == libc::AF_INET;
    let protocol = if v4 {
        libc::IPPROTO_ICMP
    } else {
        libc::IPPROTO_ICMPV6
    };
    let at = SocketAddr::new(if v4 { t.v4.into() } else { t.v6.into() }, 0);
    Socket::new(family, kind, protocol)?.send_to(&echo(message, t.payload()), 0, at)
}

/// A neighbour solicitation with a payload to a far address: looks like what must stay allowed.
pub fn neighbour_solicitation(t: &Target) -> Step<()> {
    let socket = Socket::new(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6)?;
    socket.set(
        "IPV6_UNICAST_HOPS",
        libc::IPPROTO_IPV6,
        libc::IPV6_UNICAST_HOPS,
        &255_i32,
    )?;
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    let mut asked = [0_u8; 16];
    let len = t.payload().len().min(16);
    asked[..len].copy_from_slice(&t.payload()[..len]);
    message.extend(asked);
    message.extend([1, 1, b'l', b'e', b'a', b'k', b'e', b'd']);
    socket.send_to(&message, 0, SocketAddr::new(t.v6.into(), 0))
}
