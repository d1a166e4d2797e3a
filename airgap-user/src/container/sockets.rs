//! Sockets that exist before a seal: what is open to the outside, whose it
//! is, and how it is cut.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
    thread,
};

use anyhow::{Context as _, Result, anyhow};

use super::Holder;
use crate::{
    netlink::{Message, Netlink, SOCK_DIAG_BY_FAMILY},
    netns::Netns,
};

/// Kind of a socket in `/proc/PID/net`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// A TCP connection.
    Tcp,
    /// A UDP socket with a peer.
    Udp,
    /// A raw IP socket.
    Raw,
    /// An AF_PACKET socket.
    Packet,
}

impl SocketKind {
    /// The name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Raw => "raw",
            Self::Packet => "packet",
        }
    }
}

/// A socket that reaches, or could reach, beyond the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSocket {
    /// Kind.
    pub kind: SocketKind,
    /// Own address and port.
    pub local: Option<(IpAddr, u16)>,
    /// Peer's address and port.
    pub peer: Option<(IpAddr, u16)>,
    /// Inode; 0 for a connection that nobody accepted yet.
    pub inode: u64,
}

/// Sockets in the network namespace of `pid` that reach beyond it: TCP
/// connections and connected UDP sockets with a peer that is neither loopback
/// nor an own address, and all raw and packet sockets.
///
/// # Errors
/// If the process is gone.
pub fn open_sockets(pid: u32) -> Result<Vec<OpenSocket>> {
    let mut found = Vec::new();
    // For each read of these files the kernel walks its whole table of connections.
    let by_diag = connections(pid).inspect_err(|error| log::debug!("no sock_diag: {error:#}"));
    let files: &[_] = match by_diag {
        Ok(connections) => {
            found.extend(connections);
            &[]
        }
        Err(_) => &[("tcp", SocketKind::Tcp), ("tcp6", SocketKind::Tcp)],
    };
    for (file, kind) in files.iter().copied().chain([
        ("udp", SocketKind::Udp),
        ("udp6", SocketKind::Udp),
        ("raw", SocketKind::Raw),
        ("raw6", SocketKind::Raw),
        ("packet", SocketKind::Packet),
    ]) {
        let path = format!("/proc/{pid}/net/{file}");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // Without IPv6 the file is missing; udp is always there.
            Err(e) if e.kind() == io::ErrorKind::NotFound && file != "udp" => continue,
            Err(e) => return Err(e).with_context(|| format!("cannot read {path}")),
        };
        found.extend(text.lines().skip(1).filter_map(|line| parse(line, kind)));
    }
    Ok(found)
}

/// TCP connections by sock_diag (`struct inet_diag_req_v2`, linux/inet_diag.h).
fn connections(pid: u32) -> Result<Vec<OpenSocket>> {
    /// All but TIME_WAIT and LISTEN.
    const STATES: u32 = 0xfff & !(1 << 6 | 1 << 10);
    Netns::of(pid)?.run(|| {
        let mut found = Vec::new();
        let netlink = Netlink::diag()?;
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut request = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
            request.extend(STATES.to_ne_bytes());
            // No port or address to look for, any interface and cookie.
            request.extend([0; 48]);
            netlink.dump(SOCK_DIAG_BY_FAMILY, &request, |message| {
                found.extend(connection(message));
            })?;
        }
        Ok(found)
    })
}

/// `struct inet_diag_msg`: a connection that leads outside.
fn connection(message: &[u8]) -> Option<OpenSocket> {
    let endpoint = |port: usize, at: usize| {
        let port = u16::from_be_bytes(message.get(port..port + 2)?.try_into().ok()?);
        let octets: [u8; 16] = message.get(at..at + 16)?.try_into().ok()?;
        let ip = if i32::from(*message.first()?) == libc::AF_INET {
            let [a, b, c, d, ..] = octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        };
        Some((ip, port))
    };
    let (local, peer) = (endpoint(4, 8)?, endpoint(6, 24)?);
    let inode = u32::from_ne_bytes(message.get(68..72)?.try_into().ok()?);
    is_outside(local.0, peer.0).then_some(OpenSocket {
        kind: SocketKind::Tcp,
        local: Some(local),
        peer: Some(peer),
        inode: inode.into(),
    })
}

fn is_outside(local: IpAddr, peer: IpAddr) -> bool {
    !peer.is_unspecified() && !peer.is_loopback() && peer != local
}

/// One line of `/proc/PID/net/*` (Documentation/networking/proc_net_tcp.rst).
fn parse(line: &str, kind: SocketKind) -> Option<OpenSocket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if kind == SocketKind::Packet {
        let inode = fields.get(8)?.parse().ok()?;
        return Some(OpenSocket {
            kind,
            local: None,
            peer: None,
            inode,
        });
    }
    let local = endpoint(fields.get(1)?)?;
    let peer = endpoint(fields.get(2)?)?;
    let state = u8::from_str_radix(fields.get(3)?, 16).ok()?;
    let inode = fields.get(9)?.parse().ok()?;
    const TIME_WAIT: u8 = 6;
    const LISTEN: u8 = 10;
    let outside = is_outside(local.0, peer.0);
    let matters = match kind {
        SocketKind::Tcp => outside && state != TIME_WAIT && state != LISTEN,
        SocketKind::Udp => outside,
        SocketKind::Raw | SocketKind::Packet => true,
    };
    let socket = OpenSocket {
        kind,
        local: Some(local),
        peer: Some(peer),
        inode,
    };
    matters.then_some(socket)
}

/// `0100007F:1F90`: words of the address in the host's byte order, and a port.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (addr, port) = text.split_once(':')?;
    let word = |i: usize| u32::from_str_radix(addr.get(8 * i..8 * i + 8)?, 16).ok();
    let ip = match addr.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        32 => {
            let mut octets = [0; 16];
            for (i, chunk) in octets.chunks_mut(4).enumerate() {
                chunk.copy_from_slice(&word(i)?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

/// Ends TCP connections in the network namespace of `pid`, so that programs
/// learn of it at once; returns how many are gone. The peers do not learn:
/// the RST is dropped by the seal.
///
/// # Errors
/// If the namespace cannot be entered or the kernel lacks
/// `CONFIG_INET_DIAG_DESTROY`.
pub fn destroy(pid: u32, connections: &[OpenSocket]) -> Result<usize> {
    let path = format!("/proc/{pid}/ns/net");
    let netns = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let requests: Vec<_> = connections.iter().filter_map(destroy_request).collect();
    thread::spawn(move || destroy_in(&netns, &requests))
        .join()
        .map_err(|_panic| anyhow!("cutting connections in {path} failed"))?
        .context("cannot cut existing connections (SOCK_DESTROY)")
}

/// A SOCK_DESTROY message (include/uapi/linux/inet_diag.h).
fn destroy_request(socket: &OpenSocket) -> Option<Vec<u8>> {
    const SOCK_DESTROY: u16 = 21;
    let ((src, sport), (dst, dport)) = (socket.local?, socket.peer?);
    let mut out = Vec::with_capacity(56);
    out.extend([
        if src.is_ipv4() {
            libc::AF_INET as u8
        } else {
            libc::AF_INET6 as u8
        },
        6,
        0,
        0,
    ]);
    out.extend(u32::MAX.to_ne_bytes()); // any state
    out.extend(sport.to_be_bytes());
    out.extend(dport.to_be_bytes());
    for addr in [src, dst] {
        match addr {
            IpAddr::V4(a) => {
                out.extend(a.octets());
                out.extend([0; 12]);
            }
            IpAddr::V6(a) => out.extend(a.octets()),
        }
    }
    out.extend([0; 4]); // any interface
    out.extend([0xff; 8]); // any cookie
    Some(Message::new(SOCK_DESTROY, 0, &out).finish())
}

fn destroy_in(netns: &File, requests: &[Vec<u8>]) -> io::Result<usize> {
    // SAFETY: moves this thread only.
    if unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let netlink = Netlink::diag()?;
    let mut gone = 0;
    for request in requests {
        match netlink.ask(request) {
            Ok(()) => gone += 1,
            // It ended by itself.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

/// Whether anything but the container lives in its network namespace, as far
/// as descriptors tell: then a connection without a holder may be another's.
pub fn is_held(socket: &OpenSocket, holders: &HashMap<u64, Holder>, shared: bool) -> bool {
    holders.contains_key(&socket.inode) || (socket.inode == 0 && !shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_endpoints() {
        assert_eq!(
            endpoint("0100007F:1F90"),
            Some(("127.0.0.1".parse().unwrap(), 8080))
        );
        assert_eq!(
            endpoint("B80D0120000000000000000001000000:01BB"),
            Some(("2001:db8::1".parse().unwrap(), 443))
        );
        assert_eq!(
            endpoint("0000000000000000FFFF0000026433C6:0001"),
            Some(("198.51.100.2".parse().unwrap(), 1))
        );
        for bad in ["", "0100007F", "0100007:1", "XX00007F:1", "0100007F:10000"] {
            assert_eq!(endpoint(bad), None, "{bad}");
        }
    }

    #[test]
    fn takes_what_reaches_outside() {
        let line = |local: &str, peer: &str, state: &str| {
            format!(
                "  0: {local} {peer} {state} 00000000:00000000 00:00000000 00000000  0  0 4711 1 x"
            )
        };
        let (own, other, lo, none) = (
            "026433C6:13C4",
            "096433C6:0FA0",
            "0100007F:0001",
            "00000000:0000",
        );
        for (l, p, state, matters) in [
            (own, other, "01", true),
            (own, other, "02", true),
            (own, other, "06", false),
            (own, none, "0A", false),
            (lo, lo, "01", false),
            (own, "026433C6:0FA0", "01", false),
        ] {
            assert_eq!(
                parse(&line(l, p, state), SocketKind::Tcp).is_some(),
                matters,
                "{l} {p} {state}"
            );
        }
        assert!(parse(&line(own, none, "07"), SocketKind::Udp).is_none());
        assert!(parse(&line(own, none, "07"), SocketKind::Raw).is_some());
        assert!(parse("garbage", SocketKind::Tcp).is_none());
        let packet = "ffff8881 3 3 0003 2 1 0 0 4712";
        assert_eq!(parse(packet, SocketKind::Packet).unwrap().inode, 4712);
    }

    #[test]
    fn reads_what_sock_diag_says() {
        let message = |peer: [u8; 4]| {
            let mut bytes = vec![libc::AF_INET as u8, 1, 0, 0, 0x13, 0xc4, 0x0f, 0xa0];
            for address in [[198, 51, 100, 2], peer] {
                bytes.extend(address);
                bytes.extend([0; 12]);
            }
            bytes.resize(68, 0);
            bytes.extend(4711_u32.to_ne_bytes());
            bytes
        };
        let found = connection(&message([198, 51, 100, 9])).unwrap();
        assert_eq!(found.inode, 4711);
        assert_eq!(found.local, Some(("198.51.100.2".parse().unwrap(), 5060)));
        assert_eq!(found.peer, Some(("198.51.100.9".parse().unwrap(), 4000)));
        assert_eq!(connection(&message([127, 0, 0, 1])), None);
        for len in 0..72 {
            assert_eq!(connection(&message([198, 51, 100, 9])[..len]), None);
        }
    }

    #[test]
    fn destroys_by_four_tuple() {
        let socket = OpenSocket {
            kind: SocketKind::Tcp,
            local: Some(("198.51.100.2".parse().unwrap(), 5060)),
            peer: Some(("198.51.100.9".parse().unwrap(), 4000)),
            inode: 1,
        };
        let request = destroy_request(&socket).unwrap();
        assert_eq!(request.len(), 72);
        assert_eq!(request[24..28], [0x13, 0xc4, 0x0f, 0xa0]);
        assert_eq!(request[28..32], [198, 51, 100, 2]);
    }
}
