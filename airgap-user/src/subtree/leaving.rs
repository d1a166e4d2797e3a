//! How a task could leave a subtree, or have another act for it: by another cgroup, by what
//! its user owns, by processes of the same user.

use std::{
    ffi::CString,
    fs::{self, Metadata},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use crate::container::{Cgroup, Credentials};

const READ: u32 = 4;
const WRITE: u32 = 2;
/// `CAP_DAC_OVERRIDE`.
const DAC_OVERRIDE: u64 = 1 << 1;

/// Whether these credentials may do all of `bits` (4: read, 2: write) to a file. Pure.
pub(super) fn may(who: &Credentials, about: &Metadata, bits: u32) -> bool {
    let mode = about.mode();
    who.capabilities & DAC_OVERRIDE != 0
        || who.users.contains(&about.uid()) && (mode >> 6) & bits == bits
        || who.groups.contains(&about.gid()) && (mode >> 3) & bits == bits
        || mode & bits == bits
}

/// Whether they may open a device node to read or to write. An access list names others: the
/// mode then shows for the group what the list lets anybody in it do (acl(5)).
pub(super) fn may_open(who: &Credentials, about: &Metadata, path: &Path) -> bool {
    let listed = about.mode() >> 3 & (READ | WRITE) != 0 && has_list(path);
    listed || may(who, about, READ) || may(who, about, WRITE)
}

fn has_list(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return true;
    };
    let name = c"system.posix_acl_access";
    // SAFETY: two strings that end with a zero byte; no buffer is written.
    unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

/// The cgroup above the subtree to which these credentials may move processes: to leave it
/// one has to write to an ancestor's `cgroup.procs` (cgroup-v2.rst, "Delegation
/// Containment").
pub(super) fn exit_above(root: &Path, cgroup: &Cgroup, who: &Credentials) -> Option<String> {
    let above = cgroup.path.ancestors().skip(1);
    let above = above.take_while(|dir| dir.starts_with(root));
    for dir in above {
        let Ok(about) = fs::metadata(dir.join("cgroup.procs")) else {
            continue;
        };
        if may(who, &about, WRITE) {
            let within = dir.strip_prefix(root).unwrap_or(dir);
            return Some(format!("/{}", within.display()));
        }
    }
    None
}

/// A process outside of the subtree that belongs to one of these users, in words: one that
/// the subtree's could trace, share a port with, or signal to. `own`: the subtree's path.
pub(super) fn namesake(own: &str, users: &[u32]) -> Option<String> {
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let dir = entry.path();
        let pid = entry.file_name();
        let Some(pid) = pid.to_str().filter(|pid| pid.parse::<u32>().is_ok()) else {
            continue;
        };
        let Ok(status) = fs::read(dir.join("status")) else {
            continue;
        };
        let status = String::from_utf8_lossy(&status);
        let field = |name| {
            let mut lines = status.lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        // Without memory: a thread of the kernel, or one that has ended.
        if field("VmSize:").is_none() {
            continue;
        }
        let ids = field("Uid:").unwrap_or_default().split_ascii_whitespace();
        let mut ids = ids.filter_map(|id| id.parse::<u32>().ok());
        if !ids.any(|id| users.contains(&id)) {
            continue;
        }
        let cgroup = fs::read_to_string(dir.join("cgroup")).unwrap_or_default();
        let Some(path) = cgroup.lines().find_map(|line| line.strip_prefix("0::")) else {
            continue;
        };
        let inside = path == own || path.strip_prefix(own).is_some_and(|p| p.starts_with('/'));
        if !inside {
            let name = field("Name:").unwrap_or_default();
            return Some(format!("'{name}' ({pid}) of the cgroup {path}"));
        }
    }
    None
}

/// Whether one of these owns a tun interface, which it may attach to and so send frames by
/// (Documentation/networking/tuntap.rst).
pub(super) fn owns_tun(who: &Credentials) -> bool {
    let links = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    links.into_iter().any(|link| {
        let number = |name: &str| -> Option<i64> {
            let text = fs::read_to_string(link.path().join(name)).ok()?;
            text.trim().parse().ok()
        };
        let is = |list: &[u32], name| {
            let id = number(name).and_then(|id| u32::try_from(id).ok());
            id.is_some_and(|id| list.contains(&id))
        };
        // One of nobody's in particular is everybody's (tun_not_capable, drivers/net/tun.c).
        let nobodys = |name| number(name).is_none_or(|id| id < 0);
        let is_tun = link.path().join("tun_flags").exists();
        let shared = is_tun && nobodys("owner") && nobodys("group");
        shared || is(&who.users, "owner") || is(&who.groups, "group")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32) -> Credentials {
        Credentials {
            users: vec![uid; 4],
            groups: vec![uid],
            capabilities: 0,
            bounding: 0,
            no_new_privs: true,
            who: "it".into(),
        }
    }

    #[test]
    fn modes_are_read_as_the_kernel_does() {
        let passwd = fs::metadata("/etc/passwd").unwrap();
        assert!(may(&user(0), &passwd, WRITE) && may(&user(4711), &passwd, READ));
        assert!(!may(&user(4711), &passwd, WRITE));
        let capable = Credentials {
            capabilities: DAC_OVERRIDE,
            ..user(4711)
        };
        assert!(may(&capable, &passwd, WRITE));
        let null = fs::metadata("/dev/null").unwrap();
        assert!(may_open(&user(4711), &null, Path::new("/dev/null")));
    }

    #[test]
    fn others_of_a_user_are_found() {
        // SAFETY: takes nothing.
        let uid = unsafe { libc::geteuid() };
        let found = namesake("/no such cgroup", &[uid]).unwrap();
        assert!(found.contains("of the cgroup /"), "{found}");
        assert_eq!(namesake("/no such cgroup", &[4_000_000_001]), None);
    }
}
