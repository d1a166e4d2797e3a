//! Sockets that exist before a seal: what is open to the outside, and whose it is.

use std::{
    collections::HashSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::RawFd,
};

use anyhow::{Context as _, Result};

use super::{
    Holders,
    socket::{OpenSocket, SocketKind, is_outside},
    tcp::connections,
};
use crate::host::netns::Netns;

/// Sockets of a network namespace that reach beyond it: TCP connections and connected
/// UDP sockets with a peer that is neither loopback nor an own address, and all raw and
/// packet sockets. `storage`: the map of socket storage, so that connections tell their
/// tags.
///
/// # Errors
/// If the namespace cannot be entered.
pub fn open_sockets(netns: &Netns, storage: Option<RawFd>) -> Result<Vec<OpenSocket>> {
    let mut found = Vec::new();
    // For each read of these files the kernel walks its whole table of connections.
    let by_diag =
        connections(netns, storage).inspect_err(|error| log::debug!("no sock_diag: {error:#}"));
    let files: &[_] = match by_diag {
        Ok(connections) => {
            found.extend(connections);
            &[]
        }
        Err(_) => &[("tcp", SocketKind::Tcp), ("tcp6", SocketKind::Tcp)],
    };
    let files: Vec<_> = files
        .iter()
        .copied()
        .chain([
            ("udp", SocketKind::Udp),
            ("udp6", SocketKind::Udp),
            ("raw", SocketKind::Raw),
            ("raw6", SocketKind::Raw),
            ("packet", SocketKind::Packet),
        ])
        .collect();
    found.extend(netns.run(|| listed(&files))?);
    Ok(found)
}

/// What these files of `/proc/net` list, in the namespace of this thread.
fn listed(files: &[(&str, SocketKind)]) -> Result<Vec<OpenSocket>> {
    let mut found = Vec::new();
    for (file, kind) in files {
        let path = format!("/proc/thread-self/net/{file}");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // Without IPv6 the file is missing; udp is always there.
            Err(e) if e.kind() == io::ErrorKind::NotFound && *file != "udp" => continue,
            Err(e) => return Err(e).with_context(|| format!("cannot read {path}")),
        };
        found.extend(text.lines().skip(1).filter_map(|line| parse(line, *kind)));
    }
    Ok(found)
}

/// UDP sockets without a peer, in the namespace of this thread.
///
/// # Errors
/// If `/proc` cannot be read.
pub(super) fn bound_udp() -> Result<Vec<(IpAddr, u16)>> {
    let mut found = Vec::new();
    for file in ["udp", "udp6"] {
        let path = format!("/proc/thread-self/net/{file}");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound && file != "udp" => continue,
            Err(e) => return Err(e).with_context(|| format!("cannot read {path}")),
        };
        found.extend(text.lines().skip(1).filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let peer = endpoint(fields.get(2)?)?;
            (peer.1 == 0).then(|| endpoint(fields.get(1)?)).flatten()
        }));
    }
    Ok(found)
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
            cookie: None,
            cgroup: None,
            seal: None,
            exit: 0,
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
        cookie: None,
        cgroup: None,
        seal: None,
        exit: 0,
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

/// Whether a socket is the container's: made in one of its `cgroups`, or held by one of
/// its processes. Where the kernel does not say whose it is, one that nobody has accepted
/// yet is, unless others live in that network namespace (`shared`).
pub fn is_own(
    socket: &OpenSocket,
    cgroups: &HashSet<u64>,
    holders: &Holders,
    shared: bool,
) -> bool {
    match socket.cgroup {
        Some(cgroup) if cgroups.contains(&cgroup) => true,
        Some(_) => holders.contains_key(&socket.inode),
        None => holders.contains_key(&socket.inode) || (socket.inode == 0 && !shared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Holder;

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
    fn tells_whose_a_socket_is() {
        let socket = |inode, cgroup| OpenSocket {
            kind: SocketKind::Tcp,
            local: None,
            peer: None,
            inode,
            cookie: None,
            cgroup,
            seal: None,
            exit: 0,
        };
        let cgroups = HashSet::from([7]);
        let holders = Holders::from([(9, vec![Holder::default()])]);
        for (inode, cgroup, shared, own) in [
            // In a queue or a ring: no table of descriptors has it.
            (5, Some(7), false, true),
            (0, Some(7), true, true),
            (5, Some(8), false, false),
            // Carried in.
            (9, Some(8), false, true),
            (9, None, true, true),
            (0, None, false, true),
            (0, None, true, false),
            (5, None, false, false),
        ] {
            let found = is_own(&socket(inode, cgroup), &cgroups, &holders, shared);
            assert_eq!(found, own, "{inode} {cgroup:?} {shared}");
        }
    }
}
