//! What a container's kernel may say of itself on its own link.

use std::net::IpAddr;

use airgap_common::map::{MAX_OWN, MAX_OWN6, Own, name};
use anyhow::{Context as _, Result};

use super::Gate;
use crate::container::HostEnd;

impl Gate {
    /// Says what the container's end of a veth may announce.
    pub(super) fn announceable(&self, end: &HostEnd) -> Result<()> {
        let mut own = super::super::hash::<u32, Own>(&self.place, name::OWN)?;
        let Some(mac) = end.mac else {
            return Ok(());
        };
        let mut v4 = [0; MAX_OWN];
        for (slot, address) in v4.iter_mut().zip(&end.addresses) {
            *slot = u32::from_ne_bytes(address.octets());
        }
        let value = Own {
            mac,
            _pad: [0; 2],
            v4,
            groups: groups_of(end),
        };
        own.insert(end.index, value, 0)
            .context("cannot write the map OWN")
    }
}

/// Groups that IPv6 needs its end of the veth to be in (RFC 4861 §7.2.1).
fn groups_of(end: &HostEnd) -> [u32; MAX_OWN6] {
    let own = end.prefixes.iter().filter_map(|(ip, _)| match ip {
        IpAddr::V6(ip) => Some(ip.octets()),
        IpAddr::V4(_) => None,
    });
    let mut groups = [0; MAX_OWN6];
    for (slot, [.., a, b, c, d]) in groups.iter_mut().zip(own) {
        *slot = Own::group_of([a, b, c, d]);
    }
    groups
}
