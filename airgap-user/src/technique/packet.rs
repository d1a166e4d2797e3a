//! AF_PACKET: frames that no cgroup hook ever sees.

use super::raw::{self};
use super::sys::{Socket, Step, check, interface};
use super::target::Target;
use std::ffi::CStr;
use std::mem;

pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
const PACKET_QDISC_BYPASS: i32 = 20;
pub const LO: &CStr = c"lo";

pub fn frame(to: [u8; 6], from: [u8; 6], ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(from);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(body);
    frame
}

pub fn marked_udp(t: &Target) -> Step<Vec<u8>> {
    let datagram = raw::udp(t.service, t.port, t.payload());
    Ok(raw::ipv4(t.own4()?, t.v4, libc::IPPROTO_UDP, &datagram))
}

/// The device address for `sendto`; the hardware address only matters to SOCK_DGRAM.
pub fn send(socket: &Socket, device: &CStr, mac: [u8; 6], bytes: &[u8]) -> Step<()> {
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut at: libc::sockaddr_ll = unsafe { mem::zeroed() };
    at.sll_family = libc::AF_PACKET as u16;
    at.sll_protocol = IPV4.to_be();
    at.sll_ifindex = interface(device)? as i32;
    at.sll_halen = 6;
    at.sll_addr[..6].copy_from_slice(&mac);
    // SAFETY: the pointers and lengths describe `bytes` and `at`.
    let rc = unsafe {
        let (pointer, len) = (&raw const at, size_of::<libc::sockaddr_ll>() as u32);
        libc::sendto(
            socket.fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            pointer.cast(),
            len,
        )
    };
    check("sendto", rc as i64).map(drop)
}

pub fn raw(t: &Target) -> Step<()> {
    let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    let bytes = frame(t.gateway_mac, t.own_mac()?, IPV4, &marked_udp(t)?);
    send(&socket, &t.device, t.gateway_mac, &bytes)
}

/// Looks like data on a connection of the service.
pub fn raw_service_port(t: &Target) -> Step<()> {
    let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    let own = t.own4()?;
    let segment = raw::tcp((own.into(), t.service), t.at4(), 0x18, t.payload());
    let packet = raw::ipv4(own, t.v4, libc::IPPROTO_TCP, &segment);
    send(
        &socket,
        &t.device,
        t.gateway_mac,
        &frame(t.gateway_mac, t.own_mac()?, IPV4, &packet),
    )
}

pub fn dgram(t: &Target) -> Step<()> {
    let socket = Socket::new(libc::AF_PACKET, libc::SOCK_DGRAM, 0)?;
    send(&socket, &t.device, t.gateway_mac, &marked_udp(t)?)
}

pub fn qdisc_bypass(t: &Target) -> Step<()> {
    let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    socket.set(
        "PACKET_QDISC_BYPASS",
        libc::SOL_PACKET,
        PACKET_QDISC_BYPASS,
        &1_i32,
    )?;
    let bytes = frame(t.gateway_mac, t.own_mac()?, IPV4, &marked_udp(t)?);
    send(&socket, &t.device, t.gateway_mac, &bytes)
}

/// Injected on lo, forwarded by the container's own kernel.
pub fn lo_forward(t: &Target) -> Step<()> {
    let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    let datagram = raw::udp(t.service, t.port, t.payload());
    // A neighbour's source address: the own one would be a martian on lo.
    let [a, b, c, d] = t.own4()?.octets();
    let packet = raw::ipv4([a, b, c, d ^ 1].into(), t.v4, libc::IPPROTO_UDP, &datagram);
    send(&socket, LO, [0; 6], &frame([0; 6], [0; 6], IPV4, &packet))
}

pub fn arp_trailer(t: &Target) -> Step<()> {
    let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    let mac = t.own_mac()?;
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
    body.extend(mac);
    body.extend(t.own4()?.octets());
    body.extend([0; 6]);
    body.extend(t.gateway.octets());
    body.extend(t.payload());
    send(
        &socket,
        &t.device,
        [0xff; 6],
        &frame([0xff; 6], mac, ARP, &body),
    )
}
