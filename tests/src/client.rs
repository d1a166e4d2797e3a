//! A client whose address is known before its first packet.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use ::airgap::technique::sys::{Fail, Raw, Socket, Step};

/// A TCP socket bound to a free port of the address it will have towards `to`.
///
/// # Errors
/// When there is no route or no port.
pub fn bound(to: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    // A connected UDP socket knows its address and sends nothing.
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let route = std::net::UdpSocket::bind(any)?;
    route.connect(to)?;
    let mut own = route.local_addr()?;
    own.set_port(0);
    let made = || -> Step<(Socket, SocketAddr)> {
        let socket = Socket::tcp(to)?;
        socket.bind(own)?;
        let own = socket.local()?;
        Ok((socket, own))
    };
    let (socket, own) = made().map_err(error)?;
    Ok((socket.0, own))
}

/// Connects, or gives up.
///
/// # Errors
/// When it is refused or out of time.
pub fn connect(socket: OwnedFd, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::from(socket);
    // The limit of connect(2) on a blocking socket is its send timeout.
    stream.set_write_timeout(Some(limit))?;
    let raw = Raw::from(to);
    // SAFETY: the pointer and length describe `raw`.
    let rc = unsafe { libc::connect(stream.as_raw_fd(), raw.pointer(), raw.len) };
    if rc == 0 {
        Ok(stream)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn error(fail: Fail) -> io::Error {
    match fail {
        Fail::Os { errno, .. } => io::Error::from_raw_os_error(errno),
        Fail::Skip(why) => io::Error::other(why),
    }
}
