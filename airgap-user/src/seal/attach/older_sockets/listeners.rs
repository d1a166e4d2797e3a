//! Ports of a container that somebody listens on.

use std::collections::HashSet;

use crate::container::{Look, listening};

/// Ports with a TCP listener, by inode of the network namespace.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Vec<(u64, HashSet<u16>)>);

impl Listeners {
    pub(crate) fn now(look: &Look) -> Self {
        let networks = look.networks.iter().map(|network| {
            let served = listening(&network.netns).unwrap_or_else(|error| {
                log::debug!("listeners are not known: {error:#}");
                Default::default()
            });
            let tcp = served.iter().filter(|served| !served.udp);
            (network.inode, tcp.map(|served| served.port).collect())
        });
        Self(networks.collect())
    }

    pub(crate) fn of(&self, network: u64) -> impl Fn(u16) -> bool + '_ {
        let ports = self.0.iter().find(|(inode, _)| *inode == network);
        move |port| ports.is_some_and(|(_, ports)| ports.contains(&port))
    }
}
