//! Names and addresses of one run.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Documentation addresses only (RFC 5737, RFC 3849), in a slice that nobody routes yet.
pub(super) struct Plan {
    /// Namespace, Docker network and container.
    pub(super) name: String,
    /// The Docker network's bridge device.
    pub(super) bridge: String,
    /// The host's end of the link to the outside.
    pub(super) uplink: String,
    pub(super) net4: String,
    pub(super) net6: String,
    pub(super) host4: Ipv4Addr,
    pub(super) host6: Ipv6Addr,
    pub(super) outside4: Ipv4Addr,
    pub(super) outside6: Ipv6Addr,
}

impl Plan {
    /// Draws a random name and takes a free quarter of 198.51.100.0/24.
    ///
    /// # Errors
    /// When routes to all four quarters exist.
    pub(super) fn draw() -> Result<Self> {
        let mut routes = Command::new("ip");
        routes.args(["-4", "route", "show", "table", "all"]);
        let routes = command::output(&mut routes)?;
        let quarter = (0..4)
            .map(|quarter| quarter * 64)
            .find(|&base| !is_routed(&routes, base))
            .context(
                "198.51.100.0/24 is in use on this machine\nhint: ip route show root 198.51.100.0/24",
            )?;
        // A fresh hasher is seeded at random by the standard library.
        let random = RandomState::new().build_hasher().finish();
        let suffix = format!("{:06x}", random & 0x00ff_ffff);
        let site = (random >> 32) as u16;
        let v4 = |last: u8| Ipv4Addr::new(198, 51, 100, quarter + last);
        let v6 = |part, last| Ipv6Addr::new(0x2001, 0xdb8, site, part, 0, 0, 0, last);
        Ok(Self {
            name: format!("airgap-demo-{suffix}"),
            bridge: format!("agdb-{suffix}"),
            uplink: format!("agdo-{suffix}"),
            net4: format!("{}/27", v4(0)),
            net6: format!("{}/64", v6(0xa, 0)),
            host4: v4(33),
            host6: v6(0xb, 1),
            outside4: v4(34),
            outside6: v6(0xb, 2),
        })
    }
}

/// Whether a route leads to any of the 64 addresses from `base`, the last octet.
fn is_routed(routes: &str, base: u8) -> bool {
    routes
        .lines()
        .filter(|line| !line.starts_with("unreachable"))
        .flat_map(|line| line.split_whitespace().take(2))
        .filter_map(octets)
        .any(|(low, high)| low <= u16::from(base) + 63 && high >= u16::from(base))
}

/// First and last octet that a prefix of 198.51.100.0/24 covers.
fn octets(prefix: &str) -> Option<(u16, u16)> {
    let rest = prefix.strip_prefix("198.51.100.")?;
    let (last, length) = rest.split_once('/').unwrap_or((rest, "32"));
    let low: u16 = last.parse().ok()?;
    let free_bits = 32_u32.checked_sub(length.parse().ok()?)?;
    Some((low, low + (1 << free_bits.min(8)) - 1))
}

#[cfg(test)]
mod tests {
    use super::is_routed;

    #[test]
    fn a_quarter_is_taken_by_any_route_into_it() {
        let routes = "default via 192.0.2.1 dev eth0\n198.51.100.64/27 dev x proto kernel\n\
                      local 198.51.100.129 dev y\nunreachable 198.51.100.0/24 metric 9\n";
        let taken = [0, 64, 128, 192].map(|base| is_routed(routes, base));
        assert_eq!(taken, [false, true, true, false]);
        assert!(is_routed("198.51.100.0/24 dev x", 192));
    }
}
