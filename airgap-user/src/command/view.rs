//! What a command sees of the host's files: a mount namespace of its own, where no other
//! process shows, cgroups and kernel settings can be read only, and what listens on a
//! unix socket now is hidden.

use std::{
    ffi::{CStr, CString},
    fs, io,
    mem::MaybeUninit,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    ptr,
};

use anyhow::{Context as _, Result, bail};

use super::{
    devices,
    mounts::{Entry, Fate, entries, fate},
};
use crate::procfs;

pub(super) const PLAIN: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

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

fn cover(target: &Path) -> Result<()> {
    if target.is_dir() {
        let flags = PLAIN | libc::MS_RDONLY;
        mount(
            Some(c"none"),
            target,
            Some(c"tmpfs"),
            flags,
            Some(c"mode=0555"),
        )
    } else {
        bind(Path::new("/dev/null"), target)
    }
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    let source = CString::new(source.as_os_str().as_bytes())?;
    mount(Some(&source), target, None, libc::MS_BIND, None)
}

fn read_only(target: &Path) -> Result<()> {
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | PLAIN;
    mount(None, target, None, flags, None)
}

pub(super) fn mount(
    source: Option<&CStr>,
    target: &Path,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> Result<()> {
    let text = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    let name = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: NUL-terminated strings or null.
    let rc = unsafe {
        libc::mount(
            text(source),
            name.as_ptr(),
            text(kind),
            flags,
            text(data).cast(),
        )
    };
    if rc == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
        .with_context(|| format!("cannot change the mount at {}", target.display()))
}
