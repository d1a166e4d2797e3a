//! The client: one measurement, in the network namespace of whoever calls.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use airgap::technique::sys::{Fail, Socket, family};
use airgap_tests::SERVICE_PORT;

use super::clock::instructions;
use super::operation::{LARGE, Operation, REPLY, SMALL, ask};
use super::server::ECHO;

/// Repetitions before those that count.
const WARM: u32 = 20;
/// Bytes that may wait, and so many must before anybody is woken.
const ROOM: i32 = 1 << 20;
const LOW: i32 = 1 << 17;

/// Instructions that all repetitions of an operation take; `ports`: the next of its own ports,
/// which are set and not drawn, so that no run depends on those before.
pub(crate) fn measure(
    operation: Operation,
    own: IpAddr,
    server: IpAddr,
    ports: &mut u16,
) -> io::Result<u64> {
    let mut dial = || {
        *ports += 1;
        dial(
            SocketAddr::new(own, *ports),
            SocketAddr::new(server, SERVICE_PORT),
        )
    };
    let asked = ask(operation, own);
    let mut reply = [0; LARGE];
    if let Operation::FreshClient | Operation::FreshServer = operation {
        let begin = instructions();
        for _ in 0..operation.times() {
            let mut stream = dial()?;
            stream.write_all(&asked)?;
            stream.read_exact(&mut reply[..REPLY])?;
            if operation == Operation::FreshServer {
                // Until the server has closed.
                stream.read_exact(&mut reply[..1]).expect_err("no more");
            }
        }
        return Ok(instructions() - begin);
    }
    let mut stream = dial()?;
    stream.set_nodelay(true)?;
    match operation {
        Operation::Kept | Operation::Large => {
            stream.write_all(&asked)?;
            let len = if operation == Operation::Kept {
                REPLY
            } else {
                LARGE
            };
            let mut round = || {
                stream.write_all(b"x")?;
                stream.read_exact(&mut reply[..len])
            };
            (0..WARM).try_for_each(|_| round())?;
            let begin = instructions();
            (0..operation.times()).try_for_each(|_| round())?;
            Ok(instructions() - begin)
        }
        Operation::Small => {
            // Woken seldom, so that it matters little who runs when.
            set(&stream, libc::SO_RCVBUF, ROOM)?;
            set(&stream, libc::SO_RCVLOWAT, LOW)?;
            let mut rest = SMALL * operation.times() as usize;
            let mut part = vec![0; LOW as usize];
            let begin = instructions();
            stream.write_all(&asked)?;
            while rest > 0 {
                rest -= stream.read(&mut part)?;
            }
            Ok(instructions() - begin)
        }
        Operation::Udp => {
            let socket = UdpSocket::bind((own, 0))?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            socket.connect((server, ECHO))?;
            stream.write_all(&asked)?;
            stream.read_exact(&mut reply[..1])?;
            let begin = instructions();
            for _ in 0..operation.times() {
                socket.send(&[1; 64])?;
                socket.recv(&mut reply)?;
            }
            Ok(instructions() - begin)
        }
        _ => {
            stream.write_all(&asked)?;
            let mut taken = [0; 8];
            stream.read_exact(&mut taken)?;
            Ok(u64::from_ne_bytes(taken))
        }
    }
}

fn dial(own: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let open = || {
        let socket = Socket::open(family(own), libc::SOCK_STREAM, 0)?;
        socket.share_port()?;
        socket.bind(own)?;
        socket.connect(to)?;
        Ok(socket)
    };
    match open() {
        Ok(socket) => Ok(TcpStream::from(socket.0)),
        Err(Fail::Os { errno, .. }) => Err(io::Error::from_raw_os_error(errno)),
        Err(Fail::Skip(why)) => Err(io::Error::other(why)),
    }
}

fn set(stream: &TcpStream, name: i32, value: i32) -> io::Result<()> {
    let len = size_of_val(&value) as u32;
    // SAFETY: the pointer and length describe `value`, and the descriptor is open.
    let rc = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw const value).cast(),
            len,
        )
    };
    match rc {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
