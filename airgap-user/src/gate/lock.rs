//! One writer at a time: two `airgap attach` must not interleave.

use std::{
    fs::{File, OpenOptions},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
};

use anyhow::{Context as _, Result, anyhow};

const PATH: &str = "/run/airgap.lock";

/// Held until dropped; the kernel lets go of it if the process dies.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

impl Lock {
    /// Waits for the lock.
    ///
    /// # Errors
    /// If the lock file cannot be opened or locked.
    pub fn take() -> Result<Self> {
        Self::locked(libc::LOCK_EX)?.ok_or_else(|| anyhow!("{PATH} was not waited for"))
    }

    /// Takes it if nobody else has it.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn try_take() -> Result<Option<Self>> {
        Self::locked(libc::LOCK_EX | libc::LOCK_NB)
    }

    fn locked(how: i32) -> Result<Option<Self>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(PATH)
            .with_context(|| format!("cannot open the lock file {PATH}"))?;
        loop {
            // SAFETY: an open descriptor and no memory.
            if unsafe { libc::flock(file.as_raw_fd(), how) } == 0 {
                return Ok(Some(Self(file)));
            }
            let error = std::io::Error::last_os_error();
            match error.kind() {
                std::io::ErrorKind::Interrupted => {}
                std::io::ErrorKind::WouldBlock => return Ok(None),
                _ => return Err(error).with_context(|| format!("cannot lock {PATH}")),
            }
        }
    }
}
