//! Addresses of this network namespace (getifaddrs(3)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Each address and the length of its prefix; empty if they cannot be read.
pub fn addresses() -> Vec<(IpAddr, u8)> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: writes one pointer, which is freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut at = first;
    while !at.is_null() {
        // SAFETY: an entry of the list, until it is freed.
        let entry = unsafe { &*at };
        // SAFETY: both are null or socket addresses of the family that they name.
        let (addr, mask) = unsafe { (ip(entry.ifa_addr), ip(entry.ifa_netmask)) };
        if let (Some(addr), Some(mask)) = (addr, mask) {
            let len = match mask {
                IpAddr::V4(mask) => mask.to_bits().leading_ones(),
                IpAddr::V6(mask) => mask.to_bits().leading_ones(),
            };
            found.push((addr, len as u8));
        }
        at = entry.ifa_next;
    }
    // SAFETY: what getifaddrs made; nothing of it is used any more.
    unsafe { libc::freeifaddrs(first) };
    found
}

/// # Safety
/// Null, or a socket address with as many bytes as its family has.
unsafe fn ip(addr: *const libc::sockaddr) -> Option<IpAddr> {
    if addr.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe {
        match i32::from((*addr).sa_family) {
            libc::AF_INET => {
                let addr: libc::sockaddr_in = std::ptr::read_unaligned(addr.cast());
                Some(Ipv4Addr::from(addr.sin_addr.s_addr.to_ne_bytes()).into())
            }
            libc::AF_INET6 => {
                let addr: libc::sockaddr_in6 = std::ptr::read_unaligned(addr.cast());
                Some(Ipv6Addr::from(addr.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[test]
    fn finds_loopback_with_its_prefix() {
        let found = addresses();
        assert!(
            found.contains(&("127.0.0.1".parse().unwrap(), 8)),
            "{found:?}"
        );
    }
}
