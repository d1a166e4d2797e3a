//! A piece of 198.51.100.0/24, which is for documentation, that means nothing
//! in the container's network namespace.

use std::{
    ffi::CStr,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context as _, Result};

use crate::{
    failure::{Failure, exit},
    host::procfs,
    policy::Cidr,
};

/// Eight addresses, as many as the link needs: /29.
const SIZE: u32 = 8;
const DOCUMENTATION: u32 = u32::from_be_bytes([198, 51, 100, 0]);

/// The address at `offset` of a subnet.
pub(super) fn host(net: Ipv4Addr, offset: u32) -> Ipv4Addr {
    (u32::from(net) + offset).into()
}

/// The highest /29 without a route of its own, and that none of `exits` leads to; to be
/// called inside the namespace.
pub(super) fn free(exits: &[Cidr]) -> Result<Ipv4Addr> {
    let path = "/proc/thread-self/net/route";
    let routes = procfs::text(path).with_context(|| format!("cannot read {path}"))?;
    let (mut taken, addresses) = (parse(&routes), addresses());
    if choose(&taken, &addresses).is_some() {
        taken.extend(exits.iter().filter_map(range));
        return choose(&taken, &addresses).ok_or_else(|| inside("198.51.100.0/24"));
    }
    Err(Failure::new(
        "the container uses all of 198.51.100.0/24, of which verify needs eight addresses",
        "this network is for documentation (RFC 5737): give the container's another",
    )
    .into())
}

/// What is tried there would be let out by an exception, and says nothing of the seal.
pub(super) fn inside(target: &str) -> anyhow::Error {
    Failure::new(
        format!("UNKNOWN: exceptions of this seal hold the only target that verify has, {target}"),
        "verify with narrower exceptions: airgap disallow, verify, airgap allow",
    )
    .with_code(exit::OPENED)
    .into()
}

/// First and last address of an IPv4 prefix.
fn range(net: &Cidr) -> Option<(u32, u32)> {
    let IpAddr::V4(first) = net.addr else {
        return None;
    };
    let hosts = u32::MAX.checked_shr(net.len.into()).unwrap_or(0);
    Some((first.to_bits(), first.to_bits() | hosts))
}

/// First and last address of each route but the default one.
fn parse(routes: &str) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        // The kernel prints the bytes of a network-order word as a number.
        let hex = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
        let (net, mask) = (hex(1)?.swap_bytes(), hex(7)?.swap_bytes());
        (mask != 0).then_some((net, net | !mask))
    };
    routes.lines().filter_map(range).collect()
}

fn addresses() -> Vec<u32> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    let mut found = Vec::new();
    // SAFETY: getifaddrs fills `list` with a list that stays valid until freeifaddrs.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return found;
    }
    let mut names = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: `entry` is a node of the list, checked against null; its name is a C string.
        unsafe {
            names.push(CStr::from_ptr((*entry).ifa_name).to_owned());
            entry = (*entry).ifa_next;
        }
    }
    // SAFETY: `list` came from getifaddrs and is freed once.
    unsafe { libc::freeifaddrs(list) };
    names.dedup();
    for name in names {
        found.extend(crate::technique::target::own(&name).v4.map(u32::from));
    }
    found
}

fn choose(routes: &[(u32, u32)], addresses: &[u32]) -> Option<Ipv4Addr> {
    let pieces = (0..256 / SIZE).rev().map(|i| DOCUMENTATION + i * SIZE);
    let is_free = |net: &u32| {
        let last = net + SIZE - 1;
        !routes.iter().any(|(from, to)| *from <= last && *to >= *net)
            && !addresses.iter().any(|a| (*net..=last).contains(a))
    };
    pieces.clone().find(is_free).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::{choose, parse, range};

    #[test]
    fn keeps_off_routes_and_addresses() {
        let at = |last: u8| Some([198, 51, 100, last].into());
        assert_eq!(choose(&[], &[]), at(248));
        let used = u32::from_be_bytes([198, 51, 100, 251]);
        assert_eq!(choose(&[], &[used]), at(240));
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
            eth0\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\tC06433C6\t00000000\t0001\t0\t0\t0\tC0FFFFFF\t0\t0\t0\n";
        assert_eq!(choose(&parse(text), &[]), at(184));
        assert_eq!(choose(&[(0, u32::MAX)], &[]), None);
        let exit = range(&"198.51.100.192/26".parse().unwrap()).unwrap();
        assert_eq!(choose(&[exit], &[]), at(184));
        assert_eq!(range(&"0.0.0.0/0".parse().unwrap()), Some((0, u32::MAX)));
        assert_eq!(range(&"2001:db8::/32".parse().unwrap()), None);
    }
}
