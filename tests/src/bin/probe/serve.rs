//! A tiny dual-stack HTTP/1.0 server.

use airgap::technique::sys::{Fail, Socket};
use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

const IPPROTO_MPTCP: i32 = 262;

/// Serves until killed.
pub(crate) fn run(port: u16) -> Result<(), String> {
    serve(&listen(port)?)
}

/// The same for clients of MPTCP and TCP, as Go listens by default since 1.24.
pub(crate) fn run_mptcp(port: u16) -> Result<(), String> {
    serve(&listen_by(IPPROTO_MPTCP, port)?)
}

/// Several processes with a listener each, on the one port; ends with the first of them.
pub(crate) fn run_forked(count: &str) -> Result<(), String> {
    let count: usize = count.parse().map_err(|e| format!("{count}: {e}"))?;
    let start = || Command::new("/proc/self/exe").arg("serve").spawn();
    let children: Result<Vec<_>, _> = (0..count).map(|_| start()).collect();
    let mut children = children.map_err(|e| format!("cannot start: {e}"))?;
    for child in &mut children {
        let status = child.wait().map_err(|e| format!("wait: {e}"))?;
        eprintln!("a child ended: {status}");
    }
    Ok(())
}

fn serve(listener: &TcpListener) -> Result<(), String> {
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                std::thread::spawn(move || {
                    if let Err(error) = answer(stream) {
                        eprintln!("request failed: {error}");
                    }
                });
            }
            Err(error) => eprintln!("accept failed: {error}"),
        }
    }
    Ok(())
}

/// A listener that other probes in the container may share the port with.
pub(crate) fn listen(port: u16) -> Result<TcpListener, String> {
    listen_by(0, port)
}

fn listen_by(protocol: i32, port: u16) -> Result<TcpListener, String> {
    let at = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let open = || {
        let socket = Socket::new(libc::AF_INET6, libc::SOCK_STREAM, protocol)?;
        // accept would inherit the timeout of the probe's other sockets.
        let never = libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        socket.set("SO_RCVTIMEO", libc::SOL_SOCKET, libc::SO_RCVTIMEO, &never)?;
        socket.set("SO_SNDTIMEO", libc::SOL_SOCKET, libc::SO_SNDTIMEO, &never)?;
        socket.set("IPV6_V6ONLY", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &0_i32)?;
        // A command that has the host's network may not share ports with others (`exec`).
        match socket.share_port() {
            Err(Fail::Os { errno, .. }) if errno == libc::ENOPROTOOPT => {}
            shared => shared?,
        }
        socket.bind(at)?;
        socket.listen()?;
        Ok(socket)
    };
    let socket: Socket = open().map_err(|fail| match fail {
        Fail::Os { step, errno } => format!("cannot serve on {at}: {step}: errno {errno}"),
        Fail::Skip(why) => why,
    })?;
    Ok(TcpListener::from(socket.0))
}

/// Answers one request: `/bytes/N` with N bytes, `/pid` with the process id, anything else with the path itself.
pub(crate) fn answer(mut stream: TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let path = read_path(&mut stream)?;
    let body = match path.strip_prefix("/bytes/").and_then(|n| n.parse().ok()) {
        Some(len) => vec![b'x'; len],
        None if path == "/pid" => std::process::id().to_string().into_bytes(),
        None => path.clone().into_bytes(),
    };
    write!(
        stream,
        "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)?;
    Ok(path)
}

fn read_path(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        request.extend(&buffer[..len]);
    }
    let text = String::from_utf8_lossy(&request);
    Ok(text.split_whitespace().nth(1).unwrap_or("/").to_owned())
}
