//! One look at a running container: where it is, what its tasks are, which networks they
//! are in. Whatever of it the container can prolong is paid from a budget, and what was
//! not looked at is named.

use std::{os::fd::OwnedFd, path::Path, time::Duration};

use anyhow::Result;

use super::{
    Budget, Carried, Cgroup, Container, Members, Network, Whereabouts, carried, populated,
    whereabouts, whereabouts::merged,
};

/// Time that a look may take.
const TIME: Duration = Duration::from_secs(3);

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
}

impl Look {
    /// Looks at a running container.
    ///
    /// # Errors
    /// If none of its cgroups has a process.
    pub fn at(root: &Path, container: &Container) -> Result<Self> {
        Ok(Self::around(Some(container), whereabouts(root, container)?))
    }

    /// The same where only its cgroups are known.
    pub fn within(cgroups: Vec<Cgroup>) -> Self {
        Self::around(
            None,
            Whereabouts {
                cgroups,
                init: None,
            },
        )
    }

    fn around(container: Option<&Container>, at: Whereabouts) -> Self {
        let mut budget = Budget::of(TIME);
        let mut members = Members::look(&at.cgroups, &mut budget);
        let shown = std::mem::take(&mut members.networks);
        Self {
            cgroups: at.cgroups,
            init: at.init,
            networks: merged(container.and_then(Container::sandbox), shown),
            members,
            budget,
        }
    }

    /// As [`Self::at`]; `None` if the container has no process here.
    pub fn live(root: &Path, container: &Container) -> Option<Self> {
        let mut at = whereabouts(root, container).ok()?;
        for other in populated(root, &container.id) {
            if !at.cgroups.contains(&other) {
                at.cgroups.push(other);
            }
        }
        Some(Self::around(Some(container), at))
    }

    /// Sockets that its processes hold and that lead elsewhere; `each` as for [`carried`].
    pub fn carried(&mut self, mut each: impl FnMut(Carried, Option<&OwnedFd>) + Send) {
        let own: Vec<_> = self
            .networks
            .iter()
            .map(|network| (network.inode, &network.netns))
            .collect();
        carried(&own, &self.cgroups, &mut self.budget, &mut each);
    }
}
