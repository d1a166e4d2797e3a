//! The facts preflight judges: from `/proc` of a running container, and from
//! what the engine says of one that does not run.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
};

use super::mounts::{Mount, parse_mounts};
use crate::container::{Cgroup, Container, Holder, Leads, carried, holders};

/// What matters of a container's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `HostConfig.Privileged`.
    pub privileged: bool,
    /// Bounding set, one bit a capability (capabilities(7)).
    pub capabilities: u64,
    /// A seccomp filter is on.
    pub seccomp: bool,
    /// The network namespace is the host's.
    pub host_network: bool,
    /// Others in its network namespace, in words.
    pub network_sharers: Vec<String>,
    /// The pid namespace is the host's or another container's.
    pub host_pid: bool,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// `HostConfig.LogConfig.Type`.
    pub log_driver: Option<String>,
    /// Risky devices, by path on the host.
    pub devices: Vec<String>,
    /// `HostConfig.Runtime`.
    pub runtime: Option<String>,
    /// Sockets of other network namespaces that its processes hold, in words.
    pub foreign_sockets: Vec<String>,
}

impl Facts {
    /// Gathers them. `cgroup` is the container's, if it runs.
    pub fn gather(container: &Container, cgroup: Option<&Cgroup>) -> Self {
        let mut facts = Self::of_inspect(container);
        if let (Some(pid), Some(cgroup)) = (container.pid, cgroup) {
            facts.add_live(pid, cgroup);
        }
        facts
    }

    /// Where others could leave the container a unix socket to connect to, in
    /// words: directories that are mounted, abstract names of a shared namespace.
    pub fn meeting_places(&self) -> Vec<String> {
        let mounted = self.mounts.iter().filter(|m| m.holds_sockets());
        let mut places: Vec<_> = mounted
            .map(|m| format!("{} of the host is mounted at {}", m.source, m.target))
            .collect();
        if self.host_network {
            places.push("it uses the host's network namespace".into());
        }
        places.extend(self.network_sharers.iter().cloned());
        places
    }

    fn of_inspect(container: &Container) -> Self {
        let host = container.inspect.host_config.clone().unwrap_or_default();
        let network = host.network_mode.unwrap_or_default();
        let pid_mode = host.pid_mode.unwrap_or_default();
        let security = host.security_opt.unwrap_or_default();
        let mounts = container.inspect.mounts.iter().flatten();
        Self {
            privileged: host.privileged == Some(true),
            capabilities: capabilities(host.cap_add.as_deref(), host.cap_drop.as_deref()),
            // A profile of the user's own may allow anything.
            seccomp: !security.iter().any(|o| o.starts_with("seccomp")),
            host_network: network == "host",
            network_sharers: joins(&network)
                .then(|| format!("it joins another's network namespace, {network}"))
                .into_iter()
                .collect(),
            host_pid: pid_mode == "host" || joins(&pid_mode),
            mounts: mounts
                .map(|m| Mount {
                    fstype: String::new(),
                    source: m.source.clone().unwrap_or_default(),
                    target: m.destination.clone().unwrap_or_default(),
                    writable: m.rw != Some(false),
                    foreign: true,
                })
                .collect(),
            log_driver: host.log_config.and_then(|l| l.typ),
            devices: host
                .devices
                .into_iter()
                .flatten()
                .filter_map(|d| d.path_on_host)
                .filter(|path| is_risky_device(path))
                .chain(
                    host.device_cgroup_rules
                        .into_iter()
                        .flatten()
                        .map(|r| format!("rule '{r}'")),
                )
                .collect(),
            runtime: host.runtime,
            foreign_sockets: Vec::new(),
        }
    }

    /// What is true now replaces what was configured.
    fn add_live(&mut self, pid: u32, cgroup: &Cgroup) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if let Some(bounding) =
            field(&status, "CapBnd:").and_then(|v| u64::from_str_radix(v, 16).ok())
        {
            self.capabilities = bounding;
        }
        if let Some(mode) = field(&status, "Seccomp:") {
            self.seccomp &= mode == "2";
        }
        if let Ok(mounts) = fs::read_to_string(format!("/proc/{pid}/mountinfo")) {
            let relative = own_part(cgroup);
            self.mounts.extend(parse_mounts(&mounts, &relative));
        }
        // Init's namespaces are not readable everywhere; airgap runs in them.
        let shares = |kind| ["1", "self"].iter().any(|p| same_namespace(pid, kind, p));
        self.host_network |= shares("net");
        self.host_pid |= shares("pid");
        if !self.host_network {
            self.network_sharers.extend(sharers(pid, cgroup));
        }
        self.foreign_sockets = foreign_sockets(pid, cgroup);
    }
}

fn foreign_sockets(pid: u32, cgroup: &Cgroup) -> Vec<String> {
    let mut found = Vec::new();
    match carried(pid, &holders(cgroup), |socket, _| found.push(socket)) {
        Ok(()) => {}
        Err(_) if !Path::new(&format!("/proc/{pid}")).exists() => return Vec::new(),
        Err(error) => {
            return vec![format!(
                "which sockets its processes hold is not known: {error:#}"
            )];
        }
    }
    found
        .iter()
        .filter_map(|socket| {
            let what = match socket.leads {
                Leads::Elsewhere => "holds a socket of another network namespace",
                Leads::Unknown => "hides a socket in one thread",
                Leads::Outside | Leads::Around => return None,
            };
            let Holder { pid, name, .. } = &socket.holder;
            let family = socket.family;
            Some(format!("its process '{name}' ({pid}) {what} ({family})"))
        })
        .collect()
}

fn own_part(cgroup: &Cgroup) -> String {
    let parts: Vec<_> = cgroup
        .path
        .components()
        .rev()
        .take(cgroup.level as usize)
        .collect();
    parts.iter().rev().fold(String::new(), |p, c| {
        p + "/" + &c.as_os_str().to_string_lossy()
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|l| l.strip_prefix(name))
        .map(str::trim)
}

fn same_namespace(pid: u32, kind: &str, other: &str) -> bool {
    let read = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let mine = read(&pid.to_string());
    mine.is_some() && mine == read(other)
}

/// Processes outside `cgroup` in the network namespace of `pid`, by command.
fn sharers(pid: u32, cgroup: &Cgroup) -> Vec<String> {
    let Ok(mine) = fs::read_link(format!("/proc/{pid}/ns/net")) else {
        return Vec::new();
    };
    let own = own_part(cgroup);
    let processes: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    // Afterwards: a number may have been a process' before, not since.
    let threads = kernel_threads();
    let mut found = BTreeMap::new();
    for entry in processes {
        let dir = entry.path();
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        if pid.is_none_or(|pid| threads.contains(&pid))
            || fs::read_link(dir.join("ns/net")).ok().as_ref() != Some(&mine)
        {
            continue;
        }
        let Some(path) = v2_path(&dir) else { continue };
        if path != own && !path.starts_with(&format!("{own}/")) {
            let comm = fs::read_to_string(dir.join("comm")).unwrap_or_default();
            found.entry(path).or_insert_with(|| comm.trim().to_owned());
        }
    }
    found
        .into_iter()
        .map(|(path, comm)| format!("'{comm}' of the cgroup {path} shares its network namespace"))
        .collect()
}

/// Children of kthreadd, by number: kernel threads, all of them in the host's
/// network namespace, and helpers that the kernel starts there for the host's root
/// (`core_pattern`). On an idle host they are most of `/proc`. None where the kernel
/// does not say (`CONFIG_PROC_CHILDREN`).
fn kernel_threads() -> HashSet<u32> {
    // Within a pid namespace of our own, process 2 may be anybody's.
    let stat = fs::read_to_string("/proc/2/stat").unwrap_or_default();
    if !is_kernel_thread(&stat) {
        return HashSet::new();
    }
    let text = fs::read_to_string("/proc/2/task/2/children").unwrap_or_default();
    let numbers = text.split_ascii_whitespace();
    numbers.filter_map(|pid| pid.parse().ok()).collect()
}

/// Of a `/proc/PID/stat` file (proc_pid_stat(5)); the name in it may be anything.
fn is_kernel_thread(stat: &str) -> bool {
    /// `PF_KTHREAD` (include/linux/sched.h).
    const KERNEL_THREAD: u32 = 0x0020_0000;
    let flags = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(6)?.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

fn v2_path(proc: &Path) -> Option<String> {
    fs::read_to_string(proc.join("cgroup"))
        .ok()?
        .lines()
        .find_map(|l| l.strip_prefix("0::").map(str::to_owned))
}

fn is_risky_device(path: &str) -> bool {
    const PREFIXES: [&str; 12] = [
        "/dev/mem",
        "/dev/kmem",
        "/dev/port",
        "/dev/kvm",
        "/dev/vhost",
        "/dev/net/tun",
        "/dev/infiniband",
        "/dev/vfio",
        "/dev/vsock",
        "/dev/sd",
        "/dev/nvme",
        "/dev/vd",
    ];
    PREFIXES.iter().any(|p| path.starts_with(p))
}

/// Whether a mode names a namespace that is not the container's own; `ns:` is
/// Podman's.
fn joins(mode: &str) -> bool {
    mode.starts_with("container:") || mode.starts_with("ns:")
}

/// Docker's default bounding set, changed as configured. Bits: capabilities(7).
fn capabilities(add: Option<&[String]>, drop: Option<&[String]>) -> u64 {
    const DEFAULT: u64 = 0xa804_25fb;
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    let bits = |names: Option<&[String]>| {
        names.unwrap_or_default().iter().fold(0u64, |set, name| {
            let name = name.to_ascii_uppercase();
            let name = name.trim_start_matches("CAP_");
            if name == "ALL" {
                return u64::MAX >> (64 - NAMES.len());
            }
            NAMES
                .iter()
                .position(|n| *n == name)
                .map_or(set, |bit| set | 1 << bit)
        })
    };
    let (add, drop) = (bits(add), bits(drop));
    // What is added by name stays although ALL is dropped.
    if drop == u64::MAX >> (64 - NAMES.len()) {
        add
    } else {
        (DEFAULT | add) & !drop
    }
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

    #[test]
    fn tells_kernel_threads() {
        let stat = |comm: &str, flags: u32| format!("2 ({comm}) S 0 0 0 0 -1 {flags} 0 0");
        assert!(is_kernel_thread(&stat("kthreadd", 2_129_984)));
        assert!(!is_kernel_thread(&stat("kthreadd", 4_194_560)));
        assert!(!is_kernel_thread(&stat(
            "x) S 0 0 0 0 -1 2129984",
            4_194_560
        )));
        assert!(!is_kernel_thread(""));
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert!(!is_kernel_thread(&own));
        assert!(!kernel_threads().contains(&std::process::id()));
    }

    #[test]
    fn reads_capabilities() {
        let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(capabilities(None, None), 0xa804_25fb);
        assert_eq!(
            capabilities(None, Some(&names(&["NET_RAW"]))),
            0xa804_25fb & !(1 << 13)
        );
        assert_eq!(
            capabilities(Some(&names(&["cap_bpf"])), Some(&names(&["ALL"]))),
            1 << 39
        );
        assert_ne!(capabilities(Some(&names(&["ALL"])), None) & (1 << 21), 0);
    }
}
