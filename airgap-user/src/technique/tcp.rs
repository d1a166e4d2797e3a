//! TCP and MPTCP.

use super::sys::{Socket, Step, unspecified};
use super::target::Target;
use std::net::{IpAddr, SocketAddr};

const IPPROTO_MPTCP: i32 = 262;
const TCP_FASTOPEN_CONNECT: i32 = 30;

pub fn v4(t: &Target) -> Step<()> {
    talk(&Socket::tcp(t.at4())?, t.at4(), t)
}

pub fn v6(t: &Target) -> Step<()> {
    talk(&Socket::tcp(t.at6())?, t.at6(), t)
}

pub fn mapped(t: &Target) -> Step<()> {
    talk(&Socket::tcp(t.mapped())?, t.mapped(), t)
}

pub fn gateway(t: &Target) -> Step<()> {
    let at = SocketAddr::new(t.gateway.into(), t.port);
    talk(&Socket::tcp(at)?, at, t)
}

pub fn mptcp4(t: &Target) -> Step<()> {
    talk(
        &Socket::new(libc::AF_INET, libc::SOCK_STREAM, IPPROTO_MPTCP)?,
        t.at4(),
        t,
    )
}

pub fn mptcp6(t: &Target) -> Step<()> {
    talk(
        &Socket::new(libc::AF_INET6, libc::SOCK_STREAM, IPPROTO_MPTCP)?,
        t.at6(),
        t,
    )
}

pub fn talk(socket: &Socket, at: SocketAddr, t: &Target) -> Step<()> {
    socket.connect(at)?;
    socket.send(t.payload(), 0)
}

/// The errno of a non-blocking connect comes from the call itself, not from a later poll.
pub fn nonblocking(t: &Target) -> Step<()> {
    talk(
        &Socket::new(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?,
        t.at4(),
        t,
    )
}

pub fn fastopen4(t: &Target) -> Step<()> {
    Socket::tcp(t.at4())?.send_to(t.payload(), libc::MSG_FASTOPEN, t.at4())
}

pub fn fastopen6(t: &Target) -> Step<()> {
    Socket::tcp(t.at6())?.send_to(t.payload(), libc::MSG_FASTOPEN, t.at6())
}

pub fn fastopen_mapped(t: &Target) -> Step<()> {
    Socket::tcp(t.mapped())?.send_to(t.payload(), libc::MSG_FASTOPEN, t.mapped())
}

/// A listener on the service port turns into a client with its first data.
pub fn fastopen_listener(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    socket.share_port()?;
    socket.bind(unspecified(t.at4(), t.service))?;
    socket.listen()?;
    socket.disconnect()?;
    socket.send_to(t.payload(), libc::MSG_FASTOPEN, t.at4())
}

pub fn fastopen_connect(t: &Target) -> Step<()> {
    deferred(t.at4(), t)
}

pub fn fastopen_connect6(t: &Target) -> Step<()> {
    deferred(t.at6(), t)
}

/// `connect` only notes the address; the first data connects.
fn deferred(at: SocketAddr, t: &Target) -> Step<()> {
    let socket = Socket::tcp(at)?;
    socket.set(
        "TCP_FASTOPEN_CONNECT",
        libc::IPPROTO_TCP,
        TCP_FASTOPEN_CONNECT,
        &1_i32,
    )?;
    talk(&socket, at, t)
}

pub fn marked(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    socket.set("SO_MARK", libc::SOL_SOCKET, libc::SO_MARK, &7_i32)?;
    talk(&socket, t.at4(), t)
}

/// A connection with itself over loopback, given up for one outwards.
pub fn self_connected(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    socket.share_port()?;
    socket.bind(SocketAddr::new(t.own4()?.into(), 0))?;
    socket.connect(socket.local()?)?;
    socket.disconnect()?;
    talk(&socket, t.at4(), t)
}

pub fn sport4(t: &Target) -> Step<()> {
    from_service_port(t.at4(), t)
}

pub fn sport6(t: &Target) -> Step<()> {
    from_service_port(t.at6(), t)
}

fn from_service_port(at: SocketAddr, t: &Target) -> Step<()> {
    let socket = Socket::tcp(at)?;
    socket.share_port()?;
    socket.bind(unspecified(at, t.service))?;
    talk(&socket, at, t)
}

pub fn bind_to_device(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    socket.bind_device(&t.device)?;
    talk(&socket, t.at4(), t)
}

pub fn listener4(t: &Target) -> Step<()> {
    listener_connect(t.at4(), t)
}

pub fn listener6(t: &Target) -> Step<()> {
    listener_connect(t.at6(), t)
}

/// A listener on the service port stops listening and connects out.
fn listener_connect(at: SocketAddr, t: &Target) -> Step<()> {
    let socket = Socket::tcp(at)?;
    socket.share_port()?;
    socket.bind(unspecified(at, t.service))?;
    socket.listen()?;
    socket.disconnect()?;
    talk(&socket, at, t)
}

pub fn accepted4(t: &Target) -> Step<()> {
    accepted_connect(t.own4()?.into(), t.at4(), t)
}

pub fn accepted6(t: &Target) -> Step<()> {
    accepted_connect(t.own6()?.into(), t.at6(), t)
}

/// An accepted socket leaves its peer and connects out.
fn accepted_connect(own: IpAddr, at: SocketAddr, t: &Target) -> Step<()> {
    let (_client, accepted) = pair(own)?;
    accepted.disconnect()?;
    talk(&accepted, at, t)
}

/// Both ends of a connection with itself; the accepted one second.
pub fn pair(own: IpAddr) -> Step<(Socket, Socket)> {
    pair_at(SocketAddr::new(own, 0))
}

/// As [`pair`], with the accepted one's port.
pub fn pair_at(at: SocketAddr) -> Step<(Socket, Socket)> {
    let listener = Socket::tcp(at)?;
    // A port of its own, or the container's real server would get the connection.
    listener.bind(unspecified(at, at.port()))?;
    listener.listen()?;
    let client = Socket::tcp(at)?;
    client.connect(SocketAddr::new(at.ip(), listener.local()?.port()))?;
    let accepted = listener.accept()?;
    // Not set by accept: without it the sealed half could hang.
    let limit = libc::timeval {
        tv_sec: 0,
        tv_usec: 700_000,
    };
    accepted.set("SO_SNDTIMEO", libc::SOL_SOCKET, libc::SO_SNDTIMEO, &limit)?;
    Ok((client, accepted))
}
