//! What the frame programs know of the host's interfaces: the bridge that a veth
//! is a port of, and those by which other than neighbours come in.

use std::{
    ffi::CStr,
    fs, io,
    net::{IpAddr, Ipv4Addr},
};

use airgap_common::map::{MAX_LINKS, MAX_UPLINKS, Mac, SealNumber, Veth};
use anyhow::{Context as _, Result};

use crate::host::netlink::{Netlink, Port};

/// lo of this namespace: nothing comes in by it.
const LOOPBACK: u32 = 1;

/// The interfaces of this network namespace.
pub(super) struct Host {
    netlink: Netlink,
    ports: Vec<Port>,
}

impl Host {
    pub(super) fn read() -> Result<Self> {
        let netlink = Netlink::route().context("cannot open a netlink socket")?;
        let ports = netlink.ports();
        let ports = ports.context("cannot list network interfaces")?;
        Ok(Self { netlink, ports })
    }

    /// The map's value for the veth `index`.
    pub(super) fn veth(&self, seal: SealNumber, index: u32) -> Result<Veth> {
        let bridge = bridge_of(&self.ports, index);
        let gateway = match bridge {
            0 => None,
            bridge => {
                let all = self.prefixes(bridge);
                first_v4(&all.context("cannot list the bridge's addresses")?)
            }
        };
        Ok(Veth {
            seal,
            bridge,
            gateway: gateway.map_or(0, |a| u32::from_ne_bytes(a.octets())),
            uplinks: uplinks(&self.ports, bridge),
            mac: match self.is_lasting(bridge)? {
                true => mac_of(&self.ports, bridge),
                false => Mac::default(),
            },
        })
    }

    /// Whether a bridge keeps its hardware address, and there is room for what is on its link.
    /// One that nobody has given any takes its lowest port's, and another's once that has gone:
    /// the address is somebody else's to have then.
    fn is_lasting(&self, bridge: u32) -> Result<bool> {
        let all = self.prefixes(bridge);
        let all = all.context("cannot list the bridge's addresses")?;
        let v4 = all.iter().filter(|(ip, _)| ip.is_ipv4()).count();
        let has_room = v4 <= MAX_LINKS && all.len() - v4 <= MAX_LINKS;
        Ok(has_room && is_set(bridge))
    }

    /// A link's addresses, and how many bits of each all on that link share.
    pub(super) fn prefixes(&self, index: u32) -> io::Result<Vec<(IpAddr, u8)>> {
        let all = self.netlink.addresses()?.into_iter();
        let of = all.filter(|address| address.link == index);
        Ok(of.map(|address| (address.ip, address.bits)).collect())
    }
}

/// Whether somebody has set a link's hardware address (`NET_ADDR_SET`, linux/netdevice.h).
fn is_set(index: u32) -> bool {
    const SET: &str = "3";
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that is asked for.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    let name = CStr::from_bytes_until_nul(&name).ok();
    let name = name.and_then(|name| name.to_str().ok());
    let Some(name) = name.filter(|_| !found.is_null()) else {
        return false;
    };
    let kind = fs::read_to_string(format!("/sys/class/net/{name}/addr_assign_type"));
    kind.is_ok_and(|kind| kind.trim() == SET)
}

/// For an interface that nothing but the host sends to.
pub(super) const fn alone(seal: SealNumber) -> Veth {
    Veth {
        seal,
        bridge: 0,
        gateway: 0,
        uplinks: [0; MAX_UPLINKS],
        mac: Mac::from_octets([0; 6]),
    }
}

/// Pure.
fn bridge_of(ports: &[Port], index: u32) -> u32 {
    let port = ports.iter().find(|port| port.index == index);
    port.map_or(0, |port| port.master)
}

/// Pure. Hardware address of a bridge whose ports lead to containers alone. Of others, and
/// of what is none, nothing tells who passes on what is for clients elsewhere: a router
/// behind one of its ports may.
fn mac_of(ports: &[Port], bridge: u32) -> Mac {
    let leads_out = |port: &Port| port.master == bridge && port.is_uplink();
    let own = ports
        .iter()
        .find(|port| port.index == bridge && port.kind == "bridge");
    match own.and_then(|port| port.mac) {
        Some(mac) if bridge != 0 && !ports.iter().any(leads_out) => Mac::from_octets(mac),
        _ => Mac::default(),
    }
}

/// Pure.
fn first_v4(prefixes: &[(IpAddr, u8)]) -> Option<Ipv4Addr> {
    prefixes.iter().find_map(|(ip, _)| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    })
}

/// Pure. The bridge's own ports first, as nothing else tells that they are none
/// of a neighbour; for the others the host's routes do, in nearly every case.
fn uplinks(ports: &[Port], bridge: u32) -> [u32; MAX_UPLINKS] {
    let of_bridge = |port: &&Port| bridge != 0 && port.master == bridge;
    let uplinks = || {
        ports
            .iter()
            .filter(|p| p.is_uplink() && p.index != LOOPBACK)
    };
    let first = uplinks().filter(of_bridge);
    let rest = uplinks().filter(|port| !of_bridge(port));
    let mut found = [0; MAX_UPLINKS];
    for (slot, port) in found.iter_mut().zip(first.chain(rest)) {
        *slot = port.index;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(index: u32, master: u32, kind: &str) -> Port {
        Port {
            index,
            master,
            kind: kind.into(),
            mac: Some([2, 0, 0, 0, 0, index as u8]),
        }
    }

    #[test]
    fn a_bridge_of_containers_alone_is_the_only_way_out() {
        let mut ports = vec![
            port(3, 0, "bridge"),
            port(4, 3, "veth"),
            port(5, 6, "veth"),
            port(6, 0, "vrf"),
        ];
        assert_eq!(mac_of(&ports, 3), Mac::from_octets([2, 0, 0, 0, 0, 3]));
        for none in [0, 6, 99] {
            assert_eq!(mac_of(&ports, none), Mac::default(), "{none}");
        }
        ports.push(port(7, 3, ""));
        assert_eq!(mac_of(&ports, 3), Mac::default(), "a card on it");
    }

    #[test]
    fn tells_uplinks_from_neighbours() {
        let ports = [
            port(1, 0, ""),
            port(2, 0, ""),
            port(3, 0, "bridge"),
            port(4, 3, "veth"),
            port(5, 3, "veth"),
            port(6, 3, "vlan"),
            port(7, 3, "tun"),
            port(8, 0, "veth"),
            port(9, 0, "wireguard"),
        ];
        assert_eq!(bridge_of(&ports, 4), 3);
        assert_eq!((bridge_of(&ports, 8), bridge_of(&ports, 99)), (0, 0));
        assert_eq!(uplinks(&ports, 3)[..4], [6, 2, 9, 0]);
        assert_eq!(uplinks(&ports, 0)[..4], [2, 6, 9, 0]);
        let many: Vec<_> = (2..100).map(|index| port(index, 0, "")).collect();
        assert!(uplinks(&many, 0).iter().all(|index| *index != 0));
    }
}
