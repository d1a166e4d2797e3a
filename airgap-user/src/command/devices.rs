//! The devices that a command has: a `/dev` of its own. The user may have been let at more
//! than a command needs, and some of it leads to a network: serial lines, USB, disks, a tun
//! interface that is the user's. What is plugged in later does not show either.

use std::{
    ffi::{CStr, CString},
    fs, io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::symlink},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    mount::{PLAIN, mount},
    mounts::entries,
};
use crate::host::procfs;

const DEV: &str = "/dev";
/// Nodes that lead nowhere, terminals, and what computes (`nvidia*` is looked for).
const NODES: [&str; 7] = ["null", "zero", "full", "random", "urandom", "tty", "kfd"];
/// What is a link on every host.
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Terminals.
const PTS: &str = "pts";
/// Graphics devices.
const DRI: &str = "dri";

/// A mount that is in no tree yet.
struct Kept {
    target: PathBuf,
    tree: OwnedFd,
    is_dir: bool,
}

/// Puts it in place of `/dev`, in a mount namespace of its own.
///
/// # Errors
/// If anything of it fails.
pub(super) fn build() -> Result<()> {
    let kept: Vec<_> = wanted()?
        .into_iter()
        .filter_map(|target| keep(target).transpose())
        .collect::<Result<_>>()?;
    without_devices()?;
    let dev = Path::new(DEV);
    let sizes = c"mode=0755,size=64k";
    mount(Some(c"none"), dev, Some(c"tmpfs"), PLAIN, Some(sizes))?;
    for one in &kept {
        put(one)?;
    }
    for (name, target) in LINKS {
        symlink(target, dev.join(name)).with_context(|| format!("cannot link /dev/{name}"))?;
    }
    // Its own: what is shared there is shared with whoever has the same.
    let shm = dev.join("shm");
    fs::create_dir(&shm).context("cannot make /dev/shm")?;
    let mode = c"mode=1777";
    mount(Some(c"none"), &shm, Some(c"tmpfs"), PLAIN, Some(mode))?;
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | PLAIN;
    mount(None, dev, None, flags, None)
}

/// No node of any other file system is a device: whoever made a root directory for something
/// else has put some there.
fn without_devices() -> Result<()> {
    /// `MOUNT_ATTR_NODEV` (include/uapi/linux/mount.h).
    const NODEV: u64 = 4;
    // struct mount_attr: what is set, what is cleared, propagation, user namespace.
    let attributes = [NODEV, 0, 0, 0];
    // SAFETY: a NUL-terminated path, and the structure with its size.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    if rc == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::ENOSYS) {
        return Err(error).context("cannot take devices from the mounts");
    }
    // Before Linux 5.12: one by one. What no path leads to can be left out.
    let mountinfo = procfs::text("/proc/self/mountinfo").context("cannot read mountinfo")?;
    for entry in entries(&mountinfo) {
        let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NODEV | entry.flags();
        match mount(None, &entry.target, None, flags, None) {
            Err(error) if fs::symlink_metadata(&entry.target).is_ok() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What is kept, where it is there.
fn wanted() -> Result<Vec<PathBuf>> {
    let dev = Path::new(DEV);
    let mut wanted: Vec<_> = NODES.iter().map(|name| dev.join(name)).collect();
    wanted.push(dev.join(PTS));
    let names = |dir: &Path| -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot list {}", dir.display()))?,
        };
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    };
    let begins = |path: &Path, with: &str| {
        let name = path.file_name().unwrap_or_default();
        name.as_bytes().starts_with(with.as_bytes())
    };
    wanted.extend(names(dev)?.into_iter().filter(|p| begins(p, "nvidia")));
    let render = names(&dev.join(DRI))?;
    wanted.extend(render.into_iter().filter(|p| begins(p, "renderD")));
    Ok(wanted)
}

/// `None`: it is not there, or no device and no directory.
fn keep(target: PathBuf) -> Result<Option<Kept>> {
    use std::os::unix::fs::FileTypeExt as _;
    let Ok(about) = fs::metadata(&target) else {
        return Ok(None);
    };
    if !about.file_type().is_char_device() && !about.is_dir() {
        return Ok(None);
    }
    /// `OPEN_TREE_CLONE` (include/uapi/linux/mount.h).
    const CLONE: libc::c_int = 1;
    let name = CString::new(target.as_os_str().as_bytes())?;
    let flags = CLONE | libc::O_CLOEXEC | libc::AT_RECURSIVE;
    // SAFETY: a NUL-terminated path; the descriptor is new and ours.
    let tree = unsafe {
        let fd = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, name.as_ptr(), flags);
        let fd = i32::try_from(fd)?;
        if fd < 0 {
            let error = io::Error::last_os_error();
            return Err(error).with_context(|| format!("cannot keep {}", target.display()));
        }
        OwnedFd::from_raw_fd(fd)
    };
    Ok(Some(Kept {
        target,
        tree,
        is_dir: about.is_dir(),
    }))
}

fn put(kept: &Kept) -> Result<()> {
    let what = || format!("cannot put {} back", kept.target.display());
    if kept.is_dir {
        fs::create_dir_all(&kept.target).with_context(what)?;
    } else {
        let parent = kept.target.parent().unwrap_or(Path::new(DEV));
        fs::create_dir_all(parent).with_context(what)?;
        fs::File::create(&kept.target).with_context(what)?;
    }
    move_to(kept).with_context(what)
}

fn move_to(kept: &Kept) -> Result<()> {
    /// `MOVE_MOUNT_F_EMPTY_PATH`.
    const EMPTY: libc::c_uint = 4;
    const HERE: &CStr = c"";
    let name = CString::new(kept.target.as_os_str().as_bytes())?;
    // SAFETY: an open descriptor and NUL-terminated paths.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            kept.tree.as_raw_fd(),
            HERE.as_ptr(),
            libc::AT_FDCWD,
            name.as_ptr(),
            EMPTY,
        )
    };
    match rc {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}
