//! Signals that ask for the end: a run cleans up before it goes.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

use crate::failure::Failure;

/// Set by SIGINT, SIGTERM and SIGHUP.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupt(_signal: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on those signals are only remembered.
pub(super) fn heed() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let handler: extern "C" fn(i32) = interrupt;
        // SAFETY: the handler only stores into an atomic.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// # Errors
/// If the end was asked for. Whatever waits must ask several times a second.
pub(super) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        let hint = "nothing is left behind; run it again for a verdict";
        bail!(Failure::new("interrupted before the end", hint));
    }
    Ok(())
}
