//! What the kernel side and the user side of airgap share.
//!
//! `no_std`, no dependencies (feature `user` adds aya's `Pod`). Layouts here are
//! the ABI of the pinned maps: a change of any of them is a new [`ABI_VERSION`]
//! and with it a new pin directory.
#![no_std]
#![deny(missing_docs)]

pub mod addr;
pub mod allowed;
pub mod cgroup;
pub mod denial;
pub mod map;
pub mod packet;
pub mod systemd;
pub mod verdict;

#[cfg(test)]
extern crate std;

/// Version of every layout in this crate; the pin directory carries it.
pub const ABI_VERSION: u32 = 12;
