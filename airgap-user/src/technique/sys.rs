//! Thin, safe wrappers over the socket calls whose errno the proofs look at.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

/// Why a technique did not get to its end.
pub enum Fail {
    /// A system call failed.
    Os { step: &'static str, errno: i32 },
    /// This kernel or container cannot even try.
    Skip(String),
}

pub type Step<T> = Result<T, Fail>;

pub const CALL_TIMEOUT: Duration = Duration::from_millis(700);

/// The last errno as a failure of `step`.
pub fn os(step: &'static str) -> Fail {
    Fail::Os {
        step,
        errno: io::Error::last_os_error().raw_os_error().unwrap_or(0),
    }
}

/// Turns a return value into a failure of `step` when it is negative.
pub fn check(step: &'static str, value: impl Into<i64>) -> Step<i64> {
    let value = value.into();
    if value < 0 { Err(os(step)) } else { Ok(value) }
}

/// The wildcard address of `at`'s family.
pub fn unspecified(at: SocketAddr, port: u16) -> SocketAddr {
    let any = if at.is_ipv4() { "0.0.0.0" } else { "::" };
    SocketAddr::new(any.parse().unwrap_or(at.ip()), port)
}

/// A socket that gives up after [`CALL_TIMEOUT`].
pub struct Socket(pub OwnedFd);

impl Socket {
    /// A socket as it comes, without the time limit.
    pub fn open(family: i32, kind: i32, protocol: i32) -> Step<Self> {
        // SAFETY: socket takes no pointers.
        let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
        check("socket", fd)?;
        // SAFETY: `fd` was just opened and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn new(family: i32, kind: i32, protocol: i32) -> Step<Self> {
        let socket = Self::open(family, kind, protocol)?;
        let limit = libc::timeval {
            tv_sec: 0,
            tv_usec: CALL_TIMEOUT.subsec_micros().into(),
        };
        socket.set("SO_SNDTIMEO", libc::SOL_SOCKET, libc::SO_SNDTIMEO, &limit)?;
        socket.set("SO_RCVTIMEO", libc::SOL_SOCKET, libc::SO_RCVTIMEO, &limit)?;
        Ok(socket)
    }

    pub fn tcp(address: SocketAddr) -> Step<Self> {
        Self::new(family(address), libc::SOCK_STREAM, 0)
    }

    pub fn udp(address: SocketAddr) -> Step<Self> {
        Self::new(family(address), libc::SOCK_DGRAM, 0)
    }

    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    pub fn set<T>(&self, step: &'static str, level: i32, name: i32, value: &T) -> Step<()> {
        let (pointer, len): (*const T, _) = (value, size_of::<T>());
        // SAFETY: the pointer and length describe `value`.
        let rc = unsafe { libc::setsockopt(self.fd(), level, name, pointer.cast(), len as u32) };
        check(step, rc).map(drop)
    }

    pub fn set_bytes(&self, step: &'static str, level: i32, name: i32, value: &[u8]) -> Step<()> {
        // SAFETY: the pointer and length describe `value`.
        let rc = unsafe {
            libc::setsockopt(
                self.fd(),
                level,
                name,
                value.as_ptr().cast(),
                value.len() as u32,
            )
        };
        check(step, rc).map(drop)
    }

    /// Ties the socket to one network device.
    pub fn bind_device(&self, device: &CStr) -> Step<()> {
        self.set_bytes(
            "SO_BINDTODEVICE",
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            device.to_bytes_with_nul(),
        )
    }

    pub fn bind(&self, address: SocketAddr) -> Step<()> {
        let raw = Raw::from(address);
        // SAFETY: the pointer and length describe `raw`.
        check("bind", unsafe {
            libc::bind(self.fd(), raw.pointer(), raw.len)
        })
        .map(drop)
    }

    /// Binds to a port that a listener already has: every probe socket shares its ports.
    pub fn share_port(&self) -> Step<()> {
        self.set("SO_REUSEADDR", libc::SOL_SOCKET, libc::SO_REUSEADDR, &1_i32)?;
        self.set("SO_REUSEPORT", libc::SOL_SOCKET, libc::SO_REUSEPORT, &1_i32)
    }

    /// Binds to the attempt's own port, for what carries no marker. It is free again at once,
    /// as closing a connection resets it.
    pub fn bind_own_port(&self, port: u16, to: SocketAddr) -> Step<()> {
        let at_once = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        self.set("SO_LINGER", libc::SOL_SOCKET, libc::SO_LINGER, &at_once)?;
        self.share_port()?;
        self.bind(unspecified(to, port))
    }

    pub fn listen(&self) -> Step<()> {
        // SAFETY: listen takes no pointers.
        check("listen", unsafe { libc::listen(self.fd(), 16) }).map(drop)
    }

    pub fn accept(&self) -> Step<Self> {
        let null = std::ptr::null_mut();
        // SAFETY: null pointers are allowed and mean that no address is wanted.
        let fd = unsafe { libc::accept4(self.fd(), null, null.cast(), libc::SOCK_CLOEXEC) };
        check("accept", fd)?;
        // SAFETY: `fd` was just opened and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn connect(&self, address: SocketAddr) -> Step<()> {
        let raw = Raw::from(address);
        // SAFETY: the pointer and length describe `raw`.
        check("connect", unsafe {
            libc::connect(self.fd(), raw.pointer(), raw.len)
        })
        .map(drop)
    }

    /// `connect` to AF_UNSPEC: back to an unconnected socket.
    pub fn disconnect(&self) -> Step<()> {
        let none = [0_u8; 16];
        // SAFETY: 16 zero bytes are a sockaddr of family AF_UNSPEC.
        let rc = unsafe { libc::connect(self.fd(), none.as_ptr().cast(), 16) };
        check("connect(AF_UNSPEC)", rc).map(drop)
    }

    pub fn send(&self, payload: &[u8], flags: i32) -> Step<()> {
        // SAFETY: the pointer and length describe `payload`.
        let rc = unsafe {
            libc::send(
                self.fd(),
                payload.as_ptr().cast(),
                payload.len(),
                flags | libc::MSG_NOSIGNAL,
            )
        };
        check("send", rc as i64).map(drop)
    }

    pub fn send_to(&self, payload: &[u8], flags: i32, address: SocketAddr) -> Step<()> {
        let raw = Raw::from(address);
        // SAFETY: the pointers and lengths describe `payload` and `raw`.
        let rc = unsafe {
            libc::sendto(
                self.fd(),
                payload.as_ptr().cast(),
                payload.len(),
                flags | libc::MSG_NOSIGNAL,
                raw.pointer(),
                raw.len,
            )
        };
        check("sendto", rc as i64).map(drop)
    }

    /// Bytes received, at most `buffer`'s length.
    pub fn receive(&self, buffer: &mut [u8]) -> Step<usize> {
        // SAFETY: the pointer and length describe `buffer`.
        let rc = unsafe { libc::recv(self.fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        check("recv", rc as i64).map(|len| usize::try_from(len).unwrap_or(0))
    }

    /// The same, and who sent it.
    pub fn receive_from(&self, buffer: &mut [u8]) -> Step<(usize, SocketAddr)> {
        // A std socket knows how to read every address; it must not close the descriptor.
        // SAFETY: the descriptor stays open for the call and is not closed by `borrowed`.
        let borrowed =
            std::mem::ManuallyDrop::new(unsafe { std::net::UdpSocket::from_raw_fd(self.fd()) });
        borrowed.recv_from(buffer).map_err(|_e| os("recvfrom"))
    }

    pub fn local(&self) -> Step<SocketAddr> {
        // A std socket knows how to read every address; it must not close the descriptor.
        // SAFETY: the descriptor stays open for the call and is not closed by `borrowed`.
        let borrowed =
            std::mem::ManuallyDrop::new(unsafe { std::net::UdpSocket::from_raw_fd(self.fd()) });
        borrowed.local_addr().map_err(|_e| os("getsockname"))
    }
}

/// The index of a network device of this namespace.
pub fn interface(device: &CStr) -> Step<u32> {
    // SAFETY: the name is NUL-terminated.
    let index = unsafe { libc::if_nametoindex(device.as_ptr()) };
    check("if_nametoindex", i64::from(index) - 1)?;
    Ok(index)
}

pub fn family(address: SocketAddr) -> i32 {
    if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    }
}

/// A socket address as the kernel reads it: ports and addresses in network byte order.
pub struct Raw {
    bytes: [u8; 28],
    pub len: u32,
}

impl Raw {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    pub fn pointer(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }
}

impl From<SocketAddr> for Raw {
    fn from(address: SocketAddr) -> Self {
        let mut bytes = [0; 28];
        bytes[..2].copy_from_slice(&(family(address) as u16).to_ne_bytes());
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address.ip() {
            IpAddr::V4(v4) => bytes[4..8].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes[8..24].copy_from_slice(&v6.octets()),
        }
        Self {
            bytes,
            len: if address.is_ipv4() { 16 } else { 28 },
        }
    }
}
