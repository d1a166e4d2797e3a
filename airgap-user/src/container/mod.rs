//! Containers: what the engine says, and where they are on this host.

mod carried;
mod cgroup;
mod docker;
mod events;
mod holder;
mod identity;
mod interfaces;
mod sockets;

pub use self::{
    carried::{Carried, Leads, carried, disconnect},
    cgroup::{Cgroup, all_cgroups, find_cgroups, locate, strayed},
    docker::{Container, Engine},
    events::{EngineEvent, EngineEvents, Happened},
    holder::{Holder, borrow, borrow_same, holders},
    identity::Identity,
    interfaces::{HostEnd, Interface, interfaces},
    sockets::{OpenSocket, SocketKind, destroy, is_held, open_sockets},
};
