//! Where a container is on this host: its cgroups, its networks, and which process here
//! the engine means by its number.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{
    Budget, Cgroup, Container, Interface, find_cgroups, interfaces, locate, members::networks,
};
use crate::{failure::Failure, host::netns::Netns};

/// Where a running container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// Its cgroups with processes, outermost ones. Several where one is about to end.
    pub cgroups: Vec<Cgroup>,
    /// Its first process; `None` where the engine's number is of another pid namespace.
    pub init: Option<u32>,
}

/// Where a running container is. The engine's number counts only if that process is in a
/// cgroup of the container; else the cgroups of its id tell, whose names no container
/// can choose.
///
/// # Errors
/// If no cgroup v2 of it has a process.
pub fn whereabouts(root: &Path, container: &Container) -> Result<Whereabouts> {
    let by_pid = match container.pid {
        Some(pid) => locate(root, &container.id, pid).map(|cgroup| (pid, cgroup)),
        None => Err(Failure::new("the container does not run", "start it").into()),
    };
    match by_pid {
        Ok((pid, cgroup)) => Ok(Whereabouts {
            cgroups: vec![cgroup],
            init: Some(pid),
        }),
        Err(error) => {
            let cgroups = populated(root, &container.id);
            if cgroups.is_empty() {
                return Err(error);
            }
            Ok(Whereabouts {
                cgroups,
                init: None,
            })
        }
    }
}

/// The container's cgroups that have processes.
pub fn populated(root: &Path, id: &str) -> Vec<Cgroup> {
    let found = find_cgroups(root, id).into_iter();
    found.filter(|c| c.first_process().is_some()).collect()
}

impl Container {
    /// The network namespace that the engine made for it; `None` if it names none that is
    /// here. The file is the engine's, not the container's.
    pub fn sandbox(&self) -> Option<Netns> {
        let settings = self.inspect.network_settings.as_ref()?;
        let path = settings
            .sandbox_key
            .as_deref()
            .filter(|key| key.starts_with('/'))?;
        Netns::at(Path::new(path)).ok()
    }
}

/// A network namespace of a container.
#[derive(Debug)]
pub struct Network {
    /// Inode of the namespace.
    pub inode: u64,
    /// The namespace.
    pub netns: Netns,
    /// A process in it; `None`: only the engine names it.
    pub process: Option<u32>,
    /// Made inside the container, by who owns it: what is in it leads nowhere but to
    /// another of its networks, unless its other end is on the host.
    pub nested: bool,
}

/// Every network namespace of a container: the one its engine made, and those that its
/// processes are in. The host's is left out.
pub fn own_networks(
    sandbox: Option<Netns>,
    cgroups: &[Cgroup],
    budget: &mut Budget,
) -> Vec<Network> {
    merged(sandbox, networks(cgroups, budget))
}

/// As [`own_networks`], with what the processes show known already.
pub fn merged(sandbox: Option<Netns>, shown: Vec<(u64, Netns, u32)>) -> Vec<Network> {
    let host = Netns::own().ok();
    let inode = |netns: &Option<Netns>| netns.as_ref().and_then(|n| n.inode().ok());
    let owner = |netns: &Option<Netns>| netns.as_ref().and_then(|n| n.owner().ok());
    let (host_inode, made) = (inode(&host), inode(&sandbox));
    let owners = [owner(&host), owner(&sandbox)];
    let mut found: Vec<Network> = shown
        .into_iter()
        .filter(|(inode, ..)| Some(*inode) != host_inode)
        .map(|(inode, netns, pid)| Network {
            inode,
            // Only beside the one that its engine made can there be another.
            nested: made.is_some_and(|made| made != inode)
                && netns
                    .owner()
                    .is_ok_and(|owner| !owners.contains(&Some(owner))),
            netns,
            process: Some(pid),
        })
        .collect();
    if let Some(netns) = sandbox
        && let Some(inode) = made
        && made != host_inode
        && !found.iter().any(|known| known.inode == inode)
    {
        found.insert(
            0,
            Network {
                inode,
                netns,
                process: None,
                nested: false,
            },
        );
    }
    found
}

/// The interfaces in these networks: all, but for those without an end on the host in
/// networks that were made inside the container.
///
/// # Errors
/// As [`interfaces`].
pub fn interfaces_of(networks: &[Network]) -> Result<Vec<Interface>> {
    let (nested, outer): (Vec<&Network>, Vec<&Network>) =
        networks.iter().partition(|network| network.nested);
    let mut found = interfaces(outer.into_iter().map(|network| &network.netns))?;
    let inner = interfaces(nested.into_iter().map(|network| &network.netns))?;
    found.extend(
        inner
            .into_iter()
            .filter(|interface| interface.host.is_some()),
    );
    Ok(found)
}

/// Ids of these cgroups and of all below them.
pub fn cgroup_ids(cgroups: &[Cgroup], budget: &mut Budget) -> HashSet<u64> {
    let mut found = HashSet::new();
    let mut dirs: Vec<PathBuf> = cgroups.iter().map(|c| c.path.clone()).collect();
    while let Some(dir) = dirs.pop() {
        if !budget.step_for("some of its cgroups") {
            break;
        }
        found.extend(fs::metadata(&dir).map(|about| about.ino()));
        let below = fs::read_dir(&dir).into_iter().flatten().flatten();
        dirs.extend(
            below
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    found
}
