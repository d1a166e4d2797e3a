//! Addresses and names of one run, chosen so that several runs can share a machine.

use crate::{PREFIX, cmd, wait};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

/// One run's names and addresses. The containers get one half of a /26 of 198.51.100.0/24, the
/// link to the outside namespace and a second container network share the other half; IPv6 comes
/// from 2001:db8::/32 alike.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Random, six hex digits.
    pub suffix: String,
    /// Docker network and namespace name.
    pub name: String,
    /// The Docker network's bridge device.
    pub bridge: String,
    /// The host's end of the link to the outside.
    pub uplink: String,
    pub net4: String,
    pub net6: String,
    /// For a second network, see [`Plan::internal`].
    pub internal4: String,
    pub internal6: String,
    pub gateway4: Ipv4Addr,
    pub gateway6: Ipv6Addr,
    pub host4: Ipv4Addr,
    pub host6: Ipv6Addr,
    pub outside4: Ipv4Addr,
    pub outside6: Ipv6Addr,
}

impl Plan {
    /// Waits for a free quarter of 198.51.100.0/24 and draws the rest.
    ///
    /// # Panics
    /// When no quarter becomes free within a minute.
    #[must_use]
    pub fn draw() -> Self {
        let quarter = wait::until(
            "a free quarter of 198.51.100.0/24 (look at `ip route`, other runs?)",
            Duration::from_secs(60),
            || (0..4).rev().map(|q| q * 64).find(|&base| is_free(base)),
        );
        let random = random();
        let mut suffix = String::new();
        write!(suffix, "{:06x}", random & 0x00ff_ffff).expect("writing to a string");
        let v4 = |last: u8| Ipv4Addr::new(198, 51, 100, quarter + last);
        let site = u16::try_from(random & 0xffff).unwrap_or(0);
        let v6 = |part: u16, last: u16| Ipv6Addr::new(0x2001, 0xdb8, site, part, 0, 0, 0, last);
        Self {
            name: format!("{PREFIX}{suffix}"),
            bridge: format!("agtb-{suffix}"),
            uplink: format!("agto-{suffix}"),
            net4: format!("{}/27", v4(0)),
            net6: format!("{}/64", v6(0xa, 0)),
            gateway4: v4(1),
            gateway6: v6(0xa, 1),
            internal4: format!("{}/28", v4(48)),
            internal6: format!("{}/64", v6(0xc, 0)),
            host4: v4(33),
            host6: v6(0xb, 1),
            outside4: v4(34),
            outside6: v6(0xb, 2),
            suffix,
        }
    }
}

impl Plan {
    /// The same run's second container network: other names and addresses, the same outside.
    #[must_use]
    pub fn internal(&self) -> Self {
        let [a, b, c, d] = self.host4.octets();
        let mut gateway6 = self.host6.segments();
        gateway6[3] += 1;
        Self {
            name: format!("{}-internal", self.name),
            bridge: format!("agtb-{}i", self.suffix),
            net4: self.internal4.clone(),
            net6: self.internal6.clone(),
            gateway4: Ipv4Addr::new(a, b, c, d + 16),
            gateway6: gateway6.into(),
            ..self.clone()
        }
    }
}

fn is_free(base: u8) -> bool {
    let routes = cmd::ok("ip -4 route show table all");
    !routes
        .lines()
        .filter(|line| !line.starts_with("unreachable"))
        .any(|line| {
            line.split_whitespace()
                .take(3)
                .any(|word| range(word).is_some_and(|(low, high)| low < base + 63 && high >= base))
        })
}

/// Last octets covered by a prefix of 198.51.100.0/24.
fn range(word: &str) -> Option<(u8, u8)> {
    let rest = word.strip_prefix("198.51.100.")?;
    let (last, len) = rest.split_once('/').unwrap_or((rest, "32"));
    let size = 1_u16.checked_shl(32_u32.checked_sub(len.parse().ok()?)?)?;
    let last: u8 = last.parse().ok()?;
    Some((
        last,
        u8::try_from(u16::from(last) + size - 1).unwrap_or(u8::MAX),
    ))
}

fn random() -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    hasher.write_u128(now.as_nanos());
    u32::try_from(hasher.finish() >> 32).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn prefixes_cover_their_octets() {
        assert_eq!(range("198.51.100.64/26"), Some((64, 127)));
        assert_eq!(range("198.51.100.0/24"), Some((0, 255)));
        assert_eq!(range("198.51.100.7"), Some((7, 7)));
        assert_eq!(range("192.0.2.0/24"), None);
    }
}
