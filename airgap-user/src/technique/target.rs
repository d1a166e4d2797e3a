//! Where a technique tries to get to, from the command line.

use super::sys::{Fail, Step};
use std::ffi::{CStr, CString};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The service port of a seal, unless told otherwise.
pub const SERVICE_PORT: u16 = 5060;

/// Ports are in host byte order. The marker is in everything that carries a payload.
pub struct Target {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub port: u16,
    pub marker: String,
    pub gateway: Ipv4Addr,
    pub gateway_mac: [u8; 6],
    /// The interface that leads to all of them.
    pub device: CString,
    /// A service port of the container.
    pub service: u16,
    /// A UDP service port of it, if it has any.
    pub datagrams: u16,
    /// Somebody listens on this port of the own addresses.
    pub listener: u16,
}

impl Target {
    /// Unknown and malformed arguments are left at their defaults: the harness writes them.
    pub fn parse(args: &[&str]) -> Self {
        let of = |name: &str| {
            args.iter()
                .position(|&a| a == name)
                .and_then(|i| args.get(i + 1))
        };
        let port = |name: &str| of(name).and_then(|a| a.parse().ok());
        let service = port("--service").unwrap_or(SERVICE_PORT);
        Self {
            v4: of("--v4")
                .and_then(|a| a.parse().ok())
                .unwrap_or(Ipv4Addr::LOCALHOST),
            v6: of("--v6")
                .and_then(|a| a.parse().ok())
                .unwrap_or(Ipv6Addr::LOCALHOST),
            port: port("--port").unwrap_or(SERVICE_PORT),
            marker: of("--marker").map_or_else(|| "airgap-probe".to_owned(), |&m| m.to_owned()),
            gateway: of("--gateway")
                .and_then(|a| a.parse().ok())
                .unwrap_or(Ipv4Addr::LOCALHOST),
            gateway_mac: of("--gateway-mac")
                .and_then(|a| mac(a))
                .unwrap_or([0xff; 6]),
            device: of("--device")
                .and_then(|&a| CString::new(a).ok())
                .unwrap_or_else(|| c"eth0".to_owned()),
            service,
            datagrams: port("--datagrams").unwrap_or(service),
            listener: port("--listener").unwrap_or(service),
        }
    }

    pub fn at4(&self) -> SocketAddr {
        SocketAddr::new(self.v4.into(), self.port)
    }

    pub fn at6(&self) -> SocketAddr {
        SocketAddr::new(self.v6.into(), self.port)
    }

    /// The IPv4 target as an IPv6 socket sees it.
    pub fn mapped(&self) -> SocketAddr {
        SocketAddr::new(self.v4.to_ipv6_mapped().into(), self.port)
    }

    pub fn payload(&self) -> &[u8] {
        self.marker.as_bytes()
    }

    /// The device's own IPv4 address.
    pub fn own4(&self) -> Step<Ipv4Addr> {
        let found = own(&self.device).v4;
        found.ok_or_else(|| Fail::Skip("no own IPv4 address".to_owned()))
    }

    /// The device's own global IPv6 address.
    pub fn own6(&self) -> Step<Ipv6Addr> {
        let found = own(&self.device).v6;
        found.ok_or_else(|| Fail::Skip("no own IPv6 address".to_owned()))
    }

    /// The device's own hardware address.
    pub fn own_mac(&self) -> Step<[u8; 6]> {
        let found = own(&self.device).mac;
        found.ok_or_else(|| Fail::Skip("no own hardware address".to_owned()))
    }

    /// The device's index.
    pub fn index(&self) -> Step<u32> {
        // SAFETY: `device` is NUL-terminated.
        let index = unsafe { libc::if_nametoindex(self.device.as_ptr()) };
        if index == 0 {
            return Err(Fail::Skip(format!("no device {:?}", self.device)));
        }
        Ok(index)
    }
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|b| u8::from_str_radix(b, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    bytes.try_into().ok()
}

/// Addresses of one interface.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    pub v4: Option<Ipv4Addr>,
    /// A global one.
    pub v6: Option<Ipv6Addr>,
    pub mac: Option<[u8; 6]>,
}

/// The addresses of `device`, from getifaddrs: no packet is sent.
pub fn own(device: &CStr) -> Own {
    let mut found = Own::default();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs fills `list` with a list that stays valid until freeifaddrs.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return found;
    }
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: `entry` is a node of the list, checked against null; its name is a C string.
        let (node, name) = unsafe { (&*entry, CStr::from_ptr((*entry).ifa_name)) };
        if name == device {
            add(&mut found, node.ifa_addr);
        }
        entry = node.ifa_next;
    }
    // SAFETY: `list` came from getifaddrs and is freed once.
    unsafe { libc::freeifaddrs(list) };
    found
}

fn add(found: &mut Own, raw: *const libc::sockaddr) {
    if raw.is_null() {
        return;
    }
    // SAFETY: a non-null ifa_addr has at least a family, which decides its real type.
    unsafe {
        match i32::from((*raw).sa_family) {
            libc::AF_INET => {
                let v4 = &*raw.cast::<libc::sockaddr_in>();
                found.v4 = Some(v4.sin_addr.s_addr.to_ne_bytes().into());
            }
            libc::AF_INET6 => {
                let v6 = Ipv6Addr::from((*raw.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr);
                if !v6.is_unicast_link_local() {
                    found.v6 = Some(v6);
                }
            }
            libc::AF_PACKET => {
                let link = &*raw.cast::<libc::sockaddr_ll>();
                found.mac = link.sll_addr[..6].try_into().ok();
            }
            _ => {}
        }
    }
}
