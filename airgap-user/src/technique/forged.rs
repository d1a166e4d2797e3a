//! Frames on lo from an AF_PACKET socket: the container's own kernel takes them for received and
//! answers, or forwards, outwards.

use super::icmp::echo;
use super::packet::{IPV4, LO, frame, send};
use super::raw::{ipv4, ipv6, pseudo_sum, tcp, udp};
use super::sys::{Fail, Socket, Step};
use super::target::Target;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const IPV6: u16 = 0x86dd;
const ICMP: i32 = libc::IPPROTO_ICMP;
const ICMPV6: u8 = libc::IPPROTO_ICMPV6 as u8;
const UDP: u8 = libc::IPPROTO_UDP as u8;
/// Nobody listens here.
const CLOSED: u16 = 9;
/// `ETH_P_ALL`.
const ALL: u16 = 3;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Neither TCP, UDP nor ICMP.
const UNKNOWN: i32 = 253;

fn inject(ethertype: u16, packet: &[u8]) -> Step<()> {
    let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    send(
        &socket,
        LO,
        [0; 6],
        &frame([0; 6], [0; 6], ethertype, packet),
    )
}

pub fn echo4(t: &Target) -> Step<()> {
    inject(IPV4, &ipv4(t.v4, t.own4()?, ICMP, &echo(8, t.payload())))
}

fn with_sum(t: &Target, protocol: u8, at: usize, mut body: Vec<u8>) -> Step<Vec<u8>> {
    let sum = pseudo_sum(t.v6.into(), t.own6()?.into(), protocol, &body);
    body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(body)
}

pub fn echo6(t: &Target) -> Step<()> {
    let request = with_sum(t, ICMPV6, 2, echo(128, t.payload()))?;
    inject(IPV6, &ipv6(t.v6, t.own6()?, ICMPV6, &request))
}

/// The ICMP error quotes the datagram.
pub fn unreach4(t: &Target) -> Step<()> {
    let datagram = udp(t.port, CLOSED, t.payload());
    inject(IPV4, &ipv4(t.v4, t.own4()?, libc::IPPROTO_UDP, &datagram))
}

pub fn unreach6(t: &Target) -> Step<()> {
    let datagram = with_sum(t, UDP, 6, udp(t.port, CLOSED, t.payload()))?;
    inject(IPV6, &ipv6(t.v6, t.own6()?, UDP, &datagram))
}

/// No such protocol: another ICMP error that quotes.
pub fn protocol4(t: &Target) -> Step<()> {
    inject(IPV4, &ipv4(t.v4, t.own4()?, UNKNOWN, t.payload()))
}

/// An option that must be reported if unknown (RFC 8200 §4.2).
pub fn option6(t: &Target) -> Step<()> {
    let mut body = vec![59, 0, 0xbe, 4, 0, 0, 0, 0];
    body.extend(t.payload());
    inject(IPV6, &ipv6(t.v6, t.own6()?, 60, &body))
}

/// To be forwarded, but too old for it.
pub fn expired(t: &Target) -> Step<()> {
    let datagram = udp(t.port, CLOSED, t.payload());
    let [a, b, c, d] = t.own4()?.octets();
    let elsewhere = [a, b, c, d ^ 1].into();
    let mut packet = ipv4(t.v4, elsewhere, libc::IPPROTO_UDP, &datagram);
    packet[8] = 1;
    packet[10..12].fill(0);
    let sum = super::icmp::checksum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    inject(IPV4, &packet)
}

fn segment(t: &Target, port: u16, flags: u8) -> Step<()> {
    let own = t.own4()?;
    let to = SocketAddr::new(own.into(), port);
    let segment = tcp((t.v4.into(), t.port), to, flags, b"");
    inject(IPV4, &ipv4(t.v4, own, libc::IPPROTO_TCP, &segment))
}

/// The service answers.
pub fn syn(t: &Target) -> Step<()> {
    segment(t, t.listener, SYN)
}

/// The kernel answers for the service's port, of a connection that nobody has.
pub fn stray_ack(t: &Target) -> Step<()> {
    segment(t, t.listener, ACK)
}

/// The kernel answers for a closed port.
pub fn closed_syn(t: &Target) -> Step<()> {
    segment(t, CLOSED, SYN)
}

/// A whole session with a peer that is only pretended: the kernel's SYN-ACK is read on the
/// device, the acknowledgement is forged from it, and the accepted socket speaks outwards.
pub fn session(t: &Target) -> Step<()> {
    let own = t.own4()?;
    let at = SocketAddr::new(own.into(), 0);
    let listener = Socket::tcp(at)?;
    listener.bind(at)?;
    listener.listen()?;
    let to = listener.local()?;
    let reader = Socket::new(libc::AF_PACKET, libc::SOCK_DGRAM, i32::from(ALL.to_be()))?;
    let mut opening = tcp((t.v4.into(), t.port), to, SYN, b"");
    inject(IPV4, &ipv4(t.v4, own, libc::IPPROTO_TCP, &opening))?;
    let theirs = read_syn_ack(&reader, (own, to.port()), (t.v4, t.port))?;
    let sequence = u32::from_be_bytes([opening[4], opening[5], opening[6], opening[7]]);
    opening[4..8].copy_from_slice(&sequence.wrapping_add(1).to_be_bytes());
    opening[8..12].copy_from_slice(&theirs.wrapping_add(1).to_be_bytes());
    opening[13] = ACK;
    opening[16..18].fill(0);
    let sum = pseudo_sum(t.v4.into(), own.into(), libc::IPPROTO_TCP as u8, &opening);
    opening[16..18].copy_from_slice(&sum.to_be_bytes());
    inject(IPV4, &ipv4(t.v4, own, libc::IPPROTO_TCP, &opening))?;
    listener.accept()?.send(t.payload(), 0)
}

/// Fails with the reader's timeout where nothing is answered.
fn read_syn_ack(reader: &Socket, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Step<u32> {
    let mut packet = [0; 128];
    // Other traffic of the device must not keep it for ever.
    for _ in 0..256 {
        let len = reader.receive(&mut packet)?;
        if let Some(sequence) = syn_ack(&packet[..len], from, to) {
            return Ok(sequence);
        }
    }
    Err(Fail::Os {
        step: "SYN-ACK",
        errno: libc::ETIMEDOUT,
    })
}

/// The sequence number, if an IPv4 packet is the SYN-ACK of this flow.
fn syn_ack(packet: &[u8], from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Option<u32> {
    let header = usize::from(packet.first()? & 15) * 4;
    let (ip, segment) = packet.split_at_checked(header)?;
    let port = |at: usize| {
        Some(u16::from_be_bytes([
            *segment.get(at)?,
            *segment.get(at + 1)?,
        ]))
    };
    let is_flow = ip.get(9) == Some(&(libc::IPPROTO_TCP as u8))
        && ip.get(12..16)? == from.0.octets()
        && ip.get(16..20)? == to.0.octets()
        && (port(0)?, port(2)?) == (from.1, to.1);
    let sequence = segment.get(4..8)?.try_into().ok()?;
    (is_flow && *segment.get(13)? == SYN | ACK).then(|| u32::from_be_bytes(sequence))
}

/// Forwarded: a SYN-ACK of the service, as a listener would send it.
pub fn forward_syn_ack(t: &Target) -> Step<()> {
    forward_tcp(t, SYN | ACK, b"")
}

/// Forwarded: data, as the service would send it.
pub fn forward_data(t: &Target) -> Step<()> {
    forward_tcp(t, 0x18, t.payload())
}

fn forward_tcp(t: &Target, flags: u8, payload: &[u8]) -> Step<()> {
    let [a, b, c, d] = t.own4()?.octets();
    // A neighbour's source address: the own one would be a martian on lo.
    let from: Ipv4Addr = [a, b, c, d ^ 1].into();
    let segment = tcp((from.into(), t.service), t.at4(), flags, payload);
    inject(IPV4, &ipv4(from, t.v4, libc::IPPROTO_TCP, &segment))
}

/// Has the kernel forward a datagram to a neighbour, and so ask the link for it.
pub fn ask4(neighbour: Ipv4Addr) -> Step<()> {
    let [a, b, c, d] = neighbour.octets();
    let datagram = udp(CLOSED, CLOSED, b"");
    let packet = ipv4(
        [a, b, c, d ^ 1].into(),
        neighbour,
        libc::IPPROTO_UDP,
        &datagram,
    );
    inject(IPV4, &packet)
}

/// Has the kernel answer a neighbour, and so ask the link for it.
pub fn ask6(own: Ipv6Addr, neighbour: Ipv6Addr) -> Step<()> {
    let mut request = echo(128, b"");
    let sum = pseudo_sum(neighbour.into(), own.into(), ICMPV6, &request);
    request[2..4].copy_from_slice(&sum.to_be_bytes());
    inject(IPV6, &ipv6(neighbour, own, ICMPV6, &request))
}
