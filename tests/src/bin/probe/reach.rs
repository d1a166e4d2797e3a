//! Connections and datagrams to where exceptions may lead.
//!
//! `reach`: reads lines on stdin, one JSON line each. Sockets have names and stay open.
//! `tcp NAME ADDRESS:PORT`: connects · `later NAME ADDRESS:PORT`: with the first `send` · `from NAME PORT ADDRESS:PORT`: from that port ·
//! `as NAME SOURCE ADDRESS:PORT`: under a source address that may be nobody's ·
//! `device NAME lo|eth0 ADDRESS:PORT` · `mptcp NAME ADDRESS:PORT`
//! `udp NAME 4|6`: a socket for datagrams, its port · `bare NAME 4|6`: one for TCP ·
//! `serve NAME 4|6 PORT`: one for datagrams at a port that others may share ·
//! `hear NAME`: a datagram's text and sender · `fill NAME ADDRESS:PORT LENGTH`: a long one ·
//! `peer NAME ADDRESS:PORT`, `connect …`, `disconnect NAME`, `listen NAME PORT`, `close NAME` ·
//! `send NAME TEXT`, `to NAME ADDRESS:PORT TEXT`, `many NAME ADDRESS:PORT COUNT` ·
//! `accept NAME LISTENER` · `onlink NAME DEVICE`: sends by that interface, as if all were on its link ·
//! `receive NAME`: a text, or a timeout · `done NAME`: sends no more ·
//! `look NAME`: its addresses, by the C library · `spoof SOURCE ADDRESS:PORT TEXT`: a datagram under that address

use airgap::technique::sys::{Fail, Socket, Step, check, family};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

pub(crate) fn run() -> Result<(), String> {
    let mut sockets = HashMap::new();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| e.to_string())?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = match obey(&words, &mut sockets) {
            Ok(value) => json!({ "ok": value }),
            Err(Fail::Os { step, errno }) => json!({ "step": step, "errno": errno }),
            Err(Fail::Skip(why)) => return Err(format!("{line}: {why}")),
        };
        writeln!(out, "{value}")
            .and_then(|()| out.flush())
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn address(text: &str) -> Step<SocketAddr> {
    text.parse().map_err(|e| Fail::Skip(format!("{text}: {e}")))
}

fn number<T: std::str::FromStr>(text: &str) -> Step<T> {
    text.parse()
        .map_err(|_e| Fail::Skip(format!("{text} is no number")))
}

/// Lets it have a source address that is nobody's here; needs no capability.
fn free(socket: &Socket, at: SocketAddr) -> Step<()> {
    const IPV6_FREEBIND: i32 = 78;
    match at {
        SocketAddr::V4(_) => socket.set(
            "IP_TRANSPARENT",
            libc::IPPROTO_IP,
            libc::IP_TRANSPARENT,
            &1_i32,
        ),
        SocketAddr::V6(_) => socket.set("IPV6_FREEBIND", libc::IPPROTO_IPV6, IPV6_FREEBIND, &1_i32),
    }
}

fn obey(words: &[&str], sockets: &mut HashMap<String, Socket>) -> Step<Value> {
    let named = |sockets: &HashMap<String, Socket>, name: &str| {
        sockets.contains_key(name).then_some(()).ok_or(Fail::Os {
            step: "name",
            errno: libc::EBADF,
        })
    };
    if let [
        "send" | "to" | "many" | "fill" | "hear" | "receive" | "disconnect" | "connect" | "listen"
        | "peer" | "onlink",
        name,
        ..,
    ] = words
    {
        named(sockets, name)?;
    }
    match words {
        ["tcp", name, to] => {
            let to = address(to)?;
            let socket = Socket::tcp(to)?;
            socket.connect(to)?;
            sockets.insert((*name).to_owned(), socket);
        }
        ["later", name, to] => {
            // Fast open without a cookie (tcp(7)): the first `send` sends the SYN.
            const TCP_FASTOPEN_NO_COOKIE: i32 = 34;
            let to = address(to)?;
            let socket = Socket::tcp(to)?;
            for option in [libc::TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE] {
                socket.set("TCP_FASTOPEN", libc::IPPROTO_TCP, option, &1_i32)?;
            }
            socket.connect(to)?;
            sockets.insert((*name).to_owned(), socket);
        }
        ["from", name, port, to] => {
            let to = address(to)?;
            let socket = Socket::tcp(to)?;
            socket.share_port()?;
            socket.bind(airgap::technique::sys::unspecified(to, number(port)?))?;
            socket.connect(to)?;
            sockets.insert((*name).to_owned(), socket);
        }
        ["as", name, source, to] => {
            let (source, to) = (address(source)?, address(to)?);
            let socket = Socket::tcp(to)?;
            free(&socket, source)?;
            socket.bind(source)?;
            socket.connect(to)?;
            sockets.insert((*name).to_owned(), socket);
        }
        ["look", name] => {
            let found = (*name, 0).to_socket_addrs();
            let found = found.map_err(|_none| Fail::Os {
                step: "getaddrinfo",
                errno: libc::ENOENT,
            })?;
            let mut texts: Vec<_> = found.map(|to| to.ip().to_string()).collect();
            texts.sort_unstable();
            texts.dedup();
            return Ok(json!(texts));
        }
        ["spoof", source, to, text] => {
            let (source, to) = (address(source)?, address(to)?);
            let socket = Socket::udp(to)?;
            free(&socket, source)?;
            socket.bind(source)?;
            socket.send_to(text.as_bytes(), 0, to)?;
        }
        ["device", name, device, to] => {
            let to = address(to)?;
            let socket = Socket::tcp(to)?;
            let device = std::ffi::CString::new(*device).unwrap_or_default();
            socket.bind_device(&device)?;
            socket.connect(to)?;
            sockets.insert((*name).to_owned(), socket);
        }
        ["mptcp", name, to] => {
            const IPPROTO_MPTCP: i32 = 262;
            let to = address(to)?;
            let socket = Socket::new(family(to), libc::SOCK_STREAM, IPPROTO_MPTCP)?;
            socket.connect(to)?;
            sockets.insert((*name).to_owned(), socket);
        }
        ["bare", name, version] => {
            let any = match *version {
                "6" => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                _ => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            };
            sockets.insert((*name).to_owned(), Socket::tcp(any)?);
        }
        ["udp", name, version] => {
            let any = match *version {
                "6" => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                _ => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            };
            let socket = Socket::udp(any)?;
            socket.bind(any)?;
            let local = socket.local()?.port();
            sockets.insert((*name).to_owned(), socket);
            return Ok(json!(local));
        }
        ["serve", name, version, port] => {
            let any = match *version {
                "6" => SocketAddr::from((Ipv6Addr::UNSPECIFIED, number(port)?)),
                _ => SocketAddr::from((Ipv4Addr::UNSPECIFIED, number(port)?)),
            };
            let socket = Socket::udp(any)?;
            socket.share_port()?;
            socket.bind(any)?;
            sockets.insert((*name).to_owned(), socket);
        }
        ["hear", name] => {
            let mut buffer = [0; 2048];
            let (len, from) = sockets[*name].receive_from(&mut buffer)?;
            let text = String::from_utf8_lossy(&buffer[..len]);
            return Ok(json!({ "text": text, "from": from.to_string() }));
        }
        ["fill", name, to, length] => {
            let bytes = vec![b'x'; number(length)?];
            sockets[*name].send_to(&bytes, 0, address(to)?)?;
        }
        ["peer" | "connect", name, to] => sockets[*name].connect(address(to)?)?,
        ["send", name, text] => sockets[*name].send(text.as_bytes(), 0)?,
        ["to", name, to, text] => sockets[*name].send_to(text.as_bytes(), 0, address(to)?)?,
        ["many", name, to, count] => {
            let to = address(to)?;
            for _ in 0..number::<u64>(count)? {
                sockets[*name].send_to(b"0123456789", 0, to)?;
            }
        }
        ["receive", name] => {
            let mut buffer = [0; 2048];
            let len = sockets[*name].receive(&mut buffer)?;
            return Ok(json!(String::from_utf8_lossy(&buffer[..len])));
        }
        ["disconnect", name] => sockets[*name].disconnect()?,
        ["listen", name, port] => {
            let socket = &sockets[*name];
            let at = airgap::technique::sys::unspecified(socket.local()?, number(port)?);
            socket.share_port()?;
            socket.bind(at)?;
            socket.listen()?;
        }
        ["accept", name, listener] => {
            named(sockets, listener)?;
            let socket = sockets[*listener].accept()?;
            sockets.insert((*name).to_owned(), socket);
        }
        ["onlink", name, device] => {
            let device = std::ffi::CString::new(*device).unwrap_or_default();
            let socket = &sockets[*name];
            socket.bind_device(&device)?;
            socket.set("SO_DONTROUTE", libc::SOL_SOCKET, libc::SO_DONTROUTE, &1_i32)?;
        }
        ["done", name] => {
            named(sockets, name)?;
            // SAFETY: takes no pointers.
            let done = unsafe { libc::shutdown(sockets[*name].fd(), libc::SHUT_WR) };
            check("shutdown", done)?;
        }
        ["close", name] => drop(sockets.remove(*name)),
        other => return Err(Fail::Skip(format!("{other:?} means nothing"))),
    }
    Ok(json!(true))
}
