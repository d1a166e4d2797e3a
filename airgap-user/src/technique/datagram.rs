//! UDP in its less usual forms: other address families, segmentation, fragments, options.

use super::message::{self, Control};
use super::sys::{Raw, Socket, Step, check};
use super::target::Target;
use std::net::{Ipv4Addr, SocketAddr};

const UDP_CORK: i32 = 1;
const UDP_SEGMENT: i32 = 103;
/// More than any link's MTU here: leaves in fragments.
const LARGE: usize = 4000;

/// Two messages to `at` in one call.
pub fn many(socket: &Socket, at: SocketAddr, payload: &[u8]) -> Step<()> {
    let address = Raw::from(at);
    let mut part = libc::iovec {
        iov_base: payload.as_ptr().cast_mut().cast(),
        iov_len: payload.len(),
    };
    // SAFETY: all-zero is a valid mmsghdr.
    let mut messages: [libc::mmsghdr; 2] = unsafe { std::mem::zeroed() };
    for message in &mut messages {
        message.msg_hdr.msg_name = address.pointer().cast_mut().cast();
        message.msg_hdr.msg_namelen = address.len;
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: the headers point at `address` and `part`, which outlive the call.
    check("sendmmsg", unsafe {
        libc::sendmmsg(socket.fd(), messages.as_mut_ptr(), 2, 0)
    })
    .map(drop)
}

pub fn sendmmsg6(t: &Target) -> Step<()> {
    many(&Socket::udp(t.at6())?, t.at6(), t.payload())
}

/// An IPv6 socket takes an IPv4 address as it is, and another hook then has to judge it.
pub fn other_family(t: &Target) -> Step<()> {
    Socket::udp(t.at6())?.send_to(t.payload(), 0, t.at4())
}

pub fn other_family_connected(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    socket.connect(t.at4())?;
    socket.send(t.payload(), 0)
}

/// One buffer, cut into datagrams by the kernel.
pub fn segmented(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    let size = i32::try_from(t.payload().len()).unwrap_or(64);
    socket.set("UDP_SEGMENT", libc::SOL_UDP, UDP_SEGMENT, &size)?;
    socket.send_to(&t.payload().repeat(3), 0, t.at4())
}

/// Sent by the option that uncorks, not by a send.
pub fn uncorked(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.set("UDP_CORK", libc::SOL_UDP, UDP_CORK, &1_i32)?;
    socket.send_to(t.payload(), 0, t.at4())?;
    socket.set("UDP_CORK", libc::SOL_UDP, UDP_CORK, &0_i32)
}

fn large(t: &Target) -> Vec<u8> {
    let mut payload = t.payload().to_vec();
    payload.resize(LARGE, b'-');
    payload
}

pub fn large4(t: &Target) -> Step<()> {
    Socket::udp(t.at4())?.send_to(&large(t), 0, t.at4())
}

pub fn large6(t: &Target) -> Step<()> {
    Socket::udp(t.at6())?.send_to(&large(t), 0, t.at6())
}

pub fn pktinfo4(t: &Target) -> Step<()> {
    let from = Control::pktinfo4(t.index()?, t.own4()?);
    message::send(&Socket::udp(t.at4())?, t.at4(), t.payload(), &from)
}

pub fn pktinfo6(t: &Target) -> Step<()> {
    let from = Control::pktinfo6(t.index()?, t.own6()?);
    message::send(&Socket::udp(t.at6())?, t.at6(), t.payload(), &from)
}

pub fn bind_to_device(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.bind_device(&t.device)?;
    socket.send_to(t.payload(), 0, t.at4())
}

pub fn marked(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.set("SO_MARK", libc::SOL_SOCKET, libc::SO_MARK, &7_i32)?;
    socket.send_to(t.payload(), 0, t.at4())
}

/// Connected to an own address, which is allowed; then sent elsewhere.
pub fn from_own(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.connect(SocketAddr::new(t.own4()?.into(), t.port))?;
    socket.send_to(t.payload(), 0, t.at4())
}

/// Connected to loopback, disconnected, then sent elsewhere.
pub fn disconnected(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.connect(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), t.port))?;
    socket.disconnect()?;
    socket.send_to(t.payload(), 0, t.at4())
}

/// Connected to loopback, then connected again.
pub fn reconnected(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.connect(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), t.port))?;
    socket.disconnect()?;
    socket.connect(t.at4())?;
    socket.send(t.payload(), 0)
}

/// The broadcast address of the own network: the container networks of the proofs are /27.
pub fn own_broadcast(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    socket.set("SO_BROADCAST", libc::SOL_SOCKET, libc::SO_BROADCAST, &1_i32)?;
    let network = u32::from(t.own4()?) & !31;
    let at = SocketAddr::new(Ipv4Addr::from(network | 31).into(), t.port);
    socket.send_to(t.payload(), 0, at)
}

pub fn mapped_multicast(t: &Target) -> Step<()> {
    let group = Ipv4Addr::new(239, 1, 2, 3).to_ipv6_mapped();
    let at = SocketAddr::new(group.into(), t.port);
    Socket::udp(at)?.send_to(t.payload(), 0, at)
}
