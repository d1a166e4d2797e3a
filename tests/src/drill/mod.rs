//! What emulated machines with an engine have in common: their addresses, and the world outside.

pub mod place;
pub mod sink;
