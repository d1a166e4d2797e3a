//! What the frame programs know of bridges: what is on their links.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use airgap_common::{
    addr::Addr,
    map::{Bridge, Link4, Link6, name},
};
use anyhow::{Context as _, Result};

use super::{Gate, origin::Host};
use crate::{container::HostEnd, gate::hash};

impl Gate {
    /// Writes what is on the link of a bridge, of which `end` is a port.
    pub(super) fn write_bridge(&self, host: &Host, bridge: u32, end: &HostEnd) -> Result<()> {
        let mut bridges = hash::<u32, Bridge>(&self.place, name::BRIDGES)?;
        let before = bridges.get(&bridge, 0).unwrap_or_default();
        let own = host
            .prefixes(bridge)
            .context("cannot list the bridge's addresses")?;
        let now = of(&own, &end.prefixes, &before);
        if now == before {
            return Ok(());
        }
        if bridges.insert(bridge, now, 0).is_ok() {
            return Ok(());
        }
        // Full of those that are gone.
        self.forget_bridges()?;
        bridges
            .insert(bridge, now, 0)
            .context("cannot write the map BRIDGES")
    }

    /// Forgets bridges of which no port is guarded any more.
    pub(super) fn forget_bridges(&self) -> Result<()> {
        let mut bridges = hash::<u32, Bridge>(&self.place, name::BRIDGES)?;
        let all: Vec<u32> = bridges
            .keys()
            .collect::<Result<_, _>>()
            .context("cannot read the map BRIDGES")?;
        let ports = self.guarded()?.into_iter();
        let used: BTreeSet<u32> = ports
            .filter_map(|index| Some(self.veths.get(&index, 0).ok()?.bridge))
            .collect();
        for bridge in all.into_iter().filter(|bridge| !used.contains(bridge)) {
            bridges
                .remove(&bridge)
                .context("cannot write the map BRIDGES")?;
        }
        Ok(())
    }
}

/// Pure. `own` are the bridge's addresses; `ports` those of a container on it, which count
/// where the bridge has none, and only for their prefix. What was told of such before stays.
fn of(own: &[(IpAddr, u8)], ports: &[(IpAddr, u8)], before: &Bridge) -> Bridge {
    let mut v4: Vec<Link4> = Vec::new();
    let mut v6: Vec<Link6> = Vec::new();
    for (ip, bits) in own {
        match ip {
            IpAddr::V4(ip) => v4.push(link4(*ip, *bits)),
            IpAddr::V6(ip) => v6.push(link6(*ip, *bits)),
        }
    }
    let local = |ip: Ipv6Addr| ip.is_unicast_link_local();
    let routed = own
        .iter()
        .any(|(ip, _)| matches!(ip, IpAddr::V6(ip) if !local(*ip)));
    let told4 = before
        .v4
        .into_iter()
        .filter(|link| link.addr & !link.mask == 0);
    let told6 = before
        .v6
        .into_iter()
        .filter(|link| link.addr == base(link.addr, link.mask));
    if v4.is_empty() {
        let ports = ports.iter().filter_map(|(ip, bits)| match ip {
            IpAddr::V4(ip) => Some(network4(link4(*ip, *bits))),
            IpAddr::V6(_) => None,
        });
        v4.extend(ports.chain(told4).filter(|link| link.mask != 0));
    }
    if !routed {
        let ports = ports.iter().filter_map(|(ip, bits)| match ip {
            IpAddr::V6(ip) if !local(*ip) => Some(network6(link6(*ip, *bits))),
            _ => None,
        });
        v6.extend(
            ports
                .chain(told6)
                .filter(|link| link.mask != Addr::default()),
        );
    }
    let mut bridge = Bridge::default();
    fill(&mut bridge.v4, v4);
    fill(&mut bridge.v6, v6);
    bridge
}

/// As many as there is room for, each once.
fn fill<T: Copy + PartialEq>(slots: &mut [T], from: Vec<T>) {
    let mut distinct: Vec<T> = Vec::new();
    for one in from {
        if !distinct.contains(&one) {
            distinct.push(one);
        }
    }
    for (slot, one) in slots.iter_mut().zip(distinct) {
        *slot = one;
    }
}

fn link4(ip: Ipv4Addr, bits: u8) -> Link4 {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32)));
    Link4 {
        addr: u32::from_ne_bytes(ip.octets()),
        mask: mask.unwrap_or(0).to_be(),
    }
}

fn link6(ip: Ipv6Addr, bits: u8) -> Link6 {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128)));
    Link6 {
        addr: Addr::from_octets(ip.octets()),
        mask: Addr::from_octets(mask.unwrap_or(0).to_be_bytes()),
    }
}

const fn network4(link: Link4) -> Link4 {
    Link4 {
        addr: link.addr & link.mask,
        mask: link.mask,
    }
}

fn network6(link: Link6) -> Link6 {
    Link6 {
        addr: base(link.addr, link.mask),
        mask: link.mask,
    }
}

fn base(addr: Addr, mask: Addr) -> Addr {
    let mut words = addr.0;
    for (word, mask) in words.iter_mut().zip(mask.0) {
        *word &= mask;
    }
    Addr(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(all: &[&str]) -> Vec<(IpAddr, u8)> {
        let one = |text: &&str| {
            let (ip, bits) = text.split_once('/').unwrap();
            (ip.parse().unwrap(), bits.parse().unwrap())
        };
        all.iter().map(one).collect()
    }

    fn has(bridge: &Bridge, ip: &str) -> bool {
        bridge.has_neighbour(match ip.parse().unwrap() {
            IpAddr::V4(ip) => Addr::from_v4(ip.octets()),
            IpAddr::V6(ip) => Addr::from_octets(ip.octets()),
        })
    }

    #[test]
    fn the_bridge_says_what_is_on_its_link() {
        let own = prefixes(&["198.51.100.1/25", "2001:db8:1::1/64", "fe80::1/64"]);
        let port = prefixes(&["198.51.100.200/24", "2001:db8:2::2/64"]);
        let found = of(&own, &port, &Bridge::default());
        assert!(has(&found, "198.51.100.2") && has(&found, "2001:db8:1::2"));
        assert!(!has(&found, "198.51.100.1") && !has(&found, "2001:db8:1::1"));
        assert!(!has(&found, "198.51.100.201") && !has(&found, "2001:db8:2::3"));
        // What is gone is forgotten.
        let moved = of(&prefixes(&["198.51.101.1/24"]), &[], &found);
        assert!(has(&moved, "198.51.101.2") && !has(&moved, "198.51.100.2"));
    }

    #[test]
    fn where_it_has_no_address_its_ports_do() {
        let own = prefixes(&["fe80::1/64"]);
        let port = prefixes(&["198.51.100.2/24", "2001:db8:1::2/64", "fe80::2/64"]);
        let found = of(&own, &port, &Bridge::default());
        for near in [
            "198.51.100.1",
            "198.51.100.9",
            "2001:db8:1::1",
            "2001:db8:1::9",
        ] {
            assert!(has(&found, near), "{near}");
        }
        assert!(!has(&found, "198.51.101.9") && !has(&found, "2001:db8:2::9"));
        // A port of which nothing is known yet takes nothing away.
        assert_eq!(of(&own, &[], &found), found);
    }

    #[test]
    fn there_is_room_for_some() {
        let many: Vec<_> = (0..20).map(|i| format!("198.51.100.{i}/32")).collect();
        let many = prefixes(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let found = of(&many, &[], &Bridge::default());
        assert!(found.v4.iter().all(|link| link.mask == u32::MAX));
        assert_eq!(link4(Ipv4Addr::UNSPECIFIED, 0).mask, 0);
        assert_eq!(link6(Ipv6Addr::UNSPECIFIED, 0).mask, Addr::default());
        assert_eq!(link4(Ipv4Addr::LOCALHOST, 200).mask, u32::MAX);
    }
}
