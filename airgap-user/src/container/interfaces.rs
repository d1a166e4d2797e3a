//! The network interfaces of a container, and their other ends on the host.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    netlink::{Link, Netlink},
    netns::Netns,
};

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
}

/// The interfaces in the network namespace of the process `pid`.
///
/// # Errors
/// If the namespace cannot be entered, for example because the process ended.
pub fn interfaces(pid: u32) -> Result<Vec<Interface>> {
    let netns = Netns::of(pid)?;
    let host = links()?;
    let path = format!("/proc/{pid}/ns/net");
    if fs::read_link(&path).ok() == fs::read_link("/proc/self/ns/net").ok() {
        return Ok(pair(&host, &[]));
    }
    let inside = netns
        .run(links)
        .with_context(|| format!("cannot look into {path}"))?;
    Ok(pair(&inside, &host))
}

/// Those of this thread's network namespace. The kernel is asked, not the
/// container's `/sys`: its image may hold anything.
fn links() -> Result<Vec<Link>> {
    let netlink = Netlink::route().context("cannot open a netlink socket")?;
    netlink.links().context("cannot list network interfaces")
}

/// Two interfaces are one pair if each names the other. Indices repeat across
/// namespaces, so one direction alone proves nothing.
fn pair(inside: &[Link], host: &[Link]) -> Vec<Interface> {
    inside
        .iter()
        .filter(|link| link.name != "lo")
        .map(|link| Interface {
            name: link.name.clone(),
            host: host
                .iter()
                .find(|h| h.index == link.peer && h.peer == link.index && link.peer != link.index)
                .map(|h| HostEnd {
                    name: h.name.clone(),
                    index: h.index,
                }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, index: u32, peer: u32) -> Link {
        Link {
            name: name.into(),
            index,
            peer,
        }
    }

    #[test]
    fn pairs_only_what_names_each_other() {
        let inside = [
            link("lo", 1, 1),
            link("eth0", 5, 9),
            link("eth1", 6, 9),
            link("dummy0", 7, 7),
            link("macvlan0", 8, 2),
        ];
        let host = [
            link("lo", 1, 1),
            link("eth0", 2, 2),
            link("veth1", 9, 5),
            link("dummy0", 7, 7),
        ];
        let found: Vec<_> = pair(&inside, &host)
            .into_iter()
            .map(|i| (i.name, i.host.map(|h| h.name)))
            .collect();
        assert_eq!(
            found,
            [
                ("eth0".into(), Some("veth1".into())),
                ("eth1".into(), None),
                ("dummy0".into(), None),
                ("macvlan0".into(), None),
            ]
        );
    }
}
