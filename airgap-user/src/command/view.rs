//! What a command sees of the host's files: a mount namespace of its own, where no other
//! process shows, cgroups and kernel settings can be read only, and what listens on a
//! unix socket now is hidden.

use std::{
    fs,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    devices,
    mount::{PLAIN, bind, cover, mount, read_only},
    mounts::{Fate, amiss, entries, fate},
};
use crate::host::procfs;

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
    let before = entries(&mountinfo);
    for entry in &before {
        let done = match fate(entry, network) {
            Some(Fate::ReadOnly) => read_only(&entry.target),
            Some(Fate::Covered) => cover(&entry.target),
            None => continue,
        };
        // What is below another cover cannot be reached any more; the kernel is asked below.
        if let Err(error) = done {
            log::debug!("{}: {error:#}", entry.target.display());
        }
    }
    for path in sockets {
        let done = bind(Path::new("/dev/null"), &path);
        if fs::metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            done?;
            bail!("the socket {} is not hidden", path.display());
        }
    }
    devices::build()?;
    let mountinfo = procfs::text("/proc/self/mountinfo").context("cannot read mountinfo again")?;
    let amiss = amiss(&before, &entries(&mountinfo), network);
    if let Some(target) = amiss.first() {
        bail!("the mount at {} is not as it should be", target.display());
    }
    Ok(())
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
