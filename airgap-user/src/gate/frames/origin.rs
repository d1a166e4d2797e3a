//! What the frame programs know of the host's interfaces: the bridge that a veth
//! is a port of, and those by which other than neighbours come in.

use airgap_common::map::{MAX_UPLINKS, SealNumber, Veth};
use anyhow::{Context as _, Result};

use crate::netlink::{Netlink, Port};

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
                let address = self.netlink.ipv4_of(bridge);
                address.context("cannot list the bridge's addresses")?
            }
        };
        Ok(Veth {
            seal,
            bridge,
            gateway: gateway.map_or(0, |a| u32::from_ne_bytes(a.octets())),
            uplinks: uplinks(&self.ports, bridge),
        })
    }
}

/// For an interface that nothing but the host sends to.
pub(super) const fn alone(seal: SealNumber) -> Veth {
    Veth {
        seal,
        bridge: 0,
        gateway: 0,
        uplinks: [0; MAX_UPLINKS],
    }
}

/// Pure.
fn bridge_of(ports: &[Port], index: u32) -> u32 {
    let port = ports.iter().find(|port| port.index == index);
    port.map_or(0, |port| port.master)
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
        }
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
