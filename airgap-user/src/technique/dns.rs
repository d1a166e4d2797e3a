//! DNS questions; the marker is the name's first label.

use super::{
    sys::{Fail, Socket, Step},
    target::Target,
};
use std::net::{Ipv4Addr, SocketAddr};

/// Docker's resolver inside the container's namespace, run by the daemon outside the cgroup.
const EMBEDDED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// An A question for `MARKER.leak.example`.
pub fn question(t: &Target) -> Vec<u8> {
    let mut query = vec![0x13, 0x37, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [t.marker.as_str(), "leak", "example"] {
        query.push(u8::try_from(label.len()).unwrap_or(63));
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

fn embedded_at() -> SocketAddr {
    SocketAddr::new(EMBEDDED.into(), 53)
}

fn await_answer(socket: &Socket) -> Step<()> {
    socket.receive(&mut [0; 512]).map(drop)
}

fn ask_udp(t: &Target, at: SocketAddr) -> Step<()> {
    let socket = Socket::udp(at)?;
    socket.bind_own_port(t.port, at)?;
    socket.send_to(&question(t), 0, at)?;
    await_answer(&socket)
}

fn ask_tcp(t: &Target, at: SocketAddr) -> Step<()> {
    let socket = Socket::tcp(at)?;
    socket.bind_own_port(t.port, at)?;
    socket.connect(at)?;
    let query = question(t);
    let len = u16::try_from(query.len()).unwrap_or(0).to_be_bytes();
    socket.send(&[len.as_slice(), &query].concat(), 0)?;
    await_answer(&socket)
}

pub fn embedded(t: &Target) -> Step<()> {
    ask_udp(t, embedded_at())
}

pub fn embedded_mapped(t: &Target) -> Step<()> {
    ask_udp(t, SocketAddr::new(EMBEDDED.to_ipv6_mapped().into(), 53))
}

pub fn embedded_tcp(t: &Target) -> Step<()> {
    ask_tcp(t, embedded_at())
}

pub fn embedded_connected(t: &Target) -> Step<()> {
    let socket = Socket::udp(embedded_at())?;
    socket.connect(embedded_at())?;
    socket.send(&question(t), 0)?;
    await_answer(&socket)
}

pub fn direct(t: &Target) -> Step<()> {
    ask_udp(t, SocketAddr::new(t.v4.into(), 53))
}

pub fn direct6(t: &Target) -> Step<()> {
    ask_udp(t, SocketAddr::new(t.v6.into(), 53))
}

pub fn direct_tcp(t: &Target) -> Step<()> {
    ask_tcp(t, SocketAddr::new(t.v4.into(), 53))
}

/// The port the resolver really listens on, behind Docker's redirect of port 53.
pub fn embedded_port(t: &Target) -> Step<()> {
    let table = crate::host::procfs::text("/proc/net/udp").unwrap_or_default();
    let port = table.split_whitespace().find_map(|word| {
        let port = word.strip_prefix("0B00007F:")?;
        u16::from_str_radix(port, 16).ok()
    });
    let port = port.ok_or_else(|| Fail::Skip("no resolver in /proc/net/udp".to_owned()))?;
    ask_udp(t, SocketAddr::new(EMBEDDED.into(), port))
}
