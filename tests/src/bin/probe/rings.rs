//! Rings of which the kernel says much.

use airgap::technique::{sys::Fail, uring::unread};
use std::os::fd::OwnedFd;

/// Makes one with so many results, and so many descriptors of it, which live as long as this
/// process.
pub(crate) fn hold(results: &str, descriptors: &str) -> Result<(), String> {
    let number = |text: &str| text.parse::<usize>().map_err(|e| format!("{text}: {e}"));
    let ring = unread(number(results)?).map_err(|fail| match fail {
        Fail::Os { step, errno } => format!("{step}: errno {errno}"),
        Fail::Skip(why) => why,
    })?;
    for _ in 1..number(descriptors)? {
        let copy: OwnedFd = ring.try_clone().map_err(|e| format!("dup: {e}"))?;
        std::mem::forget(copy);
    }
    std::mem::forget(ring);
    Ok(())
}
