//! What emulated machines with systemd have in common: their addresses, the world outside, and
//! how checks are printed.

pub mod check;
pub mod place;
pub mod sink;
