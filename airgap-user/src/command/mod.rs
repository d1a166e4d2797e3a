//! `airgap exec`: a command that is sealed from its first instruction.
//!
//! Its seal hangs on a cgroup of its own, and on what keeps it in there: it has no
//! capability and no way to one, sees no process and no IPC object of others, writes to no
//! cgroup, and where this kernel runs no security hooks it has no unix sockets but pairs.
//! It shares the host's network only if it serves, or may reach something.

mod cgroup;
mod devices;
mod filter;
mod init;
mod mount;
mod mounts;
mod network;
mod user;
mod view;

pub use self::{
    cgroup::{Confined, Nest, PARENT, abandoned, exists, is_command},
    init::{Init, Said, below, run, signals},
    mounts::{Held, held_by},
    network::prepare,
    user::User,
};

/// What stands before the name of a command: no engine's container can have it.
pub const PREFIX: &str = "exec:";
