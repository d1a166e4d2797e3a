//! Where a technique tries to get to, from the command line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Ports are in host byte order. The marker is in everything that carries a payload.
pub struct Target {
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub port: u16,
    pub marker: String,
    pub gateway: Ipv4Addr,
    pub gateway_mac: [u8; 6],
}

impl Target {
    /// Unknown and malformed arguments are left at their defaults: the harness writes them.
    pub fn parse(args: &[&str]) -> Self {
        let of = |name: &str| {
            args.iter()
                .position(|&a| a == name)
                .and_then(|i| args.get(i + 1))
        };
        Self {
            v4: of("--v4")
                .and_then(|a| a.parse().ok())
                .unwrap_or(Ipv4Addr::LOCALHOST),
            v6: of("--v6")
                .and_then(|a| a.parse().ok())
                .unwrap_or(Ipv6Addr::LOCALHOST),
            port: of("--port").and_then(|a| a.parse().ok()).unwrap_or(5060),
            marker: of("--marker").map_or_else(|| "airgap-probe".to_owned(), |&m| m.to_owned()),
            gateway: of("--gateway")
                .and_then(|a| a.parse().ok())
                .unwrap_or(Ipv4Addr::LOCALHOST),
            gateway_mac: of("--gateway-mac")
                .and_then(|a| mac(a))
                .unwrap_or([0xff; 6]),
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
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|b| u8::from_str_radix(b, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    bytes.try_into().ok()
}

/// The container's own global addresses, from getifaddrs: no packet is sent.
pub fn own() -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let mut found = (None, None);
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs fills `list` with a list that stays valid until freeifaddrs.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return found;
    }
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: `entry` is a node of the list, checked against null.
        let node = unsafe { &*entry };
        match address(node.ifa_addr) {
            Some(IpAddr::V4(v4)) if !v4.is_loopback() => found.0 = Some(v4),
            Some(IpAddr::V6(v6)) if !v6.is_loopback() && !v6.is_unicast_link_local() => {
                found.1 = Some(v6);
            }
            _ => {}
        }
        entry = node.ifa_next;
    }
    // SAFETY: `list` came from getifaddrs and is freed once.
    unsafe { libc::freeifaddrs(list) };
    found
}

fn address(raw: *const libc::sockaddr) -> Option<IpAddr> {
    if raw.is_null() {
        return None;
    }
    // SAFETY: a non-null ifa_addr has at least a family, which decides its real type.
    unsafe {
        match i32::from((*raw).sa_family) {
            libc::AF_INET => {
                let v4 = &*raw.cast::<libc::sockaddr_in>();
                Some(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into())
            }
            libc::AF_INET6 => {
                let v6 = &*raw.cast::<libc::sockaddr_in6>();
                Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}
