//! The two file systems the gate needs, as the host sees them.

use std::{
    ffi::CString,
    fs, io,
    mem::zeroed,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{failure::Failure, host::procfs};

const BPFFS: &str = "/sys/fs/bpf";
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// Where the host's cgroup v2 is mounted.
///
/// # Errors
/// If it is mounted nowhere, or only from inside a cgroup namespace.
pub fn cgroup_mount() -> Result<PathBuf> {
    let mounts =
        procfs::text("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let path = find_cgroup2(&mounts).ok_or_else(|| {
        Failure::new(
            "this host has no cgroup v2 mounted",
            "boot with systemd.unified_cgroup_hierarchy=1, or run: mkdir -p /sys/fs/cgroup/unified && \
             mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
        )
    })?;
    // The true root has inode 1; in a cgroup namespace it is somebody's own.
    let inode = fs::metadata(&path)
        .with_context(|| format!("cannot stat {}", path.display()))?
        .ino();
    if inode != 1 {
        return Err(Failure::new(
            format!(
                "{} is not the root of the host's cgroup v2 tree",
                path.display()
            ),
            "run airgap on the host, or its container with --cgroupns=host",
        )
        .into());
    }
    Ok(path)
}

/// The first cgroup2 mount in a mountinfo file that shows the whole tree.
fn find_cgroup2(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, target) = (fields.next()?, fields.next()?);
        (right.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(target))
    })
}

/// Makes sure that the host's bpffs is at `/sys/fs/bpf`; returns whether it
/// had to be mounted.
///
/// # Errors
/// If it cannot be mounted, or is another one than the host's init sees (then
/// pins would vanish with this process' mount namespace).
pub fn mount_bpffs() -> Result<bool> {
    let path = Path::new(BPFFS);
    let mounted = !is_bpffs(path)?;
    if mounted {
        let (source, target) = (c"bpf", CString::new(path.as_os_str().as_bytes())?);
        // SAFETY: NUL-terminated strings, no data.
        let ret = unsafe {
            libc::mount(
                source.as_ptr(),
                target.as_ptr(),
                source.as_ptr(),
                0,
                std::ptr::null(),
            )
        };
        if ret != 0 {
            return Err(io::Error::last_os_error()).context(Failure::new(
                format!("cannot mount bpffs at {BPFFS}"),
                format!("as root: mount -t bpf bpf {BPFFS}"),
            ));
        }
    }
    let here = fs::metadata(path).with_context(|| format!("cannot stat {BPFFS}"))?;
    let of_init = fs::metadata(format!("/proc/1/root{BPFFS}"));
    if of_init.is_ok_and(|m| m.dev() != here.dev()) {
        return Err(Failure::new(
            format!("{BPFFS} is not the bpffs that the host's init sees: a seal pinned here would end with this process"),
            "run airgap in the host's mount namespace, for example: nsenter -t 1 -m airgap …",
        )
        .into());
    }
    Ok(mounted)
}

fn is_bpffs(path: &Path) -> Result<bool> {
    let c = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: plain data.
    let mut stat: libc::statfs = unsafe { zeroed() };
    // SAFETY: a NUL-terminated path and a whole statfs.
    if unsafe { libc::statfs(c.as_ptr(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("cannot stat {BPFFS}"));
    }
    // The field is signed with glibc and unsigned with musl.
    Ok(stat.f_type as u32 == BPF_FS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::find_cgroup2;
    use std::path::PathBuf;

    #[test]
    fn finds_the_unified_mount() {
        let hybrid = "32 25 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             33 32 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             41 32 0:37 /docker/abc /mnt rw - cgroup2 cgroup2 rw\n\
             42 32 0:37 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            find_cgroup2(hybrid),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(
            find_cgroup2("33 32 0:29 / /sys/fs/cgroup rw - cgroup cgroup rw"),
            None
        );
    }
}
