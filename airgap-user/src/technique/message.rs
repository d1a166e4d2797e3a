//! `sendmsg` with control messages: what a socket option would set, for one packet only.

use super::sys::{Raw, Socket, Step, check};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// One `struct cmsghdr` with its data.
pub struct Control {
    pub level: i32,
    pub kind: i32,
    pub data: Vec<u8>,
}

impl Control {
    /// `struct in_pktinfo`: device, source address.
    pub fn pktinfo4(device: u32, source: Ipv4Addr) -> Self {
        let mut data = device.to_ne_bytes().to_vec();
        data.extend(source.octets());
        data.extend([0; 4]);
        Self {
            level: libc::IPPROTO_IP,
            kind: libc::IP_PKTINFO,
            data,
        }
    }

    /// `struct in6_pktinfo`: source address, device.
    pub fn pktinfo6(device: u32, source: Ipv6Addr) -> Self {
        let mut data = source.octets().to_vec();
        data.extend(device.to_ne_bytes());
        Self {
            level: libc::IPPROTO_IPV6,
            kind: libc::IPV6_PKTINFO,
            data,
        }
    }

    /// Header and data, padded to a word.
    pub fn bytes(&self) -> Vec<u8> {
        const HEADER: usize = size_of::<libc::cmsghdr>();
        let mut bytes = (HEADER + self.data.len()).to_ne_bytes().to_vec();
        bytes.extend(self.level.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(&self.data);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        bytes
    }
}

/// One datagram to `at` with one control message.
pub fn send(socket: &Socket, at: SocketAddr, payload: &[u8], control: &Control) -> Step<()> {
    let address = Raw::from(at);
    let mut control = control.bytes();
    let mut part = libc::iovec {
        iov_base: payload.as_ptr().cast_mut().cast(),
        iov_len: payload.len(),
    };
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.pointer().cast_mut().cast();
    message.msg_namelen = address.len;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: the header points at `address`, `part` and `control`, which outlive the call.
    let rc = unsafe { libc::sendmsg(socket.fd(), &raw const message, libc::MSG_NOSIGNAL) };
    check("sendmsg", rc as i64).map(drop)
}
