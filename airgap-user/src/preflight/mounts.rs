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
/// which knows their source.
pub(super) fn parse_mounts(mountinfo: &str, own: &str) -> Vec<Mount> {
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
            };
            assert_eq!(mount.risk(true).is_some(), shows, "{source}");
        }
    }
}
