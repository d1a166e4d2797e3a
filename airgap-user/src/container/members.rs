//! All tasks of a container: every live thread of every process in its cgroups.
//! What a container may do is what any of them may do; its first process is one among
//! them, and shows of itself what it likes.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    Budget, Cgroup,
    entering::Entering,
    rounds::{Rounds, each_thread, threads},
};
use crate::host::{clock, netns::Netns};

/// What the tasks of a container have and show, by the kernel's word.
#[derive(Debug, Default)]
pub struct Members {
    /// Nobody came or went unseen.
    pub settled: bool,
    /// Capabilities, and the first process that has each.
    pub capabilities: Vec<Grant>,
    /// A task without a seccomp filter, in words.
    pub unfiltered: Option<String>,
    /// Network namespaces, and a process of each.
    pub networks: Vec<(u64, Netns, u32)>,
    /// Mount namespaces, and a process of each.
    pub mounts: Vec<(u64, File, u32)>,
    /// IPC namespaces.
    pub ipcs: HashSet<u64>,
    /// Pid namespaces.
    pub pids: HashSet<u64>,
    /// A task in the host's pid namespace, in words.
    pub host_pid: Option<String>,
    /// A task in the host's user namespace: its root is the host's.
    pub host_user: bool,
    /// A task in the host's network namespace.
    pub in_host_network: bool,
    /// When the oldest of its processes started, seconds since boot.
    pub oldest: Option<u64>,
    /// What its tasks in the host's user namespace are to the host's files and processes.
    pub credentials: Vec<Credentials>,
}

/// Users, groups and capabilities of a task (credentials(7), capabilities(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective, saved and file system user.
    pub users: Vec<u32>,
    /// The same of its group, and all its other groups.
    pub groups: Vec<u32>,
    /// Capabilities that it has or can take: permitted, inheritable and ambient ones.
    pub capabilities: u64,
    /// Those that a program it runs could have at most.
    pub bounding: u64,
    /// It gets no more by what it runs (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
    /// Who has them, in words.
    pub who: String,
}

impl Credentials {
    fn read(status: &str, who: &dyn Fn() -> String) -> Option<Self> {
        let numbers = |name| -> Option<Vec<u32>> {
            let words = field(status, name)?.split_ascii_whitespace();
            words.map(|word| word.parse().ok()).collect()
        };
        let set = |name| u64::from_str_radix(field(status, name)?, 16).ok();
        let mut groups = numbers("Gid:")?;
        groups.extend(numbers("Groups:")?);
        let ambient = set("CapAmb:")?;
        Some(Self {
            users: numbers("Uid:")?,
            groups,
            capabilities: set("CapPrm:")? | set("CapEff:")? | set("CapInh:")? | ambient,
            bounding: set("CapBnd:")?,
            no_new_privs: field(status, "NoNewPrivs:")? == "1",
            who: who(),
        })
    }

    /// The same in a user namespace of its own, where no capability counts on this host.
    fn without_capabilities(self) -> Self {
        Self {
            capabilities: 0,
            bounding: 0,
            ..self
        }
    }

    /// Those of another task that are the same.
    fn is_same(&self, other: &Self) -> bool {
        (&self.users, &self.groups) == (&other.users, &other.groups)
            && (self.capabilities, self.bounding) == (other.capabilities, other.bounding)
            && self.no_new_privs == other.no_new_privs
    }
}

/// Capabilities (capabilities(7), one bit each) that a task was the first to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The set.
    pub set: u64,
    /// Who has it, in words.
    pub who: String,
}

/// Different credentials that are told apart.
const CREDENTIALS: usize = 256;
/// Namespaces that are held open at most; each is a descriptor.
const NAMESPACES: usize = 256;
/// Bytes read of a task's status: the names of 65,536 groups, which a task may have, come
/// before what is wanted of it.
const STATUS: u64 = 1 << 20;
/// What is longer takes long.
const USUAL: usize = 16_384;

impl Members {
    /// Looks at all tasks in `cgroups` and below, first one thread of each process, then
    /// the others. What the budget does not allow is named in it.
    pub fn look(cgroups: &[Cgroup], budget: &mut Budget) -> Self {
        Self::look_at(cgroups, None, budget)
    }

    /// The same, where `starting` is a runtime's process that waits to become a container's
    /// program: of its threads the first one alone will.
    pub fn look_at(cgroups: &[Cgroup], starting: Option<u32>, budget: &mut Budget) -> Self {
        let mut members = Self::default();
        let own = Own::read();
        let mut seen = Seen::default();
        let mut rest = Vec::new();
        let mut entering = Entering::new();
        let mut rounds = Rounds::of(cgroups);
        while let Some(pid) = rounds.next(budget) {
            if !budget.step_for("some of its processes") {
                return members;
            }
            entering.wait(pid);
            let started = clock::started(pid);
            members.oldest = match (members.oldest, started) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            // Where the first thread has ended, the others still tell.
            if let Some(first) = threads(pid, 1, budget).first()
                && members.add(pid, *first, &own, &mut seen, budget) > 1
                && starting != Some(pid)
            {
                rest.push((pid, *first));
            }
        }
        members.settled = rounds.settled();
        for (pid, first) in rest {
            members.settled &= each_thread(pid, budget, |thread, budget| {
                if thread != first {
                    if !budget.step_for("some threads of its processes") {
                        return false;
                    }
                    members.add(pid, thread, &own, &mut seen, budget);
                }
                true
            });
        }
        members
    }

    /// Capabilities of all of them, as one set.
    pub fn union(&self) -> u64 {
        self.capabilities.iter().fold(0, |all, one| all | one.set)
    }

    /// Adds what was seen of them before.
    pub(super) fn add_seen(&mut self, before: &Self) {
        for grant in &before.capabilities {
            if grant.set & !self.union() != 0 {
                self.capabilities.push(grant.clone());
            }
        }
        self.unfiltered = self.unfiltered.take().or_else(|| before.unfiltered.clone());
        self.host_pid = self.host_pid.take().or_else(|| before.host_pid.clone());
        self.ipcs.extend(&before.ipcs);
        self.pids.extend(&before.pids);
        for known in &before.credentials {
            if !self.credentials.iter().any(|one| one.is_same(known)) {
                self.credentials.push(known.clone());
            }
        }
        self.host_user |= before.host_user;
        self.in_host_network |= before.in_host_network;
        self.oldest = [self.oldest, before.oldest].into_iter().flatten().min();
    }

    /// How many threads its process has; 0 if it has ended.
    fn add(
        &mut self,
        pid: u32,
        thread: u32,
        own: &Own,
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> u32 {
        let dir = PathBuf::from(format!("/proc/{pid}/task/{thread}"));
        // What has ended by now has nothing any more.
        let Some(status) = read(&dir.join("status"), STATUS) else {
            return 0;
        };
        if status.len() > USUAL {
            budget.look_at_clock();
        }
        let status = String::from_utf8_lossy(&status);
        if field(&status, "State:").is_some_and(|state| state.starts_with(['Z', 'X'])) {
            return 0;
        }
        let who = || {
            let name = field(&status, "Name:").unwrap_or_default();
            format!("its process '{name}' ({pid})")
        };
        let user = fs::metadata(dir.join("ns/user")).map(|m| m.ino()).ok();
        if user.is_none() && dir.exists() {
            budget.skip(format!("the user namespace of {}", who()));
        }
        let in_host_user = user.is_some() && user == own.user;
        self.host_user |= in_host_user;
        let set = capabilities(&status).unwrap_or_else(|| {
            budget.skip(format!("capabilities of {}", who()));
            0
        });
        let grants = match in_host_user {
            true => &mut seen.in_host,
            false => &mut seen.elsewhere,
        };
        // In another user namespace it is the same user to this host's files, and has no
        // capability here.
        let read = Credentials::read(&status, &who).map(|found| match in_host_user {
            true => found,
            false => found.without_capabilities(),
        });
        match read {
            Some(found) if self.credentials.iter().any(|known| known.is_same(&found)) => {}
            Some(_) if self.credentials.len() >= CREDENTIALS => {
                budget.skip("users of some of its processes".into());
            }
            Some(found) => self.credentials.push(found),
            None => budget.skip(format!("users of {}", who())),
        }
        let before = grants.iter().fold(0, |all: u64, one: &Grant| all | one.set);
        if set & !before != 0 {
            grants.push(Grant {
                set: set & !before,
                who: who(),
            });
        }
        // A kernel without such filters has no line for it.
        if self.unfiltered.is_none() && field(&status, "Seccomp:") != Some("2") {
            self.unfiltered = Some(who());
        }
        let inode = |kind: &str| fs::metadata(dir.join(kind)).map(|m| m.ino()).ok();
        let pids = inode("ns/pid");
        if self.host_pid.is_none() && pids.is_some() && pids == own.pid {
            self.host_pid = Some(who());
        }
        self.pids.extend(pids);
        self.ipcs.extend(inode("ns/ipc"));
        let (net, mnt) = (dir.join("ns/net"), dir.join("ns/mnt"));
        if let Ok(about) = fs::metadata(&net)
            && !seen.networks.contains(&about.ino())
        {
            if seen.networks.len() >= NAMESPACES {
                budget.skip("some of its network namespaces".into());
            } else if let Ok(open) = Netns::at(&net)
                && let Ok(inode) = open.inode()
                && seen.networks.insert(inode)
            {
                self.in_host_network |= Some(inode) == own.net;
                self.networks.push((inode, open, pid));
            }
        }
        if let Ok(about) = fs::metadata(&mnt)
            && !seen.mounts.contains(&about.ino())
        {
            if seen.mounts.len() >= NAMESPACES {
                budget.skip("some of its mount namespaces".into());
            } else if let Ok(open) = File::open(&mnt)
                && let Ok(inode) = open.metadata().map(|m| m.ino())
                && seen.mounts.insert(inode)
            {
                self.mounts.push((inode, open, pid));
            }
        }
        self.capabilities.clone_from(match self.host_user {
            // What a user namespace of its own gives reaches nothing beyond that.
            true => &seen.in_host,
            false => &seen.elsewhere,
        });
        let threads = field(&status, "Threads:").and_then(|count| count.parse().ok());
        threads.unwrap_or(u32::MAX)
    }
}

/// What was met already.
#[derive(Default)]
struct Seen {
    networks: HashSet<u64>,
    mounts: HashSet<u64>,
    in_host: Vec<Grant>,
    elsewhere: Vec<Grant>,
}

/// Namespaces that airgap runs in: the host's.
struct Own {
    user: Option<u64>,
    pid: Option<u64>,
    net: Option<u64>,
}

impl Own {
    fn read() -> Self {
        let inode = |kind| fs::metadata(format!("/proc/self/ns/{kind}")).map(|m| m.ino());
        Self {
            user: inode("user").ok(),
            pid: inode("pid").ok(),
            net: inode("net").ok(),
        }
    }
}

/// Every set in which a capability may be, or may come back: permitted, bounding,
/// inheritable and ambient (capabilities(7)). `None` if one of them is not told.
fn capabilities(status: &str) -> Option<u64> {
    let sets = ["CapPrm:", "CapEff:", "CapBnd:", "CapInh:", "CapAmb:"];
    sets.iter().try_fold(0, |all, name| {
        Some(all | u64::from_str_radix(field(status, name)?, 16).ok()?)
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// At most `most` bytes of a file.
fn read(path: &Path, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(most)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

/// Which network namespaces the processes of these cgroups are in, and a process of
/// each; one thread of each process is asked.
pub(super) fn networks(cgroups: &[Cgroup], budget: &mut Budget) -> Vec<(u64, Netns, u32)> {
    let mut found: HashMap<u64, (Netns, u32)> = HashMap::new();
    let mut rounds = Rounds::of(cgroups);
    while let Some(pid) = rounds.next(budget) {
        for thread in threads(pid, 1, budget) {
            let path = format!("/proc/{pid}/task/{thread}/ns/net");
            if let Ok(about) = fs::metadata(&path)
                && !found.contains_key(&about.ino())
                && found.len() < NAMESPACES
                && let Ok(open) = Netns::at(Path::new(&path))
                && let Ok(inode) = open.inode()
            {
                found.insert(inode, (open, pid));
            }
        }
    }
    let mut found: Vec<_> = found
        .into_iter()
        .map(|(inode, (open, pid))| (inode, open, pid))
        .collect();
    found.sort_unstable_by_key(|(_, _, pid)| *pid);
    found
}

#[cfg(test)]
mod tests;
