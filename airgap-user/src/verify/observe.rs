//! Witnesses: recorders of frames, and listeners on the container's loopback.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    mem,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

use super::sighting::{Sighting, Sightings, Trace};

const SNAP: usize = 512;
const PACKET_IGNORE_OUTGOING: i32 = 23;

/// Most frames, datagrams or calls that are taken at once: whoever sends without
/// end must not keep a witness for ever. What the kernel cannot queue meanwhile
/// it counts as lost.
const AT_ONCE: usize = 1024;
/// Most connections that are listened to; the oldest give way.
const STREAMS: usize = 64;

/// A recorder of what comes in on one interface.
#[derive(Debug)]
pub(super) struct Tap {
    socket: OwnedFd,
    pub(super) sightings: Sightings,
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
            sightings: Sightings::default(),
        })
    }

    /// Takes over what has come in since the last call; whether that was all.
    pub(super) fn drain(&mut self) -> bool {
        let mut frame = [0_u8; SNAP];
        for _ in 0..AT_ONCE {
            let fd = self.socket.as_raw_fd();
            // SAFETY: the pointer and length describe `frame`.
            let got = unsafe { libc::recv(fd, frame.as_mut_ptr().cast(), SNAP, 0) };
            let Ok(len) = usize::try_from(got) else {
                return true;
            };
            self.sightings.frame(&frame[..len.min(SNAP)]);
        }
        false
    }

    pub(super) fn saw(&self, trace: &Trace) -> Sighting {
        self.sightings.of(trace)
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
    streams: VecDeque<TcpStream>,
    pub(super) sightings: Sightings,
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
            streams: VecDeque::new(),
            sightings: Sightings::default(),
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
            for _ in 0..AT_ONCE {
                let Ok(len) = socket.recv(&mut buffer) else {
                    break;
                };
                self.sightings.marked(&buffer[..len]);
            }
        }
        for listener in &self.listeners {
            for _ in 0..AT_ONCE {
                let Ok((stream, from)) = listener.accept() else {
                    break;
                };
                self.sightings.port(from.port());
                if stream.set_nonblocking(true).is_ok() {
                    self.streams.push_back(stream);
                }
            }
        }
        while self.streams.len() > STREAMS {
            self.streams.pop_front();
        }
        for stream in &mut self.streams {
            for _ in 0..STREAMS {
                let Ok(len @ 1..) = stream.read(&mut buffer) else {
                    break;
                };
                self.sightings.marked(&buffer[..len]);
            }
        }
    }

    pub(super) fn heard(&self, trace: &Trace) -> Sighting {
        self.sightings.of(trace)
    }
}
