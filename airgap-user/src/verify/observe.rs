//! Witnesses: recorders of frames, and listeners on the container's loopback.

use std::{
    io::{self, Read as _},
    mem,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

const SNAP: usize = 512;
const PACKET_IGNORE_OUTGOING: i32 = 23;

/// An attempt, as its traces show it: both are its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) port: u16,
    pub(super) marker: String,
}

impl Trace {
    /// Whether a frame comes from this attempt: by its marker, its port, or the
    /// multicast group that has the port in it.
    pub(super) fn is_in(&self, frame: &[u8]) -> bool {
        let [high, low] = self.port.to_be_bytes();
        let has = |wanted: &[u8]| frame.windows(wanted.len()).any(|w| w == wanted);
        has(self.marker.as_bytes())
            || has(&[239, 50, high, low])
            || ports(frame).is_some_and(|(from, to)| from == self.port || to == self.port)
    }
}

/// Source and destination port of an Ethernet frame with TCP, UDP or UDP-Lite
/// in it, behind any IPv4 options or IPv6 extension headers.
fn ports(frame: &[u8]) -> Option<(u16, u16)> {
    let u16_at = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let (mut protocol, mut at) = match u16_at(12)? {
        0x0800 => (*frame.get(23)?, 14 + usize::from(frame.get(14)? & 0xf) * 4),
        0x86dd => (*frame.get(20)?, 54),
        _ => return None,
    };
    if u16_at(12)? == 0x86dd {
        // Hop-by-hop, routing and destination options.
        while matches!(protocol, 0 | 43 | 60) {
            protocol = *frame.get(at)?;
            at += 8 + usize::from(*frame.get(at + 1)?) * 8;
        }
    }
    matches!(protocol, 6 | 17 | 136).then(|| Some((u16_at(at)?, u16_at(at + 2)?)))?
}

/// A frame in a few words.
pub(super) fn describe(frame: &[u8]) -> String {
    let kind = frame
        .get(12..14)
        .map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    let protocol = match kind {
        0x0800 => frame.get(23),
        0x86dd => frame.get(20),
        _ => None,
    };
    match (protocol, ports(frame)) {
        (Some(protocol), Some((from, to))) => format!("protocol {protocol}, port {from} to {to}"),
        (Some(protocol), None) => format!("protocol {protocol}"),
        _ => format!("EtherType {kind:#06x}"),
    }
}

/// Whether a kernel sends this on its own when an interface comes up or a
/// neighbour asks: ARP without a trailer, IGMP, and ICMPv6 for groups and
/// neighbours. None of it can be told from an attempt that failed to mark it.
pub(super) fn is_chatter(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([8, 6]) => frame.len() <= 60,
        Some([8, 0]) => frame.get(23) == Some(&2),
        Some([0x86, 0xdd]) => {
            let at = if frame.get(20) == Some(&0) { 62 } else { 54 };
            frame
                .get(at)
                .is_some_and(|kind| matches!(kind, 130..=137 | 143))
        }
        _ => false,
    }
}

/// A recorder of what comes in on one interface.
#[derive(Debug)]
pub(super) struct Tap {
    socket: OwnedFd,
    frames: Vec<Vec<u8>>,
}

impl Tap {
    /// Records from now on; to be called inside the interface's namespace.
    pub(super) fn open(index: u32) -> io::Result<Self> {
        // Bound before the protocol is set, or it would record other interfaces for an instant.
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        set(
            &socket,
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            &(8_i32 << 20),
        )?;
        set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1_i32)?;
        let promiscuous = libc::packet_mreq {
            mr_ifindex: index as i32,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        let add = libc::PACKET_ADD_MEMBERSHIP;
        set(&socket, libc::SOL_PACKET, add, &promiscuous)?;
        // SAFETY: all-zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index as i32;
        let len = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the pointer and length describe `address`.
        if unsafe { libc::bind(fd, (&raw const address).cast(), len) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            socket,
            frames: Vec::new(),
        })
    }

    /// Takes over what has come in since the last call.
    pub(super) fn drain(&mut self) {
        loop {
            let mut frame = vec![0; SNAP];
            let fd = self.socket.as_raw_fd();
            // SAFETY: the pointer and length describe `frame`.
            let got = unsafe { libc::recv(fd, frame.as_mut_ptr().cast(), SNAP, 0) };
            let Ok(len) = usize::try_from(got) else {
                return;
            };
            frame.truncate(len);
            self.frames.push(frame);
        }
    }

    /// What was recorded, oldest first.
    pub(super) fn frames(&self) -> &[Vec<u8>] {
        &self.frames
    }

    pub(super) fn saw(&self, trace: &Trace) -> bool {
        self.frames.iter().any(|frame| trace.is_in(frame))
    }

    /// Frames that the kernel could not queue since the last call.
    pub(super) fn lost(&self) -> io::Result<u32> {
        let mut stats = [0_u32; 2];
        let mut len = size_of_val(&stats) as u32;
        // SAFETY: pointers and length describe `stats` (struct tpacket_stats) and `len`.
        let rc = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                stats.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if rc == 0 {
            Ok(stats[1])
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let (pointer, len): (*const T, _) = (value, size_of::<T>() as u32);
    // SAFETY: the pointer and length describe `value`.
    let rc = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, pointer.cast(), len) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Listeners in the container's network namespace that belong to airgap, and
/// so to no sealed cgroup. All have the same port.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) port: u16,
    datagrams: Vec<UdpSocket>,
    listeners: Vec<TcpListener>,
    streams: Vec<TcpStream>,
    heard: Vec<Vec<u8>>,
    callers: Vec<u16>,
}

impl Guest {
    /// Listens; to be called inside the namespace. Addresses that cannot be
    /// bound, such as IPv6 ones where there is none, have no listener.
    pub(super) fn listen(addresses: &[IpAddr]) -> Result<Self> {
        let (first, rest) = addresses.split_first().context("no address to listen on")?;
        let listener = TcpListener::bind((*first, 0)).context("cannot listen")?;
        let port = listener.local_addr().context("cannot listen")?.port();
        let mut guest = Self {
            port,
            datagrams: vec![UdpSocket::bind((*first, port)).context("cannot listen")?],
            listeners: vec![listener],
            streams: Vec::new(),
            heard: Vec::new(),
            callers: Vec::new(),
        };
        for at in rest.iter().map(|ip| SocketAddr::new(*ip, port)) {
            guest.listeners.extend(TcpListener::bind(at));
            guest.datagrams.extend(UdpSocket::bind(at));
        }
        for socket in &guest.listeners {
            socket.set_nonblocking(true)?;
        }
        for socket in &guest.datagrams {
            socket.set_nonblocking(true)?;
        }
        Ok(guest)
    }

    /// Takes over what has come in since the last call.
    pub(super) fn drain(&mut self) {
        let mut buffer = [0; SNAP];
        for socket in &self.datagrams {
            while let Ok(len) = socket.recv(&mut buffer) {
                self.heard.push(buffer[..len].to_vec());
            }
        }
        for listener in &self.listeners {
            while let Ok((stream, from)) = listener.accept() {
                self.callers.push(from.port());
                if stream.set_nonblocking(true).is_ok() {
                    self.streams.push(stream);
                }
            }
        }
        for stream in &mut self.streams {
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                self.heard.push(buffer[..len].to_vec());
            }
        }
    }

    pub(super) fn heard(&self, trace: &Trace) -> bool {
        let marker = trace.marker.as_bytes();
        let has = |bytes: &Vec<u8>| bytes.windows(marker.len()).any(|w| w == marker);
        self.callers.contains(&trace.port) || self.heard.iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        Trace {
            port: 20_001,
            marker: "ag20001xbeef".into(),
        }
    }

    /// Ethernet, IPv4 with `options` words of options, UDP from 5060 to `port`.
    fn udp4(options: usize, port: u16) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45 + options as u8]);
        frame.extend([0; 8]);
        frame.push(17);
        frame.extend(vec![0; 10 + options * 4]);
        frame.extend(5060_u16.to_be_bytes());
        frame.extend(port.to_be_bytes());
        frame
    }

    #[test]
    fn knows_its_own_frames() {
        assert!(trace().is_in(&udp4(0, 20_001)));
        assert!(trace().is_in(&udp4(3, 20_001)));
        assert!(!trace().is_in(&udp4(0, 20_002)));
        assert!(trace().is_in(b"anything ag20001xbeef"));
        assert!(trace().is_in(&[9, 239, 50, 0x4e, 0x21]));
        assert!(!trace().is_in(&[]));
    }

    #[test]
    fn describes_frames() {
        assert_eq!(describe(&udp4(0, 9)), "protocol 17, port 5060 to 9");
        assert_eq!(describe(&[0; 14]), "EtherType 0x0000");
        assert_eq!(describe(&[]), "EtherType 0x0000");
    }

    #[test]
    fn looks_behind_extension_headers() {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 43, 64]);
        frame.extend([0; 32]);
        // A routing header of 24 bytes, then UDP.
        frame.extend([17, 2, 4, 0]);
        frame.extend([0; 20]);
        frame.extend(20_001_u16.to_be_bytes());
        frame.extend(9_u16.to_be_bytes());
        assert_eq!(ports(&frame), Some((20_001, 9)));
        for cut in 0..frame.len() {
            assert_eq!(ports(&frame[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn chatter_is_what_kernels_say() {
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert!(is_chatter(&arp));
        arp.resize(80, 0);
        assert!(!is_chatter(&arp));
        assert!(!is_chatter(&udp4(0, 9)));
        assert!(!is_chatter(&[]));
    }
}
