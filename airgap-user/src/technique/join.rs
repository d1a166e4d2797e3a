//! Multicast joins: the kernel itself announces a freely chosen group on the link.

use super::int80;
use super::sys::{Socket, Step};
use super::target::Target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_JOIN_SOURCE_GROUP: i32 = 46;
/// `struct sockaddr_storage`.
const STORAGE: usize = 128;

/// How an option is set.
type Set = fn(&Socket, i32, i32, &[u8]) -> Step<()>;

fn by64(socket: &Socket, level: i32, option: i32, value: &[u8]) -> Step<()> {
    socket.set_bytes("join", level, option, value)
}

/// 239.x.y.z with the port in it, so that the recorder can tell.
pub fn group(t: &Target) -> Ipv4Addr {
    let [high, low] = t.port.to_be_bytes();
    Ipv4Addr::new(239, 50, high, low)
}

/// The group's last twelve bytes are free: here, the marker.
fn group6(t: &Target) -> Ipv6Addr {
    let mut group = [b'-'; 16];
    group[..4].copy_from_slice(&[0xff, 0x05, 0, 0]);
    let len = t.payload().len().min(12);
    group[4..4 + len].copy_from_slice(&t.payload()[..len]);
    group.into()
}

fn igmp_by(t: &Target, set: Set) -> Step<Socket> {
    let (socket, request) = (Socket::udp(t.at4())?, membership4(t)?);
    set(&socket, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request)?;
    Ok(socket)
}

pub fn igmp(t: &Target) -> Step<()> {
    igmp_by(t, by64).map(drop)
}

/// A socket that is a member of an IPv4 group.
pub fn member4(t: &Target) -> Step<Socket> {
    igmp_by(t, by64)
}

/// A socket that is a member of an IPv6 group.
pub fn member6(t: &Target) -> Step<Socket> {
    mld_by(t, by64)
}

/// A member leaves its group and joins it again: the kernel announces both.
pub fn again(member: &Socket, v4: bool, t: &Target) -> Step<()> {
    let (level, request, leave, join) = if v4 {
        let request = membership4(t)?;
        let (leave, join) = (libc::IP_DROP_MEMBERSHIP, libc::IP_ADD_MEMBERSHIP);
        (libc::IPPROTO_IP, request, leave, join)
    } else {
        let request = membership6(t)?;
        let (leave, join) = (libc::IPV6_DROP_MEMBERSHIP, libc::IPV6_ADD_MEMBERSHIP);
        (libc::IPPROTO_IPV6, request, leave, join)
    };
    // Each on its own: a seal may refuse one of them.
    let left = member.set_bytes("leave", level, leave, &request);
    member.set_bytes("join", level, join, &request).and(left)
}

/// `struct ip_mreq`: group, device's address.
fn membership4(t: &Target) -> Step<Vec<u8>> {
    let mut request = group(t).octets().to_vec();
    request.extend(t.own4()?.octets());
    Ok(request)
}

/// `struct ipv6_mreq`: group, device's index.
fn membership6(t: &Target) -> Step<Vec<u8>> {
    let mut request = group6(t).octets().to_vec();
    request.extend(t.index()?.to_ne_bytes());
    Ok(request)
}

pub fn igmp_int80(t: &Target) -> Step<()> {
    igmp_by(t, int80::setsockopt).map(drop)
}

/// `struct ip_mreq_source`: group, device's address, source.
fn igmp_source_by(t: &Target, set: Set) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    let mut request = group(t).octets().to_vec();
    request.extend(t.own4()?.octets());
    request.extend(t.v4.octets());
    let option = libc::IP_ADD_SOURCE_MEMBERSHIP;
    set(&socket, libc::IPPROTO_IP, option, &request)
}

pub fn igmp_source(t: &Target) -> Step<()> {
    igmp_source_by(t, by64)
}

pub fn igmp_source_int80(t: &Target) -> Step<()> {
    igmp_source_by(t, int80::setsockopt)
}

/// `struct group_req`, or with a source `struct group_source_req`; 32-bit programs lay it out
/// without padding.
fn request(t: &Target, group: IpAddr, source: Option<IpAddr>, padding: usize) -> Step<Vec<u8>> {
    let mut request = t.index()?.to_ne_bytes().to_vec();
    request.resize(4 + padding, 0);
    for address in [Some(group), source].into_iter().flatten() {
        let end = request.len() + STORAGE;
        request.extend(super::sys::Raw::from(SocketAddr::new(address, 0)).bytes());
        request.resize(end, 0);
    }
    Ok(request)
}

fn level(group: IpAddr) -> i32 {
    if group.is_ipv4() {
        libc::IPPROTO_IP
    } else {
        libc::IPPROTO_IPV6
    }
}

fn join(t: &Target, group: IpAddr) -> Step<()> {
    let socket = Socket::udp(SocketAddr::new(group, 0))?;
    let request = request(t, group, None, 4)?;
    by64(&socket, level(group), MCAST_JOIN_GROUP, &request)
}

fn join_int80(t: &Target, group: IpAddr) -> Step<()> {
    let socket = Socket::udp(SocketAddr::new(group, 0))?;
    let request = request(t, group, None, 0)?;
    int80::setsockopt(&socket, level(group), MCAST_JOIN_GROUP, &request)
}

fn join_source(t: &Target, group: IpAddr, source: IpAddr) -> Step<()> {
    let socket = Socket::udp(SocketAddr::new(group, 0))?;
    let request = request(t, group, Some(source), 4)?;
    by64(&socket, level(group), MCAST_JOIN_SOURCE_GROUP, &request)
}

fn join_source_int80(t: &Target, group: IpAddr, source: IpAddr) -> Step<()> {
    let socket = Socket::udp(SocketAddr::new(group, 0))?;
    let (option, request) = (MCAST_JOIN_SOURCE_GROUP, request(t, group, Some(source), 0)?);
    int80::setsockopt(&socket, level(group), option, &request)
}

pub fn group_by_source4_int80(t: &Target) -> Step<()> {
    join_source_int80(t, group(t).into(), t.v4.into())
}

pub fn group_by_source6_int80(t: &Target) -> Step<()> {
    join_source_int80(t, group6(t).into(), t.v6.into())
}

pub fn group4(t: &Target) -> Step<()> {
    join(t, group(t).into())
}

pub fn group4_int80(t: &Target) -> Step<()> {
    join_int80(t, group(t).into())
}

pub fn group6_int80(t: &Target) -> Step<()> {
    join_int80(t, group6(t).into())
}

pub fn group_by_source4(t: &Target) -> Step<()> {
    join_source(t, group(t).into(), t.v4.into())
}

pub fn group_by_source6(t: &Target) -> Step<()> {
    join_source(t, group6(t).into(), t.v6.into())
}

pub fn group_v6(t: &Target) -> Step<()> {
    join(t, group6(t).into())
}

fn mld_by(t: &Target, set: Set) -> Step<Socket> {
    let (socket, request) = (Socket::udp(t.at6())?, membership6(t)?);
    let option = libc::IPV6_ADD_MEMBERSHIP;
    set(&socket, libc::IPPROTO_IPV6, option, &request)?;
    Ok(socket)
}

pub fn mld(t: &Target) -> Step<()> {
    mld_by(t, by64).map(drop)
}

pub fn mld_int80(t: &Target) -> Step<()> {
    mld_by(t, int80::setsockopt).map(drop)
}
