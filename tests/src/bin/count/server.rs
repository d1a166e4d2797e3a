//! The server: one thread, one connection after the other. What concerns it alone it measures
//! itself.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;

use airgap_tests::SERVICE_PORT;

use super::clock::instructions;
use super::operation::{ASKED, LARGE, Operation, REPLY, SMALL, asked};

/// Where datagrams are echoed.
pub(crate) const ECHO: u16 = SERVICE_PORT + 1;
/// Nobody listens there; on the client's side.
const CLOSED: u16 = 9;
const LOOP: u16 = 7000;

/// Serves until killed.
pub(crate) fn run() -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot serve: {error}");
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, SERVICE_PORT)).map_err(failed)?;
    for stream in listener.incoming() {
        if let Err(error) = stream.and_then(|stream| answer(&stream)) {
            eprintln!("a request failed: {error}");
        }
    }
    Ok(())
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut bytes = [0; ASKED];
    stream.read_exact(&mut bytes)?;
    let (operation, client) = asked(bytes).ok_or(io::ErrorKind::InvalidInput)?;
    let mut one = [0];
    let closed = SocketAddr::new(client, CLOSED);
    let taken = match operation {
        Operation::Kept => return each(stream, &[1; REPLY]),
        Operation::Large => return each(stream, &[1; LARGE]),
        Operation::FreshServer => return stream.write_all(&[1; REPLY]),
        Operation::FreshClient => {
            stream.write_all(&[1; REPLY])?;
            // Until the client has closed.
            return stream.read(&mut one).map(drop);
        }
        Operation::Small => {
            stream.set_nodelay(true)?;
            return (0..operation.times()).try_for_each(|_| stream.write_all(&[1; SMALL]));
        }
        Operation::Udp => return echo(stream, operation.times()),
        Operation::Connect => repeated(operation, || {
            // Refused: by a seal, or by nobody who listens.
            drop(TcpStream::connect(closed));
            Ok(())
        }),
        Operation::Send => {
            let socket = UdpSocket::bind(any(client))?;
            repeated(operation, || {
                drop(socket.send_to(b"x", closed));
                Ok(())
            })
        }
        Operation::Socket => {
            let family = if client.is_ipv4() {
                libc::AF_INET
            } else {
                libc::AF_INET6
            };
            // SAFETY: integers only; the descriptor is closed again.
            repeated(operation, || unsafe {
                libc::close(libc::socket(family, libc::SOCK_STREAM, 0));
                Ok(())
            })
        }
        Operation::LoopKept => {
            let (mut near, mut far) = pair(&TcpListener::bind(loopback(client))?)?;
            let mut reply = [0; REPLY];
            let taken = repeated(operation, || {
                near.write_all(b"x")?;
                far.read_exact(&mut one)?;
                far.write_all(&[1; REPLY])?;
                near.read_exact(&mut reply)
            });
            end_hard(&near)?;
            taken
        }
        Operation::LoopFresh => {
            let listener = TcpListener::bind(loopback(client))?;
            repeated(operation, || {
                let (near, _far) = pair(&listener)?;
                // No TIME_WAIT, of which there would be more and more.
                end_hard(&near)
            })
        }
    }?;
    stream.write_all(&taken.to_ne_bytes())
}

/// Instructions that all repetitions take.
fn repeated(operation: Operation, mut once: impl FnMut() -> io::Result<()>) -> io::Result<u64> {
    let begin = instructions();
    for _ in 0..operation.times() {
        once()?;
    }
    Ok(instructions() - begin)
}

/// Answers a byte by `reply`, until the client has closed.
fn each(mut stream: &TcpStream, reply: &[u8]) -> io::Result<()> {
    let mut one = [0];
    while stream.read(&mut one)? == 1 {
        stream.write_all(reply)?;
    }
    Ok(())
}

fn echo(mut stream: &TcpStream, times: u32) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, ECHO))?;
    stream.write_all(b"r")?;
    let mut datagram = [0; 2048];
    for _ in 0..times {
        let (len, from) = socket.recv_from(&mut datagram)?;
        socket.send_to(&datagram[..len], from)?;
    }
    Ok(())
}

fn pair(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let near = TcpStream::connect(listener.local_addr()?)?;
    Ok((near, listener.accept()?.0))
}

/// Its end will be an RST.
fn end_hard(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let fd = stream.as_raw_fd();
    let len = size_of_val(&linger) as u32;
    // SAFETY: the pointer and length describe `linger`, and the descriptor is open.
    let rc = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            len,
        )
    };
    match rc {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn loopback(family: IpAddr) -> SocketAddr {
    let ip: IpAddr = match family {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, LOOP)
}

fn any(family: IpAddr) -> SocketAddr {
    let ip: IpAddr = match family {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}
