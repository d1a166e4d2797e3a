//! What `airgap install` has left on this host.

use std::path::Path;

use super::{
    starters::{engine, starters},
    udev::{self, Arrivals},
    units::{self, Boot},
};

/// How the restore at boot stands on this host.
pub fn boot() -> Boot {
    let root = Path::new("/");
    let starters = starters(root);
    match units::boot(root, &starters) {
        Boot::Ready if starters.is_empty() => match engine(root) {
            Some(engine) => Boot::Unordered(engine),
            None => Boot::Ready,
        },
        other => other,
    }
}

/// What happens to a veth that comes up on this host.
pub fn arrivals() -> Arrivals {
    udev::arrivals(Path::new("/"))
}
