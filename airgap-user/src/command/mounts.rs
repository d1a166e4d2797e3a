//! What of the mounts a command must not have, by their file systems. Pure.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// What becomes of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It can be read, and not written.
    ReadOnly,
    /// It is as if it were empty.
    Covered,
}

/// A mount, as mountinfo has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) target: PathBuf,
    pub(super) kind: String,
    /// Its device, as `stat` has it.
    pub(super) device: u64,
}

/// A file system whose writes leave this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where it is mounted.
    pub target: PathBuf,
    /// Its type.
    pub kind: String,
}

/// The mounts of a mountinfo file.
pub(super) fn entries(mountinfo: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let (major, minor) = left.split(' ').nth(2)?.split_once(':')?;
        Some(Entry {
            target: unescaped(left.split(' ').nth(4)?),
            device: libc::makedev(major.parse().ok()?, minor.parse().ok()?),
            kind: right.split(' ').next()?.to_owned(),
        })
    };
    mountinfo.lines().filter_map(entry).collect()
}

/// Blanks and the like are octal there.
fn unescaped(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// Whether what is written there leaves this host.
fn is_network(kind: &str) -> bool {
    matches!(
        kind,
        "nfs"
            | "nfs4"
            | "cifs"
            | "smb3"
            | "ceph"
            | "9p"
            | "afs"
            | "glusterfs"
            | "lustre"
            | "virtiofs"
            | "ocfs2"
            | "gfs2"
            | "fuse"
            | "fuseblk"
    ) || kind.starts_with("fuse.") && kind != "fuse.lxcfs"
}

/// What becomes of it. `network`: those that lead to a network were accepted.
pub(super) fn fate(entry: &Entry, network: bool) -> Option<Fate> {
    match entry.kind.as_str() {
        // The one at /proc is replaced: others show processes that are not sealed.
        "proc" if entry.target != Path::new("/proc") => Some(Fate::Covered),
        "cgroup" | "cgroup2" | "sysfs" | "debugfs" | "tracefs" | "securityfs" | "configfs"
        | "efivarfs" | "pstore" => Some(Fate::ReadOnly),
        // The one at /dev is replaced: others show devices that lead anywhere.
        "devtmpfs" if entry.target != Path::new("/dev") => Some(Fate::Covered),
        // Looking at a name there has a process of the host's ask for it. Queues there are
        // those of others.
        "autofs" | "mqueue" | "bpf" => Some(Fate::Covered),
        kind if is_network(kind) && !network => Some(Fate::Covered),
        _ => None,
    }
}

/// The file system that leads to a network and holds one of these paths: it cannot be
/// covered, as the command runs from it.
pub fn held_by(mountinfo: &str, paths: &[&Path]) -> Option<Held> {
    let entries = entries(mountinfo);
    paths.iter().find_map(|path| {
        // The last one that holds it is on top.
        let above = entries
            .iter()
            .filter(|entry| path.starts_with(&entry.target));
        let holder = above.max_by_key(|entry| entry.target.components().count())?;
        is_network(&holder.kind).then(|| Held {
            target: holder.target.clone(),
            kind: holder.kind.clone(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:5 / /proc rw - proc proc rw
24 22 0:6 / /srv/a\\040chroot/proc rw shared:7 - proc proc rw
25 22 0:7 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
26 22 0:8 / /net rw - autofs systemd-1 rw
27 22 0:9 / /home rw - nfs4 far:/home rw
28 27 8:2 / /home/near rw - ext4 /dev/sdb1 rw
29 22 0:9 / /run/user/1000/doc rw - fuse.portal portal rw
30 22 0:10 / /srv/chroot/dev rw - devtmpfs udev rw
31 22 0:10 / /dev rw - devtmpfs udev rw
32 22 0:9 / /run/user/1000/doc/x
";

    #[test]
    fn each_mount_has_its_fate() {
        let found = entries(INFO);
        assert_eq!(found.len(), 10);
        assert_eq!(found[2].target, Path::new("/srv/a chroot/proc"));
        let fates = |network| -> Vec<_> { found.iter().map(|e| fate(e, network)).collect() };
        let (read, cover) = (Some(Fate::ReadOnly), Some(Fate::Covered));
        assert_eq!(
            fates(false),
            [
                None, None, cover, read, cover, cover, None, cover, cover, None
            ]
        );
        assert_eq!(
            fates(true),
            [
                None, None, cover, read, cover, None, None, None, cover, None
            ]
        );
    }

    #[test]
    fn what_it_runs_from_is_told() {
        let held = |path: &str| held_by(INFO, &[Path::new("/"), Path::new(path)]);
        assert_eq!(held("/home/me").unwrap().kind, "nfs4");
        assert_eq!(held("/home").unwrap().target, Path::new("/home"));
        for near in ["/home/near/me", "/homes", "/usr/bin", "/"] {
            assert_eq!(held(near), None, "{near}");
        }
        let root = INFO.replace("ext4 /dev/sda1", "9p host");
        assert_eq!(held_by(&root, &[Path::new("/usr")]).unwrap().kind, "9p");
    }
}
