//! One writer at a time: two `airgap attach` must not interleave.

use std::{
    fs::{File, OpenOptions},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
};

use anyhow::{Context as _, Result, anyhow};

const PATH: &str = "/run/airgap.lock";
const VETHS: &str = "/run/airgap-veths.lock";
const KEEPER: &str = "/run/airgap-keeper.lock";
const LEASES: &str = "/run/airgap-leases.lock";

/// Held until dropped; the kernel lets go of it if the process dies.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

impl Lock {
    /// Waits for the lock.
    ///
    /// # Errors
    /// If the lock file cannot be opened or locked.
    pub fn take() -> Result<Self> {
        waited(PATH, libc::LOCK_EX).map(Self)
    }

    /// Takes it if nobody else has it.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn try_take() -> Result<Option<Self>> {
        Ok(locked(PATH, libc::LOCK_EX | libc::LOCK_NB)?.map(Self))
    }
}

/// Held while the guards of veths change, or the gate is taken down: `airgap guard` waits
/// for no [`Lock`]. Nothing long is done under it, and it is taken after that one.
pub(super) struct VethLock(#[expect(dead_code, reason = "held for its drop")] File);

impl VethLock {
    /// Waits for it.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub(super) fn take() -> Result<Self> {
        waited(VETHS, libc::LOCK_EX).map(Self)
    }
}

/// Held by the one process that looks after the addresses of exceptions by name.
pub struct KeeperLock(#[expect(dead_code, reason = "held for its drop")] File);

impl KeeperLock {
    /// Takes it if nobody else has it.
    ///
    /// # Errors
    /// If the lock file cannot be opened or locked.
    pub fn try_take() -> Result<Option<Self>> {
        Ok(locked(KEEPER, libc::LOCK_EX | libc::LOCK_NB)?.map(Self))
    }

    /// Whether some process looks after them now.
    pub fn is_held() -> bool {
        is_held(KEEPER)
    }
}

/// Held while an engine is asked for addresses until they are in the maps: what was asked
/// later is not overwritten by what was asked before. Taken before [`Lock`].
pub struct LeaseLock(#[expect(dead_code, reason = "held for its drop")] File);

impl LeaseLock {
    /// Waits for it.
    ///
    /// # Errors
    /// If the lock file cannot be opened or locked.
    pub fn take() -> Result<Self> {
        waited(LEASES, libc::LOCK_EX).map(Self)
    }
}

/// What goes on without the gate's lock: told by a lock of its own, which the kernel lets go
/// of with the process. An attach, from before its mark until all was looked at; the trial of
/// an interface, until that is gone.
pub struct UnderWay {
    file: File,
    path: String,
}

impl UnderWay {
    /// Until dropped, or the process ends.
    ///
    /// # Errors
    /// If the lock file cannot be opened or locked.
    pub fn begin(id: &str) -> Result<Self> {
        Self::hold(attach_path(id))
    }

    /// As [`Self::begin`], for the trial of the interface of this index.
    pub(super) fn trial(index: u32) -> Result<Self> {
        Self::hold(trial_path(index))
    }

    fn hold(path: String) -> Result<Self> {
        let file = waited(&path, libc::LOCK_SH)?;
        Ok(Self { file, path })
    }

    /// Whether some airgap attaches to the container of this id now. Where that cannot be
    /// told, none does.
    pub fn is(id: &str) -> bool {
        is_held(&attach_path(id))
    }

    /// As [`Self::is`], for the trial of the interface of this index. Asked under
    /// [`VethLock`], as trials begin under it: a file that is left behind is removed.
    pub(super) fn is_trial(index: u32) -> bool {
        let path = trial_path(index);
        let held = is_held(&path);
        if !held {
            // Nearly always there is none.
            let _ = std::fs::remove_file(path);
        }
        held
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // SAFETY: an open descriptor and no memory.
        let alone = unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        if alone == 0 {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn attach_path(id: &str) -> String {
    format!("/run/airgap-attach-{id}.lock")
}

fn trial_path(index: u32) -> String {
    format!("/run/airgap-trial-{index}.lock")
}

fn is_held(path: &str) -> bool {
    std::path::Path::new(path).exists()
        && matches!(locked(path, libc::LOCK_EX | libc::LOCK_NB), Ok(None))
}

fn waited(path: &str, how: i32) -> Result<File> {
    locked(path, how)?.ok_or_else(|| anyhow!("{path} was not waited for"))
}

fn locked(path: &str, how: i32) -> Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open the lock file {path}"))?;
    loop {
        // SAFETY: an open descriptor and no memory.
        if unsafe { libc::flock(file.as_raw_fd(), how) } == 0 {
            return Ok(Some(file));
        }
        let error = std::io::Error::last_os_error();
        match error.kind() {
            std::io::ErrorKind::Interrupted => {}
            std::io::ErrorKind::WouldBlock => return Ok(None),
            _ => return Err(error).with_context(|| format!("cannot lock {path}")),
        }
    }
}
