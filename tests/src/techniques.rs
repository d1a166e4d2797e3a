//! Ways out that the tests walk through, from the product's one table.

use ::airgap::technique::{Reach, TABLE, Way, vector};

fn ways(wanted: impl Fn(&Way) -> bool) -> impl Iterator<Item = &'static Way> {
    TABLE.iter().filter(move |way| wanted(way))
}

/// All.
pub fn all() -> impl Iterator<Item = &'static Way> {
    ways(|_| true)
}

/// What the cgroup hooks refuse; loopback listeners have tests of their own (`scope`).
pub fn cgroup_level() -> impl Iterator<Item = &'static Way> {
    ways(|way| !way.is_frame_level() && way.reach != Reach::Guest)
}

/// What only a frame-level layer can see: frames from packet sockets, which Docker refuses with
/// `--cap-drop NET_RAW`, and joins, which the kernel itself announces.
pub fn frame_level() -> impl Iterator<Item = &'static Way> {
    ways(Way::is_frame_level)
}

/// Of [`frame_level`], those from packet sockets.
pub fn packet_sockets() -> impl Iterator<Item = &'static Way> {
    ways(|way| way.vector == vector::PACKET_SOCKETS)
}

/// What Docker refuses with or without a seal, by name.
pub fn refused() -> impl Iterator<Item = &'static str> {
    ::airgap::technique::REFUSED.iter().map(|&(name, _)| name)
}
