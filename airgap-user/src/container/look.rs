//! One look at a running container: where it is, what its tasks are, which networks they
//! are in. Whatever of it the container can prolong is paid from a budget, and what was
//! not looked at is named.

use std::{collections::HashSet, os::fd::OwnedFd, path::Path, time::Duration};

use anyhow::Result;

use super::{
    Budget, Carried, Cgroup, Container, Members, Network, Whereabouts, carried, freeze::Frozen,
    populated, whereabouts, whereabouts::merged,
};
use crate::host::netns::Netns;

/// The same while the container is held still.
const TIME_STILL: Duration = Duration::from_millis(120);
const RESTLESS: &str = "processes of it that come and go all the time";

/// What was found.
#[derive(Debug)]
pub struct Look {
    /// Its cgroups with processes.
    pub cgroups: Vec<Cgroup>,
    /// Its first process, if the engine's number is that one here.
    pub init: Option<u32>,
    /// All its tasks.
    pub members: Members,
    /// Its network namespaces, without the host's.
    pub networks: Vec<Network>,
    /// What is left of the budget, and what was not looked at.
    pub budget: Budget,
    /// Sockets that lead elsewhere, as they were while it was held still.
    still: Option<Vec<Carried>>,
    /// Of whose threads the first one alone counts.
    starting: Option<u32>,
}

impl Look {
    /// Time that a look may take, unless others wait for it.
    pub const TIME: Duration = Duration::from_secs(3);

    /// Looks at a running container.
    ///
    /// # Errors
    /// If none of its cgroups has a process.
    pub fn at(root: &Path, container: &Container) -> Result<Self> {
        let at = whereabouts(root, container)?;
        Ok(Self::around(Some(container), at, Self::TIME, None))
    }

    /// The same where only its cgroups are known.
    pub fn within(cgroups: Vec<Cgroup>) -> Self {
        Self::within_time(cgroups, Self::TIME, None)
    }

    /// The same, in so much time. `starting`: a runtime's process that waits to become a
    /// container's program ([`super::arrival::await_start`]).
    pub fn within_time(cgroups: Vec<Cgroup>, time: Duration, starting: Option<u32>) -> Self {
        let at = Whereabouts {
            cgroups,
            init: None,
        };
        Self::around(None, at, time, starting)
    }

    /// Looks at a subtree that is no container's: the host's network is among its
    /// own, as its sockets are there.
    ///
    /// # Errors
    /// If the host's network namespace cannot be opened.
    pub fn at_subtree(cgroup: Cgroup) -> Result<Self> {
        let mut look = Self::within(vec![cgroup]);
        let netns = Netns::own()?;
        look.networks.push(Network {
            inode: netns.inode()?,
            netns,
            process: None,
            nested: false,
        });
        Ok(look)
    }

    fn around(
        container: Option<&Container>,
        at: Whereabouts,
        time: Duration,
        starting: Option<u32>,
    ) -> Self {
        let mut budget = Budget::of(time);
        let mut members = Members::look_at(&at.cgroups, starting, &mut budget);
        let shown = std::mem::take(&mut members.networks);
        let settled = members.settled;
        let mut look = Self {
            cgroups: at.cgroups,
            init: at.init,
            networks: merged(container.and_then(Container::sandbox), shown),
            members,
            budget,
            still: None,
            starting,
        };
        if !settled && look.budget.skipped().is_empty() {
            look.hold_still(container);
        }
        look
    }

    /// Looks at all of it once more, while nobody comes or goes. Where that cannot be, it
    /// is named as not looked at.
    fn hold_still(&mut self, container: Option<&Container>) {
        let Some(frozen) = Frozen::hold(&self.cgroups) else {
            self.budget.skip(RESTLESS.into());
            return;
        };
        let mut budget = Budget::of(TIME_STILL);
        let mut members = Members::look_at(&self.cgroups, self.starting, &mut budget);
        let shown = std::mem::take(&mut members.networks);
        let networks = merged(container.and_then(Container::sandbox), shown);
        let mut found = Vec::new();
        let settled = carried(&own(&networks), &self.cgroups, &mut budget, |socket, _| {
            found.push(socket);
        });
        let whole = settled && members.settled && frozen.held();
        drop(frozen);
        for what in budget.skipped() {
            self.budget.skip(what.clone());
        }
        if !whole {
            self.budget.skip(RESTLESS.into());
        }
        // What was seen before was so, too.
        members.add_seen(&self.members);
        self.members = members;
        for network in networks {
            if !self
                .networks
                .iter()
                .any(|known| known.inode == network.inode)
            {
                self.networks.push(network);
            }
        }
        self.still = Some(found);
    }

    /// As [`Self::at`], in so much time; `None` if the container has no process here.
    pub fn live(root: &Path, container: &Container, time: Duration) -> Option<Self> {
        let mut at = whereabouts(root, container).ok()?;
        for other in populated(root, &container.id) {
            if !at.cgroups.contains(&other) {
                at.cgroups.push(other);
            }
        }
        Some(Self::around(Some(container), at, time, None))
    }

    /// Sockets that its processes hold and that lead elsewhere; `each` as for [`carried`].
    pub fn carried(&mut self, mut each: impl FnMut(Carried, Option<&OwnedFd>) + Send) {
        let mut met = HashSet::new();
        let own = own(&self.networks);
        let settled = carried(
            &own,
            &self.cgroups,
            &mut self.budget,
            |socket, descriptor| {
                met.insert(socket.inode);
                each(socket, descriptor);
            },
        );
        // Where the budget is used up, that is why.
        if !settled && self.still.is_none() && self.budget.skipped().is_empty() {
            self.hold_still(None);
        }
        for socket in self.still.iter().flatten() {
            if met.insert(socket.inode) {
                each(socket.clone(), None);
            }
        }
    }
}

fn own(networks: &[Network]) -> Vec<(u64, &Netns)> {
    let networks = networks.iter();
    networks
        .map(|network| (network.inode, &network.netns))
        .collect()
}
