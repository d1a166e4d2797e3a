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
    /// Its number, and that of the mount it is on.
    id: u64,
    parent: u64,
    pub(super) target: PathBuf,
    pub(super) kind: String,
    options: Vec<String>,
}

impl Entry {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|one| one == option)
    }

    /// Flags that it has and keeps when it is remounted (mount(2)).
    pub(super) fn flags(&self) -> libc::c_ulong {
        let flags = [
            ("ro", libc::MS_RDONLY),
            ("nosuid", libc::MS_NOSUID),
            ("nodev", libc::MS_NODEV),
            ("noexec", libc::MS_NOEXEC),
            ("noatime", libc::MS_NOATIME),
            ("nodiratime", libc::MS_NODIRATIME),
            ("relatime", libc::MS_RELATIME),
        ];
        let set = flags.iter().filter(|(option, _)| self.has(option));
        set.fold(0, |all, (_, flag)| all | flag)
    }
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
        let mut left = left.split(' ');
        let (id, parent) = (left.next()?, left.next()?);
        let target = unescaped(left.nth(2)?);
        Some(Entry {
            id: id.parse().ok()?,
            parent: parent.parse().ok()?,
            target,
            kind: right.split(' ').next()?.to_owned(),
            options: left.next()?.split(',').map(str::to_owned).collect(),
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
            | "smbfs"
            | "pvfs2"
            | "orangefs"
            | "beegfs"
            | "gpfs"
            | "coda"
            | "vboxsf"
            | "vmhgfs"
            | "prl_fs"
            | "hostfs"
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
        // Those at /dev are replaced: others show devices that lead anywhere, and terminals.
        "devtmpfs" if entry.target != Path::new("/dev") => Some(Fate::Covered),
        "devpts" if entry.target != Path::new("/dev/pts") => Some(Fate::Covered),
        // Looking at a name there has a process of the host's ask for it. Queues there are
        // those of others.
        "autofs" | "mqueue" | "bpf" => Some(Fate::Covered),
        kind if is_network(kind) && !network => Some(Fate::Covered),
        _ => None,
    }
}

/// The mounts of a first mountinfo that are not as they should be in a later one of the same
/// namespace, whatever `stat` says of their paths: a FUSE file system answers its own user
/// alone.
pub(super) fn amiss(before: &[Entry], now: &[Entry], network: bool) -> Vec<PathBuf> {
    let wrong = |entry: &&Entry| {
        let later = now.iter().find(|later| later.id == entry.id);
        match (fate(entry, network), later) {
            (None, _) | (_, None) => false,
            (Some(Fate::ReadOnly), Some(later)) if later.has("ro") => false,
            (Some(_), Some(later)) => !is_hidden(later, now),
        }
    };
    let amiss = before.iter().filter(wrong);
    amiss.map(|entry| entry.target.clone()).collect()
}

/// Whether no path leads to it: something is mounted on it, or on what it is on, or on a
/// directory on the way.
fn is_hidden(entry: &Entry, all: &[Entry]) -> bool {
    let mut at = entry;
    // As many steps as there are mounts: what is read may be torn.
    for _ in 0..=all.len() {
        let covers = |other: &Entry| {
            let on_it = other.parent == at.id && other.target == at.target;
            let before_it = other.parent == at.parent
                && other.id != at.id
                && other.target != at.target
                && at.target.starts_with(&other.target);
            on_it || before_it
        };
        if all.iter().any(covers) {
            return true;
        }
        match all.iter().find(|parent| parent.id == at.parent) {
            Some(parent) if parent.id != at.id => at = parent,
            _ => return false,
        }
    }
    false
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
    fn what_is_neither_covered_nor_read_only_is_found() {
        let before = entries(INFO);
        let amiss_after = |more: &str| {
            let now = entries(&format!("{INFO}{more}"));
            amiss(&before, &now, false)
        };
        let covers = "\
40 24 0:50 / /srv/a\\040chroot/proc ro - tmpfs none rw
41 26 0:50 / /net ro - tmpfs none rw
42 27 0:50 / /home ro - tmpfs none rw
43 22 0:50 / /run/user ro - tmpfs none rw
44 30 0:50 / /srv/chroot/dev ro - tmpfs none rw
";
        // One on the way hides what is below; one beside does not.
        assert_eq!(amiss_after(covers), [Path::new("/sys/fs/cgroup")]);
        let fewer = covers.replace("43 22 0:50 / /run/user ", "43 22 0:50 / /run/users ");
        let found = amiss_after(&fewer);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], Path::new("/run/user/1000/doc"));
        let shut = INFO.replace("/sys/fs/cgroup rw", "/sys/fs/cgroup ro,nosuid");
        let now = entries(&format!("{shut}{covers}"));
        assert_eq!(amiss(&before, &now, false), [] as [PathBuf; 0]);
        // What is covered covers what is on it.
        let on = "45 28 0:60 / /home/near/x rw - nfs far:/x rw\n";
        let with = entries(&format!("{INFO}{on}"));
        let now = entries(&format!("{shut}{covers}{on}"));
        assert_eq!(amiss(&with, &now, false), [] as [PathBuf; 0]);
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
