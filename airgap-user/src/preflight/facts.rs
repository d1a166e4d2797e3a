//! The facts preflight judges: what the engine was told, and of a running container what
//! the kernel says of all its tasks.

mod configured;
mod pod;

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _, path::Path};

pub use self::configured::user_namespaces_usable;
use self::configured::{configured_devices, filtered, proxied};
use super::{
    Finding, Surroundings,
    capabilities::{ALL, granted},
    carried::{Counted, is_foreign, leads_outside},
    clients::wide_udp,
    devices::{self, Drivers},
    judge_exits,
    mounts::{Mount, SETTINGS, parse_mounts, writable_settings},
    seccomp::{self, Filter},
    sharers::{Namespaces, own_part, sharers},
};
use crate::{
    container::{Container, Grant, Look, Members, Network, through_pod},
    host::netns::{mountinfo, owner},
    policy::{Cidr, Exception, Port},
};

/// Bytes of a list of mounts that are read.
const MOUNTINFO: usize = 4 << 20;
/// `CAP_MKNOD`.
const MKNOD: u32 = 27;

/// What matters of a container's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `HostConfig.Privileged`.
    pub privileged: bool,
    /// Capabilities: what the engine grants at each start, then what tasks have beyond
    /// that; one bit a capability (capabilities(7)).
    pub capabilities: Vec<Grant>,
    /// The engine and each task have a seccomp filter that is the engine's own.
    pub seccomp: bool,
    /// No seccomp filter, or one that lets too much through, in words.
    pub unfiltered: Vec<String>,
    /// A way to user namespaces, in words.
    pub user_namespaces: Vec<String>,
    /// The network namespace is the host's, in words.
    pub host_network: Option<String>,
    /// Others in its network namespace, in words.
    pub network_sharers: Vec<String>,
    /// Others in its IPC namespace, in words.
    pub ipc_sharers: Vec<String>,
    /// The pid namespace is the host's or another container's, in words.
    pub host_pid: Option<String>,
    /// Others in its pid namespace, in words.
    pub pid_sharers: Vec<String>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Settings of the host that it can write, in words.
    pub settings: Vec<String>,
    /// `HostConfig.LogConfig.Type`.
    pub log_driver: Option<String>,
    /// Risky devices, in words.
    pub devices: Vec<String>,
    /// `HostConfig.Runtime`, and the binary that stands for.
    pub runtime: Option<String>,
    /// The binary that the runtime's name stands for.
    pub runtime_binary: Option<String>,
    /// Sockets of other network namespaces that its processes hold, in words.
    pub foreign_sockets: Vec<String>,
    /// Unix connections to others that its processes hold, standard streams apart, in words.
    pub held: Vec<String>,
    /// Addresses that strangers come from and that may connect, in words.
    pub proxied: Vec<String>,
    /// Clients of UDP service ports that stand for anybody.
    pub udp_clients: Vec<Finding>,
    /// What its exceptions lead to.
    pub exits: Vec<Finding>,
    /// Of what is no container: what its tasks may do to the host.
    pub subtree: Vec<Finding>,
    /// What of it was not looked at, in words.
    pub unseen: Vec<String>,
}

impl Facts {
    /// What the engine was told, for this start or the next: nothing of the container's
    /// own making.
    pub fn of_engine(container: &Container) -> Self {
        let mut facts = Self::of_inspect(container, |_| false);
        if let Some(pod) = &container.pod {
            for member in &pod.members {
                let mut of = Self::of_inspect(member, |mode| pod.has(container, mode));
                of.network_sharers.extend(pod.strays(container, member));
                facts.add_member(of, &member.name);
            }
        }
        facts
    }

    /// All that is known; `look` if it runs.
    pub fn gather(container: &Container, look: Option<&mut Look>) -> Self {
        let mut facts = Self::of_engine(container);
        if let Some(look) = look {
            facts.add_live(look);
        }
        facts
    }

    /// Adds what is wrong with the clients that may connect: a prefix that holds an
    /// address which stands for others, or anybody to whom UDP ports are served.
    #[must_use]
    pub fn with_clients(mut self, container: &Container, ports: &[Port], clients: &[Cidr]) -> Self {
        self.udp_clients = wide_udp(ports, clients);
        if container.publishes() {
            self.proxied = proxied(container, clients);
        }
        self
    }

    /// The same of what is no container.
    #[must_use]
    pub fn serving(mut self, ports: &[Port], clients: &[Cidr]) -> Self {
        self.udp_clients = wide_udp(ports, clients);
        self
    }

    /// Adds where its exceptions lead.
    #[must_use]
    pub fn with_exits(mut self, container: &Container, exits: &[Exception]) -> Self {
        if !exits.is_empty() {
            self.exits = judge_exits(exits, &Surroundings::of(container));
        }
        self
    }

    /// Every capability that it has, or gets at its next start.
    pub fn all_capabilities(&self) -> u64 {
        self.capabilities.iter().fold(0, |all, one| all | one.set)
    }

    /// Where others could leave the container a unix socket to connect to, in
    /// words: directories that are mounted, /dev/shm of a shared namespace, and abstract
    /// names of another.
    pub fn meeting_places(&self) -> Vec<String> {
        let mounted = self.mounts.iter().filter(|m| m.holds_sockets());
        let mut places: Vec<_> = mounted
            .map(|m| format!("{} of the host is mounted at {}", m.source, m.target))
            .collect();
        places.extend(self.host_network.iter().cloned());
        places.extend(self.network_sharers.iter().cloned());
        places.extend(self.ipc_sharers.iter().cloned());
        places
    }

    /// `own`: whether a namespace that it joins is its own pod's.
    fn of_inspect(container: &Container, own: impl Fn(&str) -> bool) -> Self {
        let joins = |mode: &str| joins(mode) && !own(mode);
        let host = container.inspect.host_config.clone().unwrap_or_default();
        let network = host.network_mode.unwrap_or_default();
        let pid_mode = host.pid_mode.unwrap_or_default();
        let ipc_mode = host.ipc_mode.unwrap_or_default();
        let security = host.security_opt.unwrap_or_default();
        let mounts = container.inspect.mounts.iter().flatten();
        let set = match host.privileged {
            Some(true) => ALL,
            _ => granted(
                container.podman,
                host.cap_add.as_deref(),
                host.cap_drop.as_deref(),
            ),
        };
        let filter = seccomp::filter(&security);
        let (unfiltered, user_namespaces) = filtered(&filter);
        let cleared = |paths: &Option<Vec<String>>| paths.as_ref().is_some_and(Vec::is_empty);
        Self {
            privileged: host.privileged == Some(true),
            capabilities: vec![Grant {
                set,
                who: "it".into(),
            }],
            seccomp: filter == Filter::Default,
            unfiltered,
            user_namespaces,
            host_network: (network == "host")
                .then(|| "it uses the host's network namespace".to_owned()),
            network_sharers: joins(&network)
                .then(|| {
                    // Podman puts a pod's containers below one slice.
                    let place = host.cgroup_parent.filter(|place| through_pod(place));
                    let place = place.map_or_else(String::new, |place| format!(" in {place}"));
                    format!("it joins another's network namespace, {network}{place}")
                })
                .into_iter()
                .collect(),
            ipc_sharers: (ipc_mode == "host" || joins(&ipc_mode))
                .then(|| format!("its IPC namespace (/dev/shm) is another's, {ipc_mode}"))
                .into_iter()
                .collect(),
            host_pid: (pid_mode == "host" || joins(&pid_mode))
                .then(|| "it sees the host's processes".to_owned()),
            mounts: mounts
                .map(|m| Mount {
                    fstype: String::new(),
                    source: m.source.clone().unwrap_or_default(),
                    target: m.destination.clone().unwrap_or_default(),
                    writable: m.rw != Some(false),
                    foreign: true,
                    root: String::new(),
                })
                .collect(),
            settings: (host.privileged != Some(true) && cleared(&host.readonly_paths))
                .then(|| "/proc/sys".to_owned())
                .into_iter()
                .collect(),
            log_driver: host.log_config.and_then(|l| l.typ),
            devices: configured_devices(
                host.devices
                    .into_iter()
                    .flatten()
                    .filter_map(|d| d.path_on_host),
                host.device_cgroup_rules.into_iter().flatten(),
            ),
            runtime: host.runtime,
            runtime_binary: container.runtime_binary.clone(),
            ..Self::default()
        }
    }

    /// Its own namespaces, in which others would be told: not those of the host, which is
    /// told already. `network`: the host's.
    fn shareable(
        &mut self,
        members: &Members,
        networks: &[Network],
        network: Option<u64>,
    ) -> Namespaces {
        let of_host = |kind: &str| {
            let about = fs::metadata(format!("/proc/self/ns/{kind}"));
            about.map(|about| about.ino()).ok()
        };
        let own = |all: &HashSet<u64>, host: Option<u64>| -> HashSet<u64> {
            all.iter().copied().filter(|i| Some(*i) != host).collect()
        };
        let ipc = of_host("ipc");
        if self.ipc_sharers.is_empty() && ipc.is_some_and(|host| members.ipcs.contains(&host)) {
            self.ipc_sharers
                .push("it uses the host's IPC namespace (/dev/shm)".into());
        }
        let networks = match self.host_network {
            Some(_) => HashSet::new(),
            None => networks.iter().map(|network| network.inode).collect(),
        };
        Namespaces {
            network: own(&networks, network),
            ipc: own(&members.ipcs, ipc),
            pid: own(&members.pids, of_host("pid")),
        }
    }

    /// Those of a subtree of the cgroup tree: what its processes hold, and what was found.
    pub fn of_subtree(look: &mut Look, found: Vec<Finding>) -> Self {
        let mut facts = Self {
            subtree: found,
            ..Self::default()
        };
        facts.add_carried(look);
        facts
    }

    /// Adds what is true of any of its tasks now.
    fn add_live(&mut self, look: &mut Look) {
        let Look {
            cgroups,
            members,
            networks,
            budget,
            ..
        } = look;
        self.capabilities
            .extend(members.capabilities.iter().cloned());
        if let Some(who) = &members.unfiltered {
            self.seccomp = false;
            if self.unfiltered.is_empty() {
                self.unfiltered.push(format!("{who} has no seccomp filter"));
            }
        }
        let own: Vec<_> = cgroups.iter().map(own_part).collect();
        let settings: Vec<_> = SETTINGS
            .into_iter()
            .filter(|path| Path::new(&format!("/proc{path}")).exists())
            .collect();
        let host_user = fs::metadata("/proc/self/ns/user")
            .map(|about| about.ino())
            .ok();
        for (_, namespace, pid) in &members.mounts {
            if !budget.step_for("what is mounted in some of its namespaces") {
                break;
            }
            match mountinfo(namespace, MOUNTINFO) {
                Ok(text) => {
                    let mounts = parse_mounts(&String::from_utf8_lossy(&text), &own);
                    // In one of a user namespace of its own, root is not the host's root.
                    if host_user.is_some() && owner(namespace).ok() == host_user {
                        self.settings.extend(writable_settings(&mounts, &settings));
                    }
                    self.mounts.extend(mounts);
                }
                Err(error) => budget.skip(format!("what is mounted for process {pid} ({error:#})")),
            }
        }
        self.settings.sort_unstable();
        self.settings.dedup();
        let host = crate::host::netns::Netns::own()
            .and_then(|own| own.inode())
            .ok();
        if self.host_network.is_none() && members.in_host_network {
            self.host_network = Some("it uses the host's network namespace".into());
        }
        if self.host_pid.is_none()
            && let Some(who) = &members.host_pid
        {
            self.host_pid = Some(format!("{who} is in the host's pid namespace"));
        }
        let sharers = sharers(&self.shareable(members, networks, host), &own);
        self.network_sharers.extend(sharers.network);
        self.ipc_sharers.extend(sharers.ipc);
        self.pid_sharers.extend(sharers.pid);
        if self.all_capabilities() & (1 << MKNOD) == 0 {
            // It can make no node: what is there its runtime has put there.
            let drivers = Drivers::of_kernel();
            for (_, namespace, _) in &members.mounts {
                for (path, device) in devices::shown_in(namespace, budget) {
                    if let Some(what) = device.risk(&drivers) {
                        self.devices.push(format!("{what} at {path}"));
                    }
                }
            }
            self.devices.sort_unstable();
            self.devices.dedup();
        }
        self.add_carried(look);
    }

    /// Adds what its processes hold, and what was not looked at.
    fn add_carried(&mut self, look: &mut Look) {
        let (mut held, mut foreign) = (Counted::default(), Counted::default());
        look.carried(|socket, _| {
            if let Some(what) = leads_outside(&socket) {
                held.add(what, &socket.holder);
            }
            if let Some(what) = is_foreign(&socket) {
                foreign.add(what, &socket.holder);
            }
        });
        self.held.extend(held.told());
        self.foreign_sockets.extend(foreign.told());
        self.unseen = look.budget.skipped().to_vec();
    }
}

/// Whether a mode names a namespace that is not the container's own; `ns:` is
/// Podman's.
fn joins(mode: &str) -> bool {
    mode.starts_with("container:") || mode.starts_with("ns:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_joined_namespace_from_an_own_one() {
        for mode in ["container:abc", "ns:/run/netns/x"] {
            assert!(joins(mode), "{mode}");
        }
        for mode in ["", "bridge", "private", "slirp4netns", "pasta:-t,80"] {
            assert!(!joins(mode), "{mode}");
        }
    }
}
