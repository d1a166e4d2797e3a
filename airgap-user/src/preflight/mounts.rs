//! Mounts that lead around a seal.

use super::Risk;

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
    /// Its root within its file system.
    pub root: String,
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
    /// Whether a unix socket of the host or of another container could be in
    /// it: all but a plain file.
    pub(super) fn holds_sockets(&self) -> bool {
        !self.source.is_empty()
            && !std::fs::metadata(&self.source).is_ok_and(|found| found.is_file())
    }

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
            // A container's root, as rootless engines make it.
            "fuse.fuse-overlayfs" if self.target == "/" => return None,
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
        if self.source.is_empty() {
            return None;
        }
        // What it is, and not by which link it was named.
        let real = std::fs::canonicalize(&self.source);
        let real = real.map_or_else(
            |_| self.source.clone(),
            |path| path.to_string_lossy().into_owned(),
        );
        self.shows(&real).or_else(|| self.shows(&self.source))
    }

    /// The risk of showing this path of the host.
    fn shows(&self, source: &str) -> Option<(Risk, String)> {
        let source = source.trim_end_matches('/');
        if ENGINE_PATHS.iter().any(|p| covers(source, p)) || is_socket(source) {
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

/// Engines may listen anywhere; most keep the name.
fn is_socket(source: &str) -> bool {
    ["docker.sock", "podman.sock"]
        .iter()
        .any(|name| source.ends_with(name))
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

/// File systems with a meaning of their own; bind mounts come from inspect,
/// which knows their source. `own`: the container's cgroups, below the tree's root.
pub(super) fn parse_mounts(mountinfo: &str, own: &[String]) -> Vec<Mount> {
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
                foreign: !own
                    .iter()
                    .any(|own| *root == own || root.starts_with(&format!("{own}/"))),
                root: (*root).to_owned(),
            })
        })
        .collect()
}

/// Network file systems among the mounts of one namespace, in words, where each is.
pub fn network_file_systems(mountinfo: &str) -> Vec<String> {
    let mounts = parse_mounts(mountinfo, &[]).into_iter();
    let risky = mounts.filter_map(|mount| match mount.risk(true) {
        Some((Risk::NetworkFs, what)) => Some(format!("{what} is mounted at {}", mount.target)),
        _ => None,
    });
    risky.collect()
}

/// Whether a cgroup tree of version 2 is mounted there so that it can be written to.
pub fn has_writable_cgroups(mountinfo: &str) -> bool {
    let mounts = parse_mounts(mountinfo, &[]);
    mounts.iter().any(|m| m.fstype == "cgroup2" && m.writable)
}

/// What of `/proc` acts on the host.
pub(super) const SETTINGS: [&str; 2] = ["/sys", "/sysrq-trigger"];

/// Where settings of the host can be written, in words: `/proc/sys` (a path in it names a
/// program that the host's root runs) and `/proc/sysrq-trigger`, unless something
/// read-only lies over them. Of the mounts of one namespace, in the kernel's order;
/// `settings`: those of [`SETTINGS`] that this kernel has.
pub(super) fn writable_settings(mounts: &[Mount], settings: &[&str]) -> Option<String> {
    for proc in mounts.iter().filter(|m| m.fstype == "proc" && m.writable) {
        if settings.iter().any(|path| proc.root.starts_with(path)) {
            return Some(proc.target.clone());
        }
        if proc.root != "/" {
            continue;
        }
        for path in settings {
            let target = format!("{}{path}", proc.target.trim_end_matches('/'));
            let over = mounts.iter().rev().find(|m| m.target == target);
            if over.is_none_or(|m| m.writable && m.fstype == "proc") {
                return Some(target);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mounts() {
        let own = "/docker/abc";
        let text = "1 2 0:3 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n\
                    1 2 0:3 / /cg rw,nosuid - cgroup2 cgroup rw\n\
                    garbage\n\
                    1 2 0:4 / /data ro - nfs4 srv:/x rw\n";
        let mounts = parse_mounts(text, &[own.to_owned()]);
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
            ("/run/user/1000/podman/podman.sock", true),
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
                root: String::new(),
            };
            assert_eq!(mount.risk(true).is_some(), shows, "{source}");
        }
    }

    #[test]
    fn finds_settings_that_can_be_written() {
        let docker = "1 2 0:3 / /proc rw - proc proc rw\n2 1 0:3 /sys /proc/sys ro - proc proc rw\n\
                      3 1 0:3 /sysrq-trigger /proc/sysrq-trigger ro - proc proc rw\n";
        let found = |text: &str| writable_settings(&parse_mounts(text, &[]), &SETTINGS);
        assert_eq!(found(docker), None);
        assert_eq!(
            found("1 2 0:3 / /proc rw - proc proc rw\n").as_deref(),
            Some("/proc/sys")
        );
        let half = "1 2 0:3 / /proc rw - proc proc rw\n2 1 0:3 /sys /proc/sys ro - proc proc rw\n";
        assert_eq!(found(half).as_deref(), Some("/proc/sysrq-trigger"));
        let without = writable_settings(&parse_mounts(half, &[]), &["/sys"]);
        assert_eq!(without, None, "this kernel has no sysrq");
        let second = format!("{docker}4 1 0:3 / /p rw - proc proc rw\n");
        assert_eq!(found(&second).as_deref(), Some("/p/sys"));
        let bound = format!("{docker}4 1 0:3 /sys/kernel /k rw - proc proc rw\n");
        assert_eq!(found(&bound).as_deref(), Some("/k"));
        let again = format!("{docker}4 2 0:3 /sys /proc/sys rw - proc proc rw\n");
        assert_eq!(found(&again).as_deref(), Some("/proc/sys"));
        let masked = "1 2 0:3 / /proc rw - proc proc rw\n2 1 0:9 / /proc/sys rw - tmpfs tmpfs rw\n\
                      3 1 0:9 / /proc/sysrq-trigger rw - tmpfs tmpfs rw\n";
        assert_eq!(found(masked), None);
        assert_eq!(found("1 2 0:3 / /proc ro - proc proc rw\n"), None);
    }
}
