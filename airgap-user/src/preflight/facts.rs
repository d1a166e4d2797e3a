//! The facts preflight judges: from `/proc` of a running container, and from
//! what the engine says of one that does not run.

use std::{collections::BTreeMap, fs, path::Path};

use super::Risk;
use crate::container::{Cgroup, Container};

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
}

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// File system type.
    pub fstype: String,
    /// Path on the host, for bind mounts.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Mounted read-write.
    pub writable: bool,
    /// Shows more of a cgroup tree than the container's own part.
    pub foreign: bool,
}

/// Sockets and directories with which a process becomes root on the host, or
/// makes another act for it.
const ENGINE_PATHS: [&str; 9] = [
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/systemd/private",
    "/run/dbus/system_bus_socket",
    "/var/lib/docker",
    "/etc",
];

impl Mount {
    /// The risk this mount opens, and what it is.
    pub(super) fn risk(&self, seccomp: bool) -> Option<(Risk, String)> {
        match self.fstype.as_str() {
            "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "9p" | "afs" | "glusterfs" | "lustre"
            | "virtiofs" | "ocfs2" | "gfs2" | "fuse" => {
                return Some((
                    Risk::NetworkFs,
                    format!("a file system of type {}", self.fstype),
                ));
            }
            fuse if fuse.starts_with("fuse.") && fuse != "fuse.lxcfs" => {
                return Some((Risk::NetworkFs, format!("a file system of type {fuse}")));
            }
            "bpf" => return Some((Risk::ControlFs, "a bpffs".into())),
            // Read-only stops writes to cgroup.procs, but not
            // clone3(CLONE_INTO_CGROUP), which only seccomp stops.
            "cgroup2" if self.foreign && (self.writable || !seccomp) => {
                return Some((Risk::ControlFs, "the host's cgroup tree".into()));
            }
            _ => {}
        }
        let source = self.source.trim_end_matches('/');
        if self.source.is_empty() {
            return None;
        }
        if ENGINE_PATHS.iter().any(|p| covers(source, p)) || source.ends_with("docker.sock") {
            return Some((Risk::EngineSocket, format!("{} of the host", self.source)));
        }
        // Read-only says little: it does not reach the mounts below, and on
        // hybrid hosts the v2 tree is one of them. /proc/sys runs programs on
        // the host (core_pattern).
        let tree = |path: &str| covers(source, path) || source.starts_with(&format!("{path}/"));
        if tree("/sys/fs/bpf") || tree("/sys/fs/cgroup") || tree("/proc") {
            return Some((Risk::ControlFs, format!("{} of the host", self.source)));
        }
        None
    }
}

/// Whether a mount of `source` shows `path` or something in it.
fn covers(source: &str, path: &str) -> bool {
    let under = |a: &str, b: &str| {
        a == b
            || b.strip_prefix(a)
                .is_some_and(|rest| a.is_empty() || rest.starts_with('/'))
    };
    under(source, path) || (path.starts_with("/etc") && source == path)
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
            network_sharers: network
                .strip_prefix("container:")
                .map(|other| format!("it joins the network namespace of container {other}"))
                .into_iter()
                .collect(),
            host_pid: pid_mode == "host" || pid_mode.starts_with("container:"),
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
    }
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

/// File systems with a meaning of their own; bind mounts come from inspect,
/// which knows their source.
fn parse_mounts(mountinfo: &str, own: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let fields: Vec<&str> = left.split(' ').collect();
            let (root, target, options) = (fields.get(3)?, fields.get(4)?, fields.get(5)?);
            let fstype = right.split(' ').next()?;
            Some(Mount {
                fstype: fstype.to_owned(),
                source: String::new(),
                target: (*target).to_owned(),
                writable: options.split(',').any(|o| o == "rw"),
                foreign: !(*root == own || root.starts_with(&format!("{own}/"))),
            })
        })
        .collect()
}

/// Processes outside `cgroup` in the network namespace of `pid`, by command.
fn sharers(pid: u32, cgroup: &Cgroup) -> Vec<String> {
    let Ok(mine) = fs::read_link(format!("/proc/{pid}/ns/net")) else {
        return Vec::new();
    };
    let own = own_part(cgroup);
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let dir = entry.path();
        if !entry
            .file_name()
            .to_string_lossy()
            .bytes()
            .all(|b| b.is_ascii_digit())
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

    #[test]
    fn reads_mounts() {
        let own = "/docker/abc";
        let text = "1 2 0:3 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n\
                    1 2 0:3 / /cg rw,nosuid - cgroup2 cgroup rw\n\
                    garbage\n\
                    1 2 0:4 / /data ro - nfs4 srv:/x rw\n";
        let mounts = parse_mounts(text, own);
        assert_eq!(mounts.len(), 3);
        assert!(!mounts[0].foreign && !mounts[0].writable);
        assert!(mounts[1].foreign && mounts[1].writable);
        assert_eq!(mounts[2].fstype, "nfs4");
    }

    #[test]
    fn knows_which_mounts_show_an_engine() {
        for (source, shows) in [
            ("/", true),
            ("/run", true),
            ("/var/run/docker.sock", true),
            ("/etc", true),
            ("/etc/app", false),
            ("/data", false),
            ("/runner", false),
            ("/home/u/docker.sock", true),
            ("/proc", true),
            ("/proc/sys", true),
            ("/sys/fs/cgroup/unified", true),
        ] {
            let mount = Mount {
                fstype: String::new(),
                source: source.into(),
                target: "/x".into(),
                writable: false,
                foreign: true,
            };
            assert_eq!(mount.risk(true).is_some(), shows, "{source}");
        }
    }
}
