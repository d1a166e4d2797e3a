//! The network interfaces of a container, and their other ends on the host.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result};

use crate::host::{
    netlink::{Address, Link, Netlink},
    netns::Netns,
};

/// Index of lo in every network namespace; its name can be changed.
const LOOPBACK: u32 = 1;

/// An interface of a container, other than lo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name in the container.
    pub name: String,
    /// The other end of its veth pair on this host, if it has one here.
    pub host: Option<HostEnd>,
}

/// The host's end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEnd {
    /// Name on the host.
    pub name: String,
    /// Index on the host.
    pub index: u32,
    /// An XDP program in its driver takes the sender from every frame.
    pub native_xdp: bool,
    /// Hardware address of the container's end.
    pub mac: Option<[u8; 6]>,
    /// IPv4 addresses of the container's end.
    pub addresses: Vec<Ipv4Addr>,
    /// What is on the container's link, by the addresses of its end, and how many bits of
    /// each all there share.
    pub prefixes: Vec<(IpAddr, u8)>,
}

/// The interfaces in these network namespaces, by the kernel's word. Those of the
/// host's own namespace are left out: they are not the container's.
///
/// # Errors
/// If a namespace cannot be entered, or interfaces cannot be listed.
pub fn interfaces<'a>(networks: impl IntoIterator<Item = &'a Netns>) -> Result<Vec<Interface>> {
    let open = || Netlink::route().context("cannot open a netlink socket");
    let links = |netlink: &Netlink| netlink.links().context("cannot list network interfaces");
    let own = Netns::own()
        .and_then(|own| own.inode())
        .context("cannot read /proc/self/ns/net")?;
    let mut found = Vec::new();
    for netns in networks {
        if netns.inode().context("cannot tell a network namespace")? == own {
            continue;
        }
        // The kernel is asked, not the container's /sys: its image may hold anything.
        let (inside, addresses) = netns
            .run(|| {
                let netlink = open()?;
                let addresses = netlink.addresses().context("cannot list addresses")?;
                Ok::<_, anyhow::Error>((links(&netlink)?, addresses))
            })
            .context("cannot look into a network namespace of the container")?;
        // In this order: what was inside already, the host's end names.
        let netlink = open()?;
        let host = links(&netlink)?;
        let number = netlink
            .number_of(netns.fd())
            .context("cannot tell which interfaces lead into the container")?;
        found.extend(pair(&inside, &addresses, &host, number));
    }
    Ok(found)
}

/// Two interfaces are one pair if each names the other, and the host's leads into
/// the namespace of this number: indices repeat across namespaces.
fn pair(
    inside: &[Link],
    addresses: &[Address],
    host: &[Link],
    number: Option<i32>,
) -> Vec<Interface> {
    let leads_in = |link: &Link| number.is_some() && link.peer_netns == number;
    inside
        .iter()
        .filter(|link| link.index != LOOPBACK)
        .map(|link| Interface {
            name: link.name.clone(),
            host: host
                .iter()
                .find(|h| leads_in(h) && h.index == link.peer && h.peer == link.index)
                .map(|h| HostEnd {
                    name: h.name.clone(),
                    index: h.index,
                    native_xdp: h.native_xdp,
                    mac: link.mac,
                    addresses: {
                        let own = addresses.iter().filter(|a| a.link == link.index);
                        let v4 = own.filter_map(|address| match address.ip {
                            IpAddr::V4(ip) => Some(ip),
                            IpAddr::V6(_) => None,
                        });
                        v4.collect()
                    },
                    prefixes: {
                        let own = addresses.iter().filter(|a| a.link == link.index);
                        own.map(|address| (address.ip, address.bits)).collect()
                    },
                }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, index: u32, peer: u32, netns: i32) -> Link {
        Link {
            name: name.into(),
            index,
            peer,
            peer_netns: (netns >= 0).then_some(netns),
            native_xdp: false,
            mac: None,
        }
    }

    #[test]
    fn pairs_only_what_names_each_other_and_leads_there() {
        let inside = [
            link("lo", 1, 1, -1),
            link("eth0", 5, 9, 0),
            link("eth1", 6, 9, 0),
            link("eth2", 11, 12, 0),
            link("eth3", 13, 13, 0),
            link("dummy0", 7, 7, -1),
            link("macvlan0", 8, 2, 0),
        ];
        let host = [
            link("lo", 1, 1, -1),
            link("eth0", 2, 2, -1),
            link("veth1", 9, 5, 4),
            link("another's", 12, 11, 3),
            link("veth3", 13, 13, 4),
            link("dummy0", 7, 7, -1),
        ];
        let names = |number| -> Vec<_> {
            pair(&inside, &[], &host, number)
                .into_iter()
                .map(|i| (i.name, i.host.map(|h| h.name)))
                .collect()
        };
        assert_eq!(
            names(Some(4)),
            [
                ("eth0".into(), Some("veth1".into())),
                ("eth1".into(), None),
                ("eth2".into(), None),
                ("eth3".into(), Some("veth3".into())),
                ("dummy0".into(), None),
                ("macvlan0".into(), None),
            ]
        );
        assert!(names(None).iter().all(|(_, host)| host.is_none()));
    }

    #[test]
    fn an_interface_that_is_called_lo_is_one() {
        let inside = [link("zero", 1, 1, -1), link("lo", 5, 9, 0)];
        let host = [link("veth1", 9, 5, 4)];
        let at = Ipv4Addr::new(198, 51, 100, 2);
        let of = |link, ip: &str| Address {
            link,
            ip: ip.parse().unwrap(),
            bits: 24,
        };
        let all = [
            of(5, "198.51.100.2"),
            of(5, "2001:db8::2"),
            of(1, "198.51.100.3"),
        ];
        let found = pair(&inside, &all, &host, Some(4));
        assert_eq!(found.len(), 1);
        let end = found[0].host.as_ref();
        assert_eq!(end.map(|end| end.addresses.clone()), Some(vec![at]));
        let prefixes = end.map(|end| end.prefixes.clone()).unwrap_or_default();
        assert_eq!(prefixes, [(all[0].ip, 24), (all[1].ip, 24)]);
        assert_eq!(
            (found[0].name.as_str(), found[0].host.is_some()),
            ("lo", true)
        );
    }
}
