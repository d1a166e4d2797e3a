//! A service whose listener can be told, over loopback, to stop listening and connect out.
//!
//! Control protocol on 127.0.0.1:5061, one request and one JSON line each:
//! `turn ADDRESS PORT MARKER`: the listener itself disconnects and connects there
//! `send MARKER`: sends on that connection · `listen`: a new listener on 5060
//! `land ADDRESS MARKER`: makes a connection with itself over lo under somebody else's address,
//! then takes the accepted end to eth0

use crate::serve;
use airgap::technique::sys::{Fail, Socket, Step};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};

/// Serves and obeys until killed.
pub(crate) fn run() -> Result<(), String> {
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, 5061))
        .map_err(|e| format!("cannot listen for control: {e}"))?;
    let mut service = Service::Listening(serve::listen(5060)?);
    loop {
        let mut fds = [poll_fd(control.as_raw_fd()), poll_fd(service.fd())];
        // SAFETY: the pointer and count describe `fds`.
        unsafe { libc::poll(fds.as_mut_ptr(), 2, -1) };
        if fds[0].revents != 0
            && let Ok((stream, _)) = control.accept()
        {
            service = obey(service, stream);
        }
        if fds[1].revents & libc::POLLIN != 0
            && let Service::Listening(listener) = &service
            && let Ok((stream, _)) = listener.accept()
        {
            drop(serve::answer(stream));
        }
    }
}

enum Service {
    Listening(TcpListener),
    Turned(Socket),
}

impl Service {
    /// -1, which poll ignores, when there is nothing to accept.
    fn fd(&self) -> i32 {
        match self {
            Self::Listening(listener) => listener.as_raw_fd(),
            Self::Turned(_) => -1,
        }
    }

    fn socket(self) -> Socket {
        match self {
            Self::Listening(listener) => Socket(OwnedFd::from(listener)),
            Self::Turned(socket) => socket,
        }
    }
}

fn poll_fd(fd: i32) -> libc::pollfd {
    libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    }
}

fn obey(service: Service, mut stream: TcpStream) -> Service {
    let mut line = String::new();
    drop(BufReader::new(&stream).read_line(&mut line));
    let words: Vec<&str> = line.split_whitespace().collect();
    let (service, result) = match words.as_slice() {
        ["turn", address, port, marker] => {
            let socket = service.socket();
            let at = address.parse().ok().zip(port.parse().ok());
            let result = at.map_or_else(|| Err(bad(&line)), |at| turn(&socket, at, marker));
            (Service::Turned(socket), result)
        }
        ["land", address, marker] => {
            let socket = service.socket();
            let result = address
                .parse()
                .map_or_else(|_| Err(bad(&line)), |at| land(&socket, at, marker));
            (Service::Turned(socket), result)
        }
        ["send", marker] => {
            let socket = service.socket();
            let result = socket.send(marker.as_bytes(), 0);
            (Service::Turned(socket), result)
        }
        ["listen"] => {
            drop(service);
            match serve::listen(5060) {
                Ok(listener) => (Service::Listening(listener), Ok(())),
                Err(error) => {
                    eprintln!("error: {error}");
                    std::process::exit(1);
                }
            }
        }
        _ => (service, Err(bad(&line))),
    };
    let report = match result {
        Ok(()) => json!({ "ok": true, "errno": 0, "step": "" }),
        Err(Fail::Os { step, errno }) => json!({ "ok": false, "errno": errno, "step": step }),
        Err(Fail::Skip(why)) => json!({ "ok": false, "errno": 0, "step": why }),
    };
    drop(writeln!(stream, "{report}"));
    service
}

fn bad(line: &str) -> Fail {
    Fail::Skip(format!("not understood: {line}"))
}

fn turn(socket: &Socket, (address, port): (IpAddr, u16), marker: &str) -> Step<()> {
    // The service socket is an IPv6 one.
    let address = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    };
    let limit = libc::timeval {
        tv_sec: 1,
        tv_usec: 0,
    };
    socket.set("SO_SNDTIMEO", libc::SOL_SOCKET, libc::SO_SNDTIMEO, &limit)?;
    socket.disconnect()?;
    socket.connect(SocketAddr::new(address, port))?;
    socket.send(marker.as_bytes(), 0)
}

/// The accepted end inherits whatever a client's visit left on the listener.
fn land(listener: &Socket, address: Ipv4Addr, marker: &str) -> Step<()> {
    const ON: i32 = 1;
    let to_device = |socket: &Socket, name: &[u8]| {
        socket.set_bytes(
            "SO_BINDTODEVICE",
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name,
        )
    };
    let transparent =
        |socket: &Socket| socket.set("IP_TRANSPARENT", libc::SOL_IP, libc::IP_TRANSPARENT, &ON);
    transparent(listener)?;
    to_device(listener, b"lo\0")?;
    let client = Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    transparent(&client)?;
    to_device(&client, b"lo\0")?;
    client.bind(SocketAddr::new(address.into(), 40_000))?;
    client.connect(SocketAddr::new(address.into(), 5060))?;
    let accepted = listener.accept()?;
    to_device(&accepted, b"eth0\0")?;
    accepted.send(marker.as_bytes(), 0)?;
    // Open until the process ends, so that the segment is repeated.
    std::mem::forget((client, accepted));
    Ok(())
}
