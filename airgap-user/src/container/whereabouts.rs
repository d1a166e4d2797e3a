//! Where a container is on this host: its cgroups, its networks, and which process here
//! the engine means by its number.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{Budget, Cgroup, Container, find_cgroups, locate, members::networks};
use crate::{failure::Failure, netns::Netns};

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
    let host = Netns::own().and_then(|own| own.inode()).unwrap_or(0);
    let mut found: Vec<Network> = shown
        .into_iter()
        .filter(|(inode, ..)| *inode != host)
        .map(|(inode, netns, pid)| Network {
            inode,
            netns,
            process: Some(pid),
        })
        .collect();
    if let Some(netns) = sandbox
        && let Ok(inode) = netns.inode()
        && inode != host
        && !found.iter().any(|known| known.inode == inode)
    {
        let process = None;
        found.insert(
            0,
            Network {
                inode,
                netns,
                process,
            },
        );
    }
    found
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
