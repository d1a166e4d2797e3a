//! Engines that look like neighbours. Go code that makes a network namespace, or works in one,
//! does so in a thread of its own, and has that thread ended instead of going back. The first
//! thread of a process cannot be ended: it stays there for as long as the process runs, and does
//! nothing (runtime.mexit; netns.NewNS of containers/common). `/proc/PID/ns` is that thread's.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// By file name.
const PROGRAMS: [&str; 4] = ["podman", "dockerd", "containerd", "crio"];

/// Whether the process of a directory in `/proc` is an engine of this host, other threads of
/// which are where airgap is: its first thread's network says nothing of it.
pub(super) fn is_engine_elsewhere(dir: &Path) -> bool {
    let own = Path::new("/proc/self");
    let same = |kind: &str| {
        let of = |process: &Path| fs::metadata(process.join("ns").join(kind)).map(|n| n.ino());
        matches!((of(dir), of(own)), (Ok(a), Ok(b)) if a == b)
    };
    let exe = dir.join("exe");
    let program = fs::read_link(&exe).unwrap_or_default();
    let root = fs::metadata(&exe).is_ok_and(|about| about.uid() == 0 && about.mode() & 0o022 == 0);
    is_program(program.file_name())
        && root
        && ["mnt", "pid", "user"].into_iter().all(same)
        && threads(dir).any(|thread| {
            let network = |task: &Path| fs::metadata(task.join("ns/net")).map(|n| n.ino());
            matches!((network(&thread), network(own)), (Ok(a), Ok(b)) if a == b)
        })
}

fn is_program(name: Option<&OsStr>) -> bool {
    name.and_then(OsStr::to_str)
        .is_some_and(|name| PROGRAMS.contains(&name))
}

fn threads(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let all = fs::read_dir(dir.join("task")).into_iter().flatten();
    all.flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_engines_count() {
        for (name, is) in [
            (Some("podman"), true),
            (Some("dockerd"), true),
            (Some("podman-relay"), false),
            (Some("podman (deleted)"), false),
            (None, false),
        ] {
            assert_eq!(is_program(name.map(OsStr::new)), is, "{name:?}");
        }
        // This one is where it is, and no engine.
        assert!(!is_engine_elsewhere(Path::new("/proc/self")));
        assert!(!is_engine_elsewhere(Path::new("/nowhere")));
    }
}
