//! Containers: what the engine says, and where they are on this host.

mod carried;
mod cgroup;
mod diag;
mod docker;
mod interfaces;
mod sockets;

pub use self::{
    carried::{Carried, Leads, carried, disconnect},
    cgroup::{Cgroup, find_cgroups, locate},
    docker::{Container, Engine},
    interfaces::{HostEnd, Interface, interfaces},
    sockets::{Holder, OpenSocket, SocketKind, borrow, destroy, holders, is_held, open_sockets},
};
