//! The cgroup of a command: `airgap/<id>` in the v2 hierarchy, on every host.
//!
//! Its name is its seal's id, so that the gate marks it when it is made. It is beside
//! what systemd manages, where systemd touches nothing that it did not make; Docker's
//! cgroupfs driver does the same.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use airgap_common::map::ID_LEN;
use anyhow::{Context as _, Result};

use crate::{container::Cgroup, notation::Kind, state::is_id};

/// Directory of all commands, below the root.
pub const PARENT: &str = "airgap";
/// The id's last digits: no container's are these, but by chance, one in 2^92.
const MARK: &str = "a1269a9e8ecc0de5ea1edc0";
const KIND: Kind = Kind(MARK);
/// How long the kernel may take to let go of an empty one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether this id is a command's.
pub fn is_command(id: &str) -> bool {
    KIND.has(id)
}

/// Whether the cgroup of the command of this id is there. `root`: of the v2 hierarchy.
pub fn exists(root: &Path, id: &str) -> bool {
    root.join(PARENT).join(id).exists()
}

/// How a command is kept in, for as long as it runs: its last digit says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confined {
    /// It may make unix sockets.
    pub unix: bool,
    /// Security hooks, and not its filter, refuse it sockets.
    pub hooks: bool,
    /// It has a network of its own, which leads nowhere, and not the host's.
    pub apart: bool,
}

impl Confined {
    /// That of the command of this id; `None`: it is no command's.
    pub fn of(id: &str) -> Option<Self> {
        if !is_command(id) {
            return None;
        }
        let bits = id.as_bytes()[ID_LEN - 1].wrapping_sub(b'0');
        Some(Self {
            unix: bits & 1 != 0,
            hooks: bits & 2 != 0,
            apart: bits & 4 != 0,
        })
    }
}

/// The cgroup of one command. Whoever holds it looks after it: others tell by a lock.
#[derive(Debug)]
pub struct Nest {
    /// The id of its seal.
    pub id: String,
    /// The cgroup.
    pub cgroup: Cgroup,
    /// Has the lock.
    dir: File,
}

/// An id that nobody has.
fn draw(confined: Confined) -> Result<String> {
    let mut random = [0_u8; (ID_LEN - MARK.len() - 1).div_ceil(2)];
    let mut source = File::open("/dev/urandom").context("cannot open /dev/urandom")?;
    source
        .read_exact(&mut random)
        .context("cannot read /dev/urandom")?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let digits = &digits[..ID_LEN - MARK.len() - 1];
    let bits =
        u8::from(confined.unix) | u8::from(confined.hooks) << 1 | u8::from(confined.apart) << 2;
    Ok(format!("{digits}{MARK}{bits}"))
}

impl Nest {
    /// An id for a command that is kept in so.
    ///
    /// # Errors
    /// If the kernel gives no random numbers.
    pub fn id(confined: Confined) -> Result<String> {
        draw(confined)
    }

    /// Makes what cgroups of commands are in; it goes with the last of them.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn parent(root: &Path) -> io::Result<PathBuf> {
        let parent = root.join(PARENT);
        // Nobody else may lock what is in it.
        match fs::DirBuilder::new().mode(0o700).create(&parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(parent),
        }
    }

    /// Makes the cgroup; the gate marks it if it knows the id.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(root: &Path, id: String) -> Result<Self> {
        let path = root.join(PARENT).join(&id);
        // The parent goes with the last of them, which may be now.
        let done = (0..8).find_map(|_| {
            Self::parent(root).ok()?;
            fs::create_dir(&path).ok()
        });
        if done.is_none() {
            fs::create_dir(&path)
                .with_context(|| format!("cannot make the cgroup {}", path.display()))?;
        }
        let nest = Self::open(path, id);
        nest.context("cannot open the cgroup that was made")
    }

    fn open(path: PathBuf, id: String) -> Result<Self> {
        let dir = File::open(&path)?;
        // SAFETY: an open descriptor and no memory.
        if unsafe { libc::flock(dir.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            return Err(io::Error::last_os_error().into());
        }
        let cgroup = Cgroup {
            id: dir.metadata()?.ino(),
            level: 2,
            path,
        };
        Ok(Self { id, cgroup, dir })
    }

    /// Processes in it, by the kernel's numbers.
    pub fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.cgroup.path.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Ends whatever is in it.
    pub fn kill(&self) {
        // SAFETY: takes no pointers.
        let kill = |pid: u32| unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        for pid in self.processes() {
            kill(pid);
        }
    }

    /// Removes it once it is empty.
    ///
    /// # Errors
    /// If somebody is in it still.
    pub fn remove(self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            match fs::remove_dir(&self.cgroup.path) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) if Instant::now() >= until => {
                    return Err(error).with_context(|| {
                        format!("cannot remove the cgroup {}", self.cgroup.path.display())
                    });
                }
                Err(_) => sleep(Duration::from_millis(2)),
            }
        }
        drop(self.dir);
        // Goes with the last one.
        if let Some(parent) = self.cgroup.path.parent() {
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }
}

/// Cgroups of commands that have ended and that no airgap looks after any more.
pub fn abandoned(root: &Path) -> Vec<Nest> {
    let entries = fs::read_dir(root.join(PARENT))
        .into_iter()
        .flatten()
        .flatten();
    let ids = entries.filter_map(|entry| {
        let id = entry.file_name().into_string().ok()?;
        (is_id(&id) && is_command(&id)).then_some((entry.path(), id))
    });
    ids.filter_map(|(path, id)| Nest::open(path, id).ok())
        .filter(|nest| {
            let events = nest.cgroup.path.join("cgroup.events");
            let events = fs::read_to_string(events).unwrap_or_default();
            events.lines().any(|line| line == "populated 0")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Confined, draw, is_command};
    use crate::state::is_id;

    #[test]
    fn ids_say_what_they_are() {
        for bits in 0..8 {
            let confined = Confined {
                unix: bits & 1 != 0,
                hooks: bits & 2 != 0,
                apart: bits & 4 != 0,
            };
            let id = draw(confined).unwrap();
            assert!(is_id(&id) && is_command(&id), "{id}");
            assert_eq!(Confined::of(&id), Some(confined));
            assert_ne!(id, draw(confined).unwrap());
        }
        let other = "5ea1".repeat(16);
        assert!(!is_command(&other) && Confined::of(&other).is_none());
        assert!(!is_command("") && !is_command("é"));
    }
}
