//! Data that reaches a socket without `send`: from a file, from a pipe.

use super::sys::{Fail, Socket, Step, check, os};
use super::target::Target;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;

fn connected(socket: Socket, at: SocketAddr) -> Step<Socket> {
    socket.connect(at)?;
    Ok(socket)
}

/// Reading end of a pipe that holds the payload.
fn pipe(t: &Target) -> Step<OwnedFd> {
    let mut fds = [0; 2];
    // SAFETY: pipe2 writes two descriptors.
    check("pipe2", unsafe {
        libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC)
    })?;
    // SAFETY: both were just opened and nobody else owns them.
    let (reader, writer) = unsafe { (OwnedFd::from_raw_fd(fds[0]), File::from_raw_fd(fds[1])) };
    (&writer).write_all(t.payload()).map_err(|_e| os("write"))?;
    Ok(reader)
}

fn splice(t: &Target, socket: &Socket) -> Step<()> {
    let pipe = pipe(t)?;
    let null = ptr::null_mut();
    // SAFETY: null offsets are allowed for pipes and sockets.
    let rc = unsafe {
        libc::splice(
            pipe.as_raw_fd(),
            null,
            socket.fd(),
            null,
            t.payload().len(),
            0,
        )
    };
    check("splice", rc as i64).map(drop)
}

pub fn tcp4(t: &Target) -> Step<()> {
    splice(t, &connected(Socket::tcp(t.at4())?, t.at4())?)
}

pub fn udp4(t: &Target) -> Step<()> {
    splice(t, &connected(Socket::udp(t.at4())?, t.at4())?)
}

pub fn udp6(t: &Target) -> Step<()> {
    splice(t, &connected(Socket::udp(t.at6())?, t.at6())?)
}

pub fn sendfile(t: &Target) -> Step<()> {
    let socket = connected(Socket::tcp(t.at4())?, t.at4())?;
    let path = format!("/tmp/{}", t.marker);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .map_err(|e| Fail::Skip(format!("{path}: {e}")))?;
    file.write_all(t.payload())
        .and_then(|()| file.rewind())
        .and_then(|()| std::fs::remove_file(&path))
        .map_err(|_e| os("write"))?;
    // SAFETY: a null offset means the file's own.
    let rc = unsafe {
        libc::sendfile(
            socket.fd(),
            file.as_raw_fd(),
            ptr::null_mut(),
            t.payload().len(),
        )
    };
    check("sendfile", rc as i64).map(drop)
}
