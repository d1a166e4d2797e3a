//! One process of a kind at a time, and which one that is.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const DIR: &str = "/run";

/// Held until dropped; the kernel lets go of it if the process dies.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "held for its drop")] File);

/// Another process that does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its pid, unless it is in a pid namespace that this process does not see.
    pub pid: Option<i32>,
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "pid {pid}"),
            None => f.write_str("in another pid namespace"),
        }
    }
}

impl Alone {
    /// Becomes the one process that does `what` for whoever listens at `socket`.
    ///
    /// # Errors
    /// If the lock file cannot be opened or locked. Another process is no error.
    pub fn at(what: &str, socket: &Path) -> Result<Result<Self, Other>> {
        let path = path(what, socket);
        taken(&path).with_context(|| format!("cannot lock {}", path.display()))
    }

    /// Who does it now; `None`: nobody, or that cannot be told. Not to be asked of what this
    /// process does: the kernel lets go of a lock with any descriptor of its file.
    pub fn other(what: &str, socket: &Path) -> Option<Other> {
        let file = OpenOptions::new().write(true).open(path(what, socket));
        holder(&file.ok()?).ok()?
    }
}

fn path(what: &str, socket: &Path) -> PathBuf {
    let name = name(&there(socket).to_string_lossy());
    Path::new(DIR).join(format!("airgap-{what}-{name}.lock"))
}

/// Where a path leads: /var/run is a link to /run. The file itself may not be there yet.
fn there(path: &Path) -> PathBuf {
    let directory = || {
        Some(
            fs::canonicalize(path.parent()?)
                .ok()?
                .join(path.file_name()?),
        )
    };
    let whole = fs::canonicalize(path).ok().or_else(directory);
    whole.unwrap_or_else(|| path.to_owned())
}

/// A path as the name of one file; two paths have two names. Pure.
fn name(path: &str) -> String {
    let mut name = String::new();
    for c in path.trim_start_matches('/').chars() {
        match c {
            '/' => name.push('-'),
            c if c.is_ascii_alphanumeric() || c == '.' || c == '_' => name.push(c),
            c => name += &format!("%{:x}.", u32::from(c)),
        }
    }
    name
}

/// A record lock and no flock: the kernel says who has it.
fn taken(path: &Path) -> io::Result<Result<Alone, Other>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    loop {
        let lock = whole();
        // SAFETY: an open descriptor and a lock that outlives the call.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock) } == 0 {
            return Ok(Ok(Alone(file)));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => continue,
            Some(libc::EACCES | libc::EAGAIN) => {}
            _ => return Err(error),
        }
        // Else it has ended meanwhile.
        if let Some(other) = holder(&file)? {
            return Ok(Err(other));
        }
    }
}

/// Who has the lock of an open file.
fn holder(file: &File) -> io::Result<Option<Other>> {
    let mut lock = whole();
    // SAFETY: an open descriptor, and a lock that outlives the call, which writes into it.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let pid = Some(lock.l_pid).filter(|pid| *pid > 0);
    Ok((lock.l_type != libc::F_UNLCK as libc::c_short).then_some(Other { pid }))
}

/// To write, from the file's begin to its end.
fn whole() -> libc::flock {
    // SAFETY: zero is a value of each of its fields.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

#[cfg(test)]
mod tests {
    use super::{Other, name, taken};
    use std::fs;

    #[test]
    fn each_path_has_its_own_name() {
        assert_eq!(name("/run/docker.sock"), "run-docker.sock");
        let paths = [
            "/run/a-b",
            "/run/a/b",
            "/run/a%2d.b",
            "/run/a%b",
            "/run/a\nb",
        ];
        let names: std::collections::BTreeSet<_> = paths.iter().map(|path| name(path)).collect();
        assert_eq!(names.len(), paths.len(), "{names:?}");
        assert!(names.iter().all(|name| !name.contains(['/', '\n'])));
    }

    #[test]
    fn it_is_free_again_when_it_was_dropped() {
        let path = std::env::temp_dir().join(format!("airgap-alone-{}", std::process::id()));
        for _ in 0..2 {
            assert!(taken(&path).unwrap().is_ok());
        }
        fs::remove_file(&path).unwrap();
        assert!(taken(&path.join("none")).is_err());
        assert_eq!(Other { pid: Some(7) }.to_string(), "pid 7");
    }
}
