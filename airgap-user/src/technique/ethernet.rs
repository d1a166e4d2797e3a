//! Frames that are no plain IPv4 datagrams, from AF_PACKET sockets.

use super::packet::{ARP, IPV4, frame, marked_udp, send};
use super::raw::{ipv4, ipv6, pseudo_sum, udp};
use super::sys::{Fail, Socket, Step, check, os};
use super::target::Target;
use std::{mem, ptr};

const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
/// For experiments (IEEE 802).
const EXPERIMENT: u16 = 0x88b6;
const PACKET_TX_RING: i32 = 13;
const PACKET_VNET_HDR: i32 = 15;
const SOCK_PACKET: i32 = 10;
const PAGE: u32 = 4096;
const TP_STATUS_SEND_REQUEST: u32 = 1;

fn socket() -> Step<Socket> {
    Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0)
}

fn to_gateway(t: &Target, ethertype: u16, body: &[u8]) -> Step<()> {
    let frame = frame(t.gateway_mac, t.own_mac()?, ethertype, body);
    send(&socket()?, &t.device, t.gateway_mac, &frame)
}

pub fn ip6(t: &Target) -> Step<()> {
    let mut datagram = udp(t.service, t.port, t.payload());
    let (own, protocol) = (t.own6()?, libc::IPPROTO_UDP as u8);
    let sum = pseudo_sum(own.into(), t.v6.into(), protocol, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    to_gateway(t, IPV6, &ipv6(own, t.v6, protocol, &datagram))
}

/// Under the address of a neighbour that does not exist.
pub fn spoofed(t: &Target) -> Step<()> {
    let [a, b, c, d] = t.own4()?.octets();
    let datagram = udp(t.service, t.port, t.payload());
    let from = [a, b, c, d ^ 1].into();
    to_gateway(t, IPV4, &ipv4(from, t.v4, libc::IPPROTO_UDP, &datagram))
}

pub fn vlan(t: &Target) -> Step<()> {
    let mut body = vec![0, 7];
    body.extend(IPV4.to_be_bytes());
    body.extend(marked_udp(t)?);
    to_gateway(t, VLAN, &body)
}

pub fn unknown_type(t: &Target) -> Step<()> {
    to_gateway(t, EXPERIMENT, t.payload())
}

/// IEEE 802.3: a length instead of a type; to everybody on the link.
pub fn llc(t: &Target) -> Step<()> {
    let mut body = vec![0xaa, 0xaa, 3];
    body.extend(t.payload());
    let frame = frame([0xff; 6], t.own_mac()?, body.len() as u16, &body);
    send(&socket()?, &t.device, [0xff; 6], &frame)
}

/// A solicitation for an address that spells the marker, its own idea of an option behind it.
pub fn solicitation(t: &Target) -> Step<()> {
    let own = t.own6()?;
    let mut asked = own.octets();
    let len = t.payload().len().min(8);
    asked[8..8 + len].copy_from_slice(&t.payload()[..len]);
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(asked);
    message.extend([14, 2]);
    message.extend(t.payload());
    message.resize(40, 0);
    let mut group = [0; 16];
    group[..2].copy_from_slice(&[0xff, 2]);
    group[11..13].copy_from_slice(&[1, 0xff]);
    group[13..].copy_from_slice(&asked[13..]);
    let protocol = libc::IPPROTO_ICMPV6 as u8;
    let group = std::net::Ipv6Addr::from(group);
    let sum = pseudo_sum(own.into(), group.into(), protocol, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = ipv6(own, group, protocol, &message);
    packet[7] = 255;
    let to = [0x33, 0x33, 0xff, asked[13], asked[14], asked[15]];
    send(
        &socket()?,
        &t.device,
        to,
        &frame(to, t.own_mac()?, IPV6, &packet),
    )
}

/// ARP for an address of somebody's choice, from an address of somebody's choice.
pub fn arp(t: &Target) -> Step<()> {
    let [high, low] = t.port.to_be_bytes();
    let mac = t.own_mac()?;
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
    body.extend(mac);
    // `join::group` spells the port alike, for the recorder.
    body.extend([239, 50, high, low]);
    body.extend([0; 6]);
    body.extend([239, 50, high, low]);
    send(
        &socket()?,
        &t.device,
        [0xff; 6],
        &frame([0xff; 6], mac, ARP, &body),
    )
}

/// The oldest interface of them all: AF_INET, SOCK_PACKET, the device by name.
pub fn sock_packet(t: &Target) -> Step<()> {
    let protocol = i32::from(IPV4.to_be());
    let socket = Socket::new(libc::AF_INET, SOCK_PACKET, protocol)?;
    let bytes = frame(t.gateway_mac, t.own_mac()?, IPV4, &marked_udp(t)?);
    // struct sockaddr_pkt: family, device name, protocol.
    let mut at = (libc::AF_INET as u16).to_ne_bytes().to_vec();
    at.extend(t.device.as_bytes());
    at.resize(2 + 14, 0);
    at.extend(IPV4.to_be_bytes());
    // SAFETY: the pointers and lengths describe `bytes` and `at`.
    let rc = unsafe {
        let (data, len) = (bytes.as_ptr().cast(), bytes.len());
        libc::sendto(
            socket.fd(),
            data,
            len,
            0,
            at.as_ptr().cast(),
            at.len() as u32,
        )
    };
    check("sendto", rc as i64).map(drop)
}

/// A frame that announces itself as one to be cut by whoever takes it.
pub fn segmented(t: &Target) -> Step<()> {
    let socket = socket()?;
    let on = 1_i32;
    socket.set("PACKET_VNET_HDR", libc::SOL_PACKET, PACKET_VNET_HDR, &on)?;
    // struct virtio_net_hdr: nothing to do.
    let mut bytes = vec![0; 10];
    bytes.extend(frame(t.gateway_mac, t.own_mac()?, IPV4, &marked_udp(t)?));
    send(&socket, &t.device, t.gateway_mac, &bytes)
}

/// Written into a ring shared with the kernel.
pub fn tx_ring(t: &Target) -> Step<()> {
    let socket = socket()?;
    // struct tpacket_req: block size, blocks, frame size, frames.
    let request = [PAGE, 1, PAGE, 1];
    socket.set("PACKET_TX_RING", libc::SOL_PACKET, PACKET_TX_RING, &request)?;
    let bytes = frame(t.gateway_mac, t.own_mac()?, IPV4, &marked_udp(t)?);
    // SAFETY: a new shared mapping of the ring's one page.
    let ring = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let (null, len) = (ptr::null_mut(), PAGE as usize);
        libc::mmap(null, len, protection, libc::MAP_SHARED, socket.fd(), 0)
    };
    if ring == libc::MAP_FAILED {
        return Err(os("mmap"));
    }
    // struct tpacket_hdr: u64 status, u32 len; the frame behind the 32 bytes of the header.
    // SAFETY: all offsets lie in the page, which only this thread and the kernel touch.
    unsafe {
        let page = ring.cast::<u8>();
        ptr::copy_nonoverlapping(bytes.as_ptr(), page.add(32), bytes.len());
        page.add(8).cast::<u32>().write(bytes.len() as u32);
        page.cast::<u64>().write(TP_STATUS_SEND_REQUEST.into());
    }
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut at: libc::sockaddr_ll = unsafe { mem::zeroed() };
    at.sll_family = libc::AF_PACKET as u16;
    at.sll_protocol = IPV4.to_be();
    at.sll_ifindex = t.index()? as i32;
    // SAFETY: no data; the pointer and length describe `at`.
    let rc = unsafe {
        let len = size_of::<libc::sockaddr_ll>() as u32;
        libc::sendto(socket.fd(), ptr::null(), 0, 0, (&raw const at).cast(), len)
    };
    // SAFETY: the mapping is this function's own.
    unsafe { libc::munmap(ring, PAGE as usize) };
    match check("sendto", rc as i64)? {
        0 => Err(Fail::Skip(
            "the kernel took nothing from the ring".to_owned(),
        )),
        _ => Ok(()),
    }
}
