//! Waiting for what happens elsewhere: look often, give up at a deadline.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Looks every 50 ms until `look` returns something.
///
/// # Errors
/// At the deadline, naming `what` was waited for, and as soon as `look` fails.
pub(super) fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what}, in vain", patience.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}
