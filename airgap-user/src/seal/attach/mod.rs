//! From what is wanted to a seal that was read back: judged, marked, judged again from
//! what the kernel shows, and taken back where that fails. `attach`, `run`, `apply`, `allow`
//! and `watch` all come here.

pub(crate) mod admitting;
pub(crate) mod before;
pub(crate) mod cgroups;
pub(crate) mod exit_change;
mod marked;
mod marking;
pub(crate) mod older_sockets;
pub(crate) mod refusing;
pub(crate) mod sealing;
pub(crate) mod stops;
mod taking_back;
pub(crate) mod wanted;
pub(crate) mod written;
