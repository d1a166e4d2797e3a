//! Sockets that lead around the network stack: to the hypervisor, to the host's
//! audit log, to the link. Creating them is enough; nothing is sent.

use super::sys::{Socket, Step};
use super::target::Target;

/// Linux, `include/linux/socket.h`; libc's own constants differ by target.
const AF_XDP: i32 = 44;

pub fn vsock(_: &Target) -> Step<()> {
    Socket::open(libc::AF_VSOCK, libc::SOCK_STREAM, 0).map(drop)
}

pub fn vsock_dgram(_: &Target) -> Step<()> {
    Socket::open(libc::AF_VSOCK, libc::SOCK_DGRAM, 0).map(drop)
}

/// `CAP_AUDIT_WRITE`, a Docker default, lets it write into the host's log.
pub fn audit(_: &Target) -> Step<()> {
    Socket::open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT).map(drop)
}

pub fn netlink_user(_: &Target) -> Step<()> {
    Socket::open(libc::AF_NETLINK, libc::SOCK_DGRAM, libc::NETLINK_USERSOCK).map(drop)
}

pub fn packet(_: &Target) -> Step<()> {
    Socket::open(libc::AF_PACKET, libc::SOCK_RAW, 0).map(drop)
}

pub fn xdp(_: &Target) -> Step<()> {
    Socket::open(AF_XDP, libc::SOCK_RAW, 0).map(drop)
}
