//! Unix sockets of a process outside: its abstract name is the marker.

use super::sys::{Socket, Step, check};
use super::target::Target;

/// `sockaddr_un` of an abstract name, and its length.
pub fn abstract_name(name: &str) -> (libc::sockaddr_un, u32) {
    // SAFETY: plain data.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let room = address.sun_path.iter_mut().skip(1);
    for (to, from) in room.zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    (address, 3 + name.len().min(107) as u32)
}

fn connected(kind: i32, t: &Target) -> Step<Socket> {
    let socket = Socket::open(libc::AF_UNIX, kind, 0)?;
    let (address, len) = abstract_name(&t.marker);
    // SAFETY: the pointer and length describe `address`.
    let rc = unsafe { libc::connect(socket.fd(), (&raw const address).cast(), len) };
    check("connect", rc)?;
    Ok(socket)
}

pub fn stream(t: &Target) -> Step<()> {
    connected(libc::SOCK_STREAM, t)?.send(t.payload(), 0)
}

pub fn seqpacket(t: &Target) -> Step<()> {
    connected(libc::SOCK_SEQPACKET, t)?.send(t.payload(), 0)
}

pub fn dgram_connected(t: &Target) -> Step<()> {
    connected(libc::SOCK_DGRAM, t)?.send(t.payload(), 0)
}

pub fn dgram(t: &Target) -> Step<()> {
    let socket = Socket::open(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?;
    let (address, len) = abstract_name(&t.marker);
    // SAFETY: the pointers and lengths describe the payload and `address`.
    let rc = unsafe {
        libc::sendto(
            socket.fd(),
            t.payload().as_ptr().cast(),
            t.payload().len(),
            libc::MSG_NOSIGNAL,
            (&raw const address).cast(),
            len,
        )
    };
    check("sendto", rc as i64).map(drop)
}
