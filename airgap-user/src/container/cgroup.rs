//! From a container id to its cgroup v2 directory. Never by guessing a path:
//! the kernel says where a process is, and the id must be in that path.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use airgap_common::cgroup::container_id;
use anyhow::{Context as _, Result};

use super::pod::pod_id;
use crate::{failure::Failure, host::procfs::text};

/// A cgroup v2 directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Absolute path.
    pub path: PathBuf,
    /// Cgroup id: the inode number of the directory.
    pub id: u64,
    /// Levels below the root.
    pub level: u32,
}

/// The cgroup of the container `id` whose init process is `pid`.
///
/// Takes the outermost directory that carries the id: engines put processes
/// into directories below it.
///
/// # Errors
/// If the process is gone, or is not in a cgroup v2 of that container.
pub fn locate(root: &Path, id: &str, pid: u32) -> Result<Cgroup> {
    let file = format!("/proc/{pid}/cgroup");
    let text = text(&file).with_context(|| format!("cannot read {file}"))?;
    let path = v2_path(&text).ok_or_else(|| {
        Failure::new(
            format!("the container's process {pid} is in no cgroup v2"),
            "boot the host with systemd.unified_cgroup_hierarchy=1",
        )
    })?;
    let Some(relative) = outermost(path, id) else {
        return Err(Failure::new(
            format!("the container's process {pid} is in the cgroup {path}, which does not carry the container's id"),
            no_cgroup(&crate::host::procfs::text(format!("/proc/{pid}/uid_map")).unwrap_or_default()),
        )
        .into());
    };
    open(root, &relative)
}

/// How a container gets a cgroup; by the user ids that its process sees
/// (user_namespaces(7)). Pure.
fn no_cgroup(uid_map: &str) -> &'static str {
    let first = uid_map.lines().next().unwrap_or_default();
    let words: Vec<_> = first.split_ascii_whitespace().collect();
    match words.as_slice() {
        // The host's own, or not known.
        [] | ["0", "0", "4294967295"] => {
            "runc 1.1 or newer makes a cgroup v2 for each container, on hybrid hosts too"
        }
        _ => {
            "an engine without root needs its user's systemd for that: install dbus-user-session, loginctl enable-linger USER, and make the container anew from a session of that user's"
        }
    }
}

/// The cgroup v2 path of the process `pid` of the container `id`, if that is
/// none of the container's, where no seal reaches the process: its runtime made
/// no cgroup v2, or somebody moved it. `None` too once the process is gone.
pub fn strayed(id: &str, pid: u32) -> Option<String> {
    let text = text(format!("/proc/{pid}/cgroup")).ok()?;
    stray_path(&text, id).map(str::to_owned)
}

/// Pure. What ends may outlive its cgroup.
fn stray_path<'a>(text: &'a str, id: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .filter(|path| !path.ends_with(" (deleted)") && outermost(path, id).is_none())
}

fn open(root: &Path, relative: &Path) -> Result<Cgroup> {
    let path = root.join(relative);
    let meta = fs::metadata(&path).with_context(|| format!("cannot stat {}", path.display()))?;
    Ok(Cgroup {
        level: relative.components().count() as u32,
        id: meta.ino(),
        path,
    })
}

/// The cgroups whose names have a form that is the container's
/// ([`airgap_common::cgroup::FORMS`]), outermost ones only. Below another container's it
/// looks only where there is no other: a container that may write to its part of the tree
/// can make as many cgroups as it likes and give them any name, and an engine in a
/// container has all of its own there.
pub fn find_cgroups(root: &Path, id: &str) -> Vec<Cgroup> {
    let (mut found, mut others) = (Vec::new(), Vec::new());
    walk(root, vec![PathBuf::new()], |child, name| {
        if carries(name, id) {
            found.extend(open(root, child));
            return false;
        }
        let other = container_id(name).is_some();
        if other {
            others.push(child.to_owned());
        }
        !other
    });
    if found.is_empty() {
        walk(root, others, |child, name| {
            let is_own = carries(name, id);
            if is_own {
                found.extend(open(root, child));
            }
            !is_own
        });
    }
    found
}

/// Hands out the directories below some, each before those below it, with its name; `each`
/// says whether to go on below it.
fn walk(root: &Path, mut queue: Vec<PathBuf>, mut each: impl FnMut(&Path, &str) -> bool) {
    while let Some(relative) = queue.pop() {
        for entry in fs::read_dir(root.join(&relative))
            .into_iter()
            .flatten()
            .flatten()
        {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            let child = relative.join(entry.file_name());
            if each(&child, &entry.file_name().to_string_lossy()) {
                queue.push(child);
            }
        }
    }
}

/// Every cgroup whose name is some container's, with that id; walks the whole
/// tree. Below a container only others than itself count.
pub fn all_cgroups(root: &Path) -> Vec<(String, Cgroup)> {
    let mut found = Vec::new();
    let mut queue = vec![(PathBuf::new(), String::new())];
    while let Some((relative, inside)) = queue.pop() {
        for entry in fs::read_dir(root.join(&relative))
            .into_iter()
            .flatten()
            .flatten()
        {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            let child = relative.join(entry.file_name());
            let id = match container_id(&entry.file_name().to_string_lossy()) {
                Some(id) if id != inside => {
                    found.extend(open(root, &child).map(|cgroup| (id.to_owned(), cgroup)));
                    id.to_owned()
                }
                _ => inside.clone(),
            };
            queue.push((child, id));
        }
    }
    found
}

impl Cgroup {
    /// A process in it or below it, if there is one.
    pub fn first_process(&self) -> Option<u32> {
        self.find_process(|_| true)
    }

    /// The first process in it or below it that is as wanted.
    pub fn find_process(&self, wanted: impl Fn(u32) -> bool) -> Option<u32> {
        let mut queue = vec![self.path.clone()];
        while let Some(dir) = queue.pop() {
            let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            let mut pids = procs.lines().filter_map(|pid| pid.parse().ok());
            if let Some(pid) = pids.find(|pid| wanted(*pid)) {
                return Some(pid);
            }
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    queue.push(entry.path());
                }
            }
        }
        None
    }
}

/// The path on the `0::` line of a `/proc/PID/cgroup` file; `None` at the root,
/// where processes without a v2 cgroup of their own are.
pub fn v2_path(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .filter(|path| *path != "/" && path.starts_with('/') && !path.starts_with("/.."))
}

fn outermost(path: &str, id: &str) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.split('/').filter(|p| !p.is_empty()) {
        out.push(part);
        if carries(part, id) {
            return Some(out);
        }
    }
    None
}

/// The same rule as the kernel side's; that goes by a pod's whole path.
fn carries(name: &str, id: &str) -> bool {
    container_id(name) == Some(id) || pod_id(name) == Some(id)
}

#[cfg(test)]
mod tests {
    use super::{carries, find_cgroups, no_cgroup, outermost, stray_path, v2_path};
    use std::path::PathBuf;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn reads_only_the_v2_line() {
        assert_eq!(
            v2_path("12:memory:/docker/x\n0::/docker/y\n"),
            Some("/docker/y")
        );
        assert_eq!(v2_path("0::/\n"), None);
        assert_eq!(
            v2_path("0::/../docker/y\n"),
            None,
            "seen from inside a cgroup namespace"
        );
        assert_eq!(v2_path("1:name=systemd:/x\n"), None);
    }

    #[test]
    fn takes_the_outermost_directory_with_the_id() {
        for (path, expected) in [
            (format!("/docker/{ID}"), Some(format!("docker/{ID}"))),
            (
                format!("/system.slice/docker-{ID}.scope"),
                Some(format!("system.slice/docker-{ID}.scope")),
            ),
            (
                format!("/machine.slice/libpod-{ID}.scope/container"),
                Some(format!("machine.slice/libpod-{ID}.scope")),
            ),
            (
                format!("/user.slice/libpod-payload-{ID}/container"),
                Some(format!("user.slice/libpod-payload-{ID}")),
            ),
            ("/system.slice/docker.service".to_owned(), None),
            (format!("/machine.slice/libpod-conmon-{ID}.scope"), None),
            (
                format!("/x{ID}/docker-{ID}.scope"),
                Some(format!("x{ID}/docker-{ID}.scope")),
            ),
        ] {
            assert_eq!(outermost(&path, ID), expected.map(PathBuf::from), "{path}");
        }
        assert!(!carries(&format!("{ID}-x"), ID));
        assert!(carries(&format!("machine-libpod_pod_{ID}.slice"), ID));
    }

    #[test]
    fn rootless_engines_are_told_how_to_get_a_cgroup() {
        for (map, rootless) in [
            ("         0          0 4294967295\n", false),
            ("", false),
            (
                "         0       1000          1\n         1     100000      65536\n",
                true,
            ),
            ("0 100000 65536\n", true),
        ] {
            assert_eq!(no_cgroup(map).contains("enable-linger"), rootless, "{map}");
        }
    }

    #[test]
    fn another_container_s_own_making_is_not_taken_for_it() {
        let root = std::env::temp_dir().join(format!("airgap-cgroups-{}", std::process::id()));
        let other = "f".repeat(64);
        let make = |path: &str| std::fs::create_dir_all(root.join(path)).unwrap();
        let found = || -> Vec<_> {
            let found = find_cgroups(&root, ID).into_iter();
            found
                .map(|c| c.path.strip_prefix(&root).unwrap().to_owned())
                .collect()
        };
        make(&format!("docker/{other}/{ID}"));
        // An engine inside a container.
        assert_eq!(found(), [PathBuf::from(format!("docker/{other}/{ID}"))]);
        make(&format!("docker/{ID}/below/{ID}"));
        make(&format!("docker/x{ID}"));
        assert_eq!(found(), [PathBuf::from(format!("docker/{ID}"))]);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn tells_a_process_that_is_outside() {
        for (path, stray) in [
            (format!("/docker/{ID}"), false),
            (format!("/docker/{ID}/below"), false),
            (format!("/docker/{ID} (deleted)"), false),
            ("/".to_owned(), true),
            ("/user.slice".to_owned(), true),
        ] {
            let text = format!("1:name=systemd:/docker/{ID}\n0::{path}\n");
            let found = stray_path(&text, ID);
            assert_eq!(found, stray.then_some(path.as_str()));
        }
        assert_eq!(stray_path("", ID), None);
    }
}
