//! Polling with a deadline.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(10);

/// Default patience for something that should be there at once.
pub const SOON: Duration = Duration::from_secs(10);

/// Polls until `probe` yields a value.
///
/// # Panics
/// When `limit` has passed; `what` says what was being waited for.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    within(limit, probe).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Polls until `probe` yields a value or `limit` has passed.
pub fn within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit * patience();
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(STEP);
    }
}

/// `AIRGAP_TEST_PATIENCE`: how many times longer everything takes here, as in an emulated machine.
///
/// # Panics
/// When it is no whole number.
fn patience() -> u32 {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    *FACTOR.get_or_init(|| match std::env::var("AIRGAP_TEST_PATIENCE") {
        Ok(text) => text.parse().expect("AIRGAP_TEST_PATIENCE must be a number"),
        Err(_) => 1,
    })
}
