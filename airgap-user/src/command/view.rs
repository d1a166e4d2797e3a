//! What a command sees of the host's files: a mount namespace of its own, where no other
//! process shows, cgroups and kernel settings can be read only, and what listens on a
//! unix socket now is hidden.

use std::{
    ffi::CString,
    fs,
    mem::MaybeUninit,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    devices,
    mount::{PLAIN, bind, cover, mount, read_only},
    mounts::{Entry, Fate, entries, fate},
};
use crate::procfs;

/// Makes the view; the process has namespaces of its own for mounts, processes and IPC.
/// `network`: file systems that lead to a network were accepted. `hide`: what listens on a
/// unix socket.
///
/// # Errors
/// If anything of it fails: nothing is left out.
pub(super) fn build(network: bool, hide: bool) -> Result<()> {
    let sockets = if hide { listening()? } else { Vec::new() };
    let mountinfo = procfs::text("/proc/self/mountinfo").context("cannot read mountinfo")?;
    // From here on nothing of it gets to the host, nor the host's later mounts here.
    mount(
        None,
        Path::new("/"),
        None,
        libc::MS_REC | libc::MS_PRIVATE,
        None,
    )?;
    mount(
        Some(c"proc"),
        Path::new("/proc"),
        Some(c"proc"),
        PLAIN,
        None,
    )?;
    terminals()?;
    for path in [
        "/proc/sys",
        "/proc/sysrq-trigger",
        "/proc/irq",
        "/proc/bus",
        "/proc/fs",
    ] {
        let path = Path::new(path);
        if path.exists() {
            bind(path, path)?;
            read_only(path)?;
        }
    }
    for entry in entries(&mountinfo) {
        let (fate, done) = match fate(&entry, network) {
            Some(Fate::ReadOnly) => (Fate::ReadOnly, read_only(&entry.target)),
            Some(Fate::Covered) => (Fate::Covered, cover(&entry.target)),
            None => continue,
        };
        // What is below another cover cannot be reached any more, and changed neither.
        if !holds(&entry, fate) {
            done?;
            bail!("{} is not as it should be", entry.target.display());
        }
    }
    for path in sockets {
        let done = bind(Path::new("/dev/null"), &path);
        if fs::metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            done?;
            bail!("the socket {} is not hidden", path.display());
        }
    }
    devices::build()
}

/// Terminals of its own: its user's others cannot be opened. The one that it has stays.
fn terminals() -> Result<()> {
    let pts = Path::new("/dev/pts");
    if !pts.is_dir() {
        return Ok(());
    }
    // Group 5 is tty, on every distribution.
    let data = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    mount(Some(c"devpts"), pts, Some(c"devpts"), flags, Some(data))
}

/// Whether it is so now, by what its path leads to.
fn holds(entry: &Entry, fate: Fate) -> bool {
    let Ok(found) = fs::metadata(&entry.target) else {
        return true;
    };
    if found.dev() != entry.device {
        return true;
    }
    let Ok(name) = CString::new(entry.target.as_os_str().as_bytes()) else {
        return false;
    };
    let mut about = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: a NUL-terminated path, and room for the answer.
    let rc = unsafe { libc::statvfs(name.as_ptr(), about.as_mut_ptr()) };
    // SAFETY: all zero, or filled by the kernel.
    let flags = unsafe { about.assume_init() }.f_flag;
    fate == Fate::ReadOnly && rc == 0 && flags & libc::ST_RDONLY != 0
}

/// Sockets that processes of this network namespace have in the file system.
fn listening() -> Result<Vec<PathBuf>> {
    let text = procfs::text("/proc/net/unix").context("cannot read /proc/net/unix")?;
    let path = |line: &str| {
        // Number, count, protocol, flags, type, state, inode, path.
        let path = line.split_ascii_whitespace().nth(7)?;
        let path = PathBuf::from(&line[line.find(path)?..]);
        let found = fs::metadata(&path).ok()?;
        (path.is_absolute() && found.file_type().is_socket()).then_some(path)
    };
    let mut paths: Vec<_> = text.lines().skip(1).filter_map(path).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}
