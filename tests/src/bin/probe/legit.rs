//! What a sealed container must still be able to do with itself, one line each.

use crate::attempt;
use airgap::technique::pass;
use airgap::technique::sys::{Fail, Socket, Step, os};
use airgap::technique::target::Target;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

type Check = (&'static str, fn(&Target) -> Step<()>);

const ALL: [Check; 12] = [
    ("tcp4-loopback", |_| tcp("127.0.0.1:0")),
    ("tcp4-loopback-5", |_| tcp("127.0.0.5:0")),
    ("tcp6-loopback", |_| tcp("[::1]:0")),
    ("udp4-loopback", |_| udp("127.0.0.1:0")),
    ("udp6-loopback", |_| udp("[::1]:0")),
    ("unix-stream", |_| unix_stream()),
    ("unix-dgram", |_| unix_dgram()),
    ("unix-pair", |_| unix_pair()),
    ("pass-own-tcp", |_| pass_own()),
    ("netlink-route", |_| {
        Socket::open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).map(drop)
    }),
    ("netlink-sock-diag", |_| {
        Socket::open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_SOCK_DIAG).map(drop)
    }),
    ("alg", |_| {
        match Socket::open(libc::AF_ALG, libc::SOCK_SEQPACKET, 0) {
            // Not every kernel has it.
            Err(Fail::Os {
                errno: libc::EAFNOSUPPORT,
                ..
            }) => Ok(()),
            other => other.map(drop),
        }
    }),
];

/// Tries all.
pub(crate) fn run() {
    let target = Target::parse(&[]);
    for (name, check) in ALL {
        attempt::print(name, &target, check);
    }
}

fn tcp(at: &str) -> Step<()> {
    let listener = TcpListener::bind(at).map_err(|_e| os("bind"))?;
    let address = listener.local_addr().map_err(|_e| os("getsockname"))?;
    let mut client = TcpStream::connect(address).map_err(|_e| os("connect"))?;
    let (mut server, _) = listener.accept().map_err(|_e| os("accept"))?;
    echo(&mut client, &mut server)
}

fn echo(
    client: &mut (impl std::io::Read + std::io::Write),
    server: &mut (impl std::io::Read + std::io::Write),
) -> Step<()> {
    let mut buffer = [0; 4];
    client.write_all(b"ping").map_err(|_e| os("write"))?;
    server.read_exact(&mut buffer).map_err(|_e| os("read"))?;
    server.write_all(&buffer).map_err(|_e| os("write"))?;
    client.read_exact(&mut buffer).map_err(|_e| os("read"))
}

fn udp(at: &str) -> Step<()> {
    let (a, b) = (UdpSocket::bind(at), UdpSocket::bind(at));
    let (a, b) = (a.map_err(|_e| os("bind"))?, b.map_err(|_e| os("bind"))?);
    let to = b.local_addr().map_err(|_e| os("getsockname"))?;
    a.send_to(b"ping", to).map_err(|_e| os("sendto"))?;
    b.recv(&mut [0; 4]).map_err(|_e| os("recv")).map(drop)
}

/// A path that goes with the file's last descriptor or the next sweep of `/tmp`.
fn path(kind: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("airgap-legit-{kind}-{}", std::process::id()));
    // A leftover of a recycled pid.
    drop(std::fs::remove_file(&path));
    path
}

fn unix_stream() -> Step<()> {
    let path = path("stream");
    let listener = UnixListener::bind(&path).map_err(|_e| os("bind"))?;
    let client = UnixStream::connect(&path).map_err(|_e| os("connect"));
    drop(std::fs::remove_file(&path));
    let (mut server, _) = listener.accept().map_err(|_e| os("accept"))?;
    echo(&mut client?, &mut server)
}

fn unix_dgram() -> Step<()> {
    let path = path("dgram");
    let server = UnixDatagram::bind(&path).map_err(|_e| os("bind"))?;
    let client = UnixDatagram::unbound().map_err(|_e| os("socket"))?;
    let sent = client.send_to(b"ping", &path).map_err(|_e| os("sendto"));
    drop(std::fs::remove_file(&path));
    sent?;
    server.recv(&mut [0; 4]).map_err(|_e| os("recv")).map(drop)
}

fn unix_pair() -> Step<()> {
    let (mut a, mut b) = UnixStream::pair().map_err(|_e| os("socketpair"))?;
    echo(&mut a, &mut b)
}

/// An own TCP connection, handed from one own socket to another.
fn pass_own() -> Step<()> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|_e| os("bind"))?;
    let address = listener.local_addr().map_err(|_e| os("getsockname"))?;
    let client = TcpStream::connect(address).map_err(|_e| os("connect"))?;
    let (mut server, _) = listener.accept().map_err(|_e| os("accept"))?;
    let (a, b) = UnixStream::pair().map_err(|_e| os("socketpair"))?;
    pass::send(a.as_fd(), client.as_fd())?;
    let passed: OwnedFd = pass::receive(b.as_fd())?.ok_or_else(|| Fail::Skip("nothing".into()))?;
    echo(&mut TcpStream::from(passed), &mut server)
}
