//! Multicast joins: the kernel itself announces a freely chosen group on the link.

use super::int80;
use super::sys::{Socket, Step};
use super::target::Target;
use std::net::Ipv4Addr;

/// 239.x.y.z with the port in it, so that the recorder can tell.
pub fn group(t: &Target) -> Ipv4Addr {
    let [high, low] = t.port.to_be_bytes();
    Ipv4Addr::new(239, 50, high, low)
}

/// `struct ip_mreq`: the group, and the address of the interface.
fn request(t: &Target) -> Step<[u8; 8]> {
    let mut request = [0; 8];
    request[..4].copy_from_slice(&group(t).octets());
    request[4..].copy_from_slice(&t.own4()?.octets());
    Ok(request)
}

pub fn igmp(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.set_bytes(
        "IP_ADD_MEMBERSHIP",
        libc::IPPROTO_IP,
        libc::IP_ADD_MEMBERSHIP,
        &request(t)?,
    )
}

pub fn igmp_int80(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    int80::setsockopt(
        &socket,
        libc::IPPROTO_IP,
        libc::IP_ADD_MEMBERSHIP,
        &request(t)?,
    )
}

/// The group's last twelve bytes are free: here, the marker.
pub fn mld(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    let mut request = vec![0xff, 0x05, 0, 0];
    let len = t.payload().len().min(12);
    request.extend(&t.payload()[..len]);
    request.resize(16, b'-');
    request.extend(t.index()?.to_ne_bytes());
    socket.set_bytes(
        "IPV6_ADD_MEMBERSHIP",
        libc::IPPROTO_IPV6,
        libc::IPV6_ADD_MEMBERSHIP,
        &request,
    )
}
