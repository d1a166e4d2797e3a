//! What the kernel says of one socket that airgap has a descriptor of.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    os::unix::fs::MetadataExt as _,
};

/// An option of the socket itself (socket(7)).
pub(super) fn option(socket: &OwnedFd, name: i32) -> io::Result<i32> {
    let mut value = 0i32;
    let mut len = 4;
    // SAFETY: pointer and length describe `value`.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    if rc == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether something waits in its queue.
pub(super) fn is_readable(socket: &OwnedFd) -> bool {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one structure.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLIN != 0 }
}

/// Whether it has a peer.
pub(super) fn is_connected(socket: &OwnedFd) -> bool {
    // SAFETY: plain data.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&address) as u32;
    let (fd, at) = (socket.as_raw_fd(), (&raw mut address).cast());
    // SAFETY: pointer and length describe `address`.
    unsafe { libc::getpeername(fd, at, &raw mut len) == 0 }
}

/// Inode of the socket's network namespace (`SIOCGSKNS`, Linux 4.9).
pub(super) fn namespace(socket: &OwnedFd) -> io::Result<u64> {
    const SIOCGSKNS: libc::c_ulong = 0x894c;
    // SAFETY: takes no argument; the new descriptor is owned at once.
    let fd = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS as _) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let file = fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.metadata().map(|m| m.ino())
}
