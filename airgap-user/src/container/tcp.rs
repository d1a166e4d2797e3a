//! TCP connections of a network namespace by sock_diag(7): whose they are, which seal
//! they were opened under, and how one of them is ended.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::RawFd,
};

use airgap_common::map::{Storage, Tag};
use anyhow::Result;

use super::socket::{OpenSocket, SocketKind, is_outside};
use crate::host::{
    netlink::{Message, Netlink, SOCK_DIAG_BY_FAMILY, attributes},
    netns::Netns,
};

/// Bytes of `struct inet_diag_msg`.
const DIAG_MSG: usize = 72;

/// Connections with a peer that is neither loopback nor an own address; not those in
/// TIME_WAIT, nor those whose handshake is not over. `storage`: the map of socket
/// storage, so that each tells its tag.
///
/// # Errors
/// If the kernel lists none.
pub fn connections(netns: &Netns, storage: Option<RawFd>) -> Result<Vec<OpenSocket>> {
    /// All but SYN_RECV, TIME_WAIT, LISTEN and NEW_SYN_RECV (include/net/tcp_states.h).
    const STATES: u32 = 0xfff & !(1 << 3 | 1 << 6 | 1 << 10);
    netns.run(|| {
        let mut found = Vec::new();
        let netlink = Netlink::diag()?;
        for family in [libc::AF_INET, libc::AF_INET6] {
            let request = request(family as u8, STATES, &Endpoints::ANY, storage);
            netlink.dump(SOCK_DIAG_BY_FAMILY, &request, |message| {
                found.extend(connection(message));
            })?;
        }
        Ok(found)
    })
}

/// Addresses and ports that TCP listens on in the namespace of this thread.
///
/// # Errors
/// If the kernel has no sock_diag.
pub(super) fn listeners() -> Result<Vec<(IpAddr, u16)>> {
    const LISTEN: u32 = 1 << 10;
    let netlink = Netlink::diag()?;
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let request = request(family as u8, LISTEN, &Endpoints::ANY, None);
        netlink.dump(SOCK_DIAG_BY_FAMILY, &request, |message| {
            found.extend(endpoint(message, 4, 8));
        })?;
    }
    Ok(found)
}

/// Listeners of a network namespace, each with the cgroup that it was made in (Linux 5.9).
///
/// # Errors
/// If the kernel lists none.
pub fn listening_sockets(netns: &Netns) -> Result<Vec<OpenSocket>> {
    const LISTEN: u32 = 1 << 10;
    netns.run(|| {
        let mut found = Vec::new();
        let netlink = Netlink::diag()?;
        for family in [libc::AF_INET, libc::AF_INET6] {
            let request = request(family as u8, LISTEN, &Endpoints::ANY, None);
            netlink.dump(SOCK_DIAG_BY_FAMILY, &request, |message| {
                found.extend(told(message));
            })?;
        }
        Ok(found)
    })
}

/// What `struct inet_diag_sockid` names.
struct Endpoints {
    local: (IpAddr, u16),
    peer: (IpAddr, u16),
    cookie: [u8; 8],
}

impl Endpoints {
    const NOBODY: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    /// No port or address to look for, and any cookie.
    const ANY: Self = Self {
        local: Self::NOBODY,
        peer: Self::NOBODY,
        cookie: [0; 8],
    };
}

/// `struct inet_diag_req_v2` and, for `storage`, the wish to see that map's values
/// (include/uapi/linux/inet_diag.h, sock_diag.h; Linux 5.7, ignored before).
fn request(family: u8, states: u32, ends: &Endpoints, storage: Option<RawFd>) -> Vec<u8> {
    const INET_DIAG_REQ_SK_BPF_STORAGES: u16 = 2;
    const SK_DIAG_BPF_STORAGE_REQ_MAP_FD: u16 = 1;
    let mut out = vec![family, libc::IPPROTO_TCP as u8, 0, 0];
    out.extend(states.to_ne_bytes());
    out.extend(ends.local.1.to_be_bytes());
    out.extend(ends.peer.1.to_be_bytes());
    for (address, _) in [ends.local, ends.peer] {
        match address {
            IpAddr::V4(a) => {
                out.extend(a.octets());
                out.extend([0; 12]);
            }
            IpAddr::V6(a) => out.extend(a.octets()),
        }
    }
    out.extend([0; 4]); // any interface
    out.extend(ends.cookie);
    if let Some(fd) = storage {
        out.extend(12u16.to_ne_bytes());
        out.extend(INET_DIAG_REQ_SK_BPF_STORAGES.to_ne_bytes());
        out.extend(8u16.to_ne_bytes());
        out.extend(SK_DIAG_BPF_STORAGE_REQ_MAP_FD.to_ne_bytes());
        out.extend(fd.to_ne_bytes());
    }
    out
}

/// Ends what the sockets of a cgroup have left behind in this thread's network namespace:
/// a connection that is closed goes on sending what it has, without a process. Returns how
/// many are there still; `None`: this kernel has no `tcp_diag`, which tells them. Before
/// Linux 5.9 it does not tell whose they are.
///
/// # Errors
/// If the kernel lists none, or lacks `CONFIG_INET_DIAG_DESTROY`.
pub fn end_orphans(cgroup: u64) -> Result<Option<usize>> {
    /// All but TIME_WAIT and NEW_SYN_RECV, which have no data.
    const STATES: u32 = 0xfff & !(1 << 6);
    let netlink = Netlink::diag()?;
    let mut left = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let request = request(family as u8, STATES, &Endpoints::ANY, None);
        let dumped = netlink.dump(SOCK_DIAG_BY_FAMILY, &request, |message| {
            left.extend(told(message).filter(|socket| socket.cgroup == Some(cgroup)));
        });
        match dumped {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            dumped => dumped?,
        };
    }
    let mut gone = 0;
    for request in left.iter().filter_map(destroy_request) {
        gone += usize::from(end(&netlink, &request)?);
    }
    Ok(Some(left.len() - gone))
}

/// A connection that leads outside.
fn connection(message: &[u8]) -> Option<OpenSocket> {
    told(message).filter(|socket| {
        let ends = socket.local.zip(socket.peer);
        ends.is_some_and(|(local, peer)| is_outside(local.0, peer.0))
    })
}

/// `struct inet_diag_msg` and its attributes.
fn told(message: &[u8]) -> Option<OpenSocket> {
    /// Id of the socket's cgroup (Linux 5.9).
    const INET_DIAG_CGROUP_ID: u16 = 21;
    const INET_DIAG_SK_BPF_STORAGES: u16 = 20;
    let (local, peer) = (endpoint(message, 4, 8)?, endpoint(message, 6, 24)?);
    let cookie: [u8; 8] = message.get(44..52)?.try_into().ok()?;
    let inode = u32::from_ne_bytes(message.get(68..DIAG_MSG)?.try_into().ok()?);
    let (mut cgroup, mut tag) = (None, None);
    for (kind, value) in attributes(message.get(DIAG_MSG..)?) {
        match kind {
            INET_DIAG_CGROUP_ID => cgroup = value.try_into().ok().map(u64::from_ne_bytes),
            INET_DIAG_SK_BPF_STORAGES => tag = tag_in(value),
            _ => {}
        }
    }
    Some(OpenSocket {
        kind: SocketKind::Tcp,
        local: Some(local),
        peer: Some(peer),
        inode: inode.into(),
        cookie: Some(cookie),
        cgroup,
        seal: tag.map(|tag| tag.seal),
        exit: tag
            .filter(|tag| tag.is_exit(tag.seal))
            .map_or(0, |tag| tag.epoch),
    })
}

/// An address and a port of `struct inet_diag_msg`, by where each begins.
fn endpoint(message: &[u8], port: usize, at: usize) -> Option<(IpAddr, u16)> {
    let port = u16::from_be_bytes(message.get(port..port + 2)?.try_into().ok()?);
    let octets: [u8; 16] = message.get(at..at + 16)?.try_into().ok()?;
    let ip = if i32::from(*message.first()?) == libc::AF_INET {
        let [a, b, c, d, ..] = octets;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
    };
    Some((ip, port))
}

/// The tag in `INET_DIAG_SK_BPF_STORAGES`, of which there is one value.
fn tag_in(storages: &[u8]) -> Option<Tag> {
    const SK_DIAG_BPF_STORAGE: u16 = 1;
    const SK_DIAG_BPF_STORAGE_MAP_VALUE: u16 = 3;
    let (_, storage) = attributes(storages).find(|(kind, _)| *kind == SK_DIAG_BPF_STORAGE)?;
    let (_, value) =
        attributes(storage).find(|(kind, _)| *kind == SK_DIAG_BPF_STORAGE_MAP_VALUE)?;
    if value.len() < size_of::<Storage>() {
        return None;
    }
    // SAFETY: as many bytes as a Storage has, and it is valid whatever they are.
    let storage: Storage = unsafe { std::ptr::read_unaligned(value.as_ptr().cast()) };
    Some(storage.tag)
}

/// Ends TCP connections of a network namespace, so that programs learn of it at once;
/// returns how many are gone. Each is named by its cookie: another that has its
/// addresses by now, or a listener, is left alone.
///
/// # Errors
/// If the namespace cannot be entered or the kernel lacks
/// `CONFIG_INET_DIAG_DESTROY`.
pub fn destroy(netns: &Netns, connections: &[OpenSocket]) -> Result<usize> {
    let requests: Vec<_> = connections.iter().filter_map(destroy_request).collect();
    netns.run(|| {
        let netlink = Netlink::diag()?;
        let mut gone = 0;
        for request in &requests {
            gone += usize::from(end(&netlink, request)?);
        }
        Ok(gone)
    })
}

/// Whether it is gone by this; if not, it ended by itself, or another has its addresses.
fn end(netlink: &Netlink, request: &[u8]) -> Result<bool> {
    match netlink.ask(request) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => {
            Ok(false)
        }
        Err(error) => Err(cannot_cut(error)),
    }
}

fn cannot_cut(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot cut existing connections (SOCK_DESTROY)")
}

/// A SOCK_DESTROY message (include/uapi/linux/sock_diag.h). None without a cookie: with
/// any cookie, the kernel takes the listener where the connection has just gone.
fn destroy_request(socket: &OpenSocket) -> Option<Vec<u8>> {
    const SOCK_DESTROY: u16 = 21;
    let (local, peer, cookie) = (socket.local?, socket.peer?, socket.cookie?);
    let family = match local.0 {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };
    let ends = Endpoints {
        local,
        peer,
        cookie,
    };
    let body = request(family as u8, u32::MAX, &ends, None);
    Some(Message::new(SOCK_DESTROY, 0, &body).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(peer: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![libc::AF_INET as u8, 1, 0, 0, 0x13, 0xc4, 0x0f, 0xa0];
        for address in [[198, 51, 100, 2], peer] {
            bytes.extend(address);
            bytes.extend([0; 12]);
        }
        bytes.extend([0; 4]);
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.resize(68, 0);
        bytes.extend(4711_u32.to_ne_bytes());
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = (4 + value.len() as u16).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn reads_what_sock_diag_says() {
        let found = connection(&message([198, 51, 100, 9])).unwrap();
        assert_eq!(
            (found.inode, found.cookie),
            (4711, Some([1, 2, 3, 4, 5, 6, 7, 8]))
        );
        assert_eq!(found.local, Some(("198.51.100.2".parse().unwrap(), 5060)));
        assert_eq!(found.peer, Some(("198.51.100.9".parse().unwrap(), 4000)));
        assert_eq!((found.cgroup, found.seal), (None, None));
        assert_eq!(connection(&message([127, 0, 0, 1])), None);
        for len in 0..DIAG_MSG {
            assert_eq!(connection(&message([198, 51, 100, 9])[..len]), None);
        }
    }

    #[test]
    fn reads_cgroup_and_tag() {
        let mut value = vec![0; size_of::<Storage>()];
        value[..8].copy_from_slice(&77u64.to_ne_bytes());
        let storage = [attribute(2, &[1, 0, 0, 0]), attribute(3, &value)].concat();
        let mut bytes = message([198, 51, 100, 9]);
        bytes.extend(attribute(21, &4242u64.to_ne_bytes()));
        bytes.extend(attribute(20, &attribute(1, &storage)));
        let found = connection(&bytes).unwrap();
        assert_eq!((found.cgroup, found.seal), (Some(4242), Some(77)));
        assert_eq!(found.exit, 0);
        for len in 0..bytes.len() {
            let _ = connection(&bytes[..len]);
        }
        assert_eq!(tag_in(&attribute(1, &attribute(3, &value[1..]))), None);
        // One that an exception let connect: its number in the place of the epoch.
        value[8..12].copy_from_slice(&9u32.to_ne_bytes());
        let mut bytes = message([198, 51, 100, 9]);
        bytes.extend(attribute(20, &attribute(1, &attribute(3, &value))));
        let found = connection(&bytes).unwrap();
        assert_eq!((found.seal, found.exit), (Some(77), 9));
    }

    #[test]
    fn destroys_by_addresses_and_cookie() {
        let socket = connection(&message([198, 51, 100, 9])).unwrap();
        let request = destroy_request(&socket).unwrap();
        assert_eq!(request.len(), 72);
        assert_eq!(request[24..28], [0x13, 0xc4, 0x0f, 0xa0]);
        assert_eq!(request[28..32], [198, 51, 100, 2]);
        assert_eq!(request[64..72], [1, 2, 3, 4, 5, 6, 7, 8]);
        let unknown = OpenSocket {
            cookie: None,
            ..socket
        };
        assert_eq!(destroy_request(&unknown), None);
    }

    #[test]
    fn an_older_cookie_ends_nothing() {
        use std::net::{TcpListener, TcpStream};
        let netns = Netns::own().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (local, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let socket = OpenSocket {
            kind: SocketKind::Tcp,
            local: Some((local.ip(), local.port())),
            peer: Some((peer.ip(), peer.port())),
            inode: 0,
            cookie: Some([9; 8]),
            cgroup: None,
            seal: None,
            exit: 0,
        };
        // Without the right to, the kernel says EPERM; it must never say that one is gone.
        assert_ne!(destroy(&netns, &[socket]).unwrap_or(0), 1);
        TcpStream::connect(listener.local_addr().unwrap()).expect("the listener lives");
    }
}
