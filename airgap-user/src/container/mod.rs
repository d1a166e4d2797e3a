//! Containers: what the engine says, and where they are on this host.

mod budget;
mod carried;
mod cgroup;
mod docker;
mod events;
mod holder;
mod identity;
mod interfaces;
mod look;
mod members;
mod served;
mod sockets;
mod tcp;
mod whereabouts;

pub use self::{
    budget::Budget,
    carried::{Carried, Leads, carried, disconnect},
    cgroup::{Cgroup, all_cgroups, find_cgroups, locate, strayed},
    docker::{Container, Engine, is_usual_runtime},
    events::{EngineEvent, EngineEvents, Happened},
    holder::{Holder, borrow, borrow_same, holders},
    identity::Identity,
    interfaces::{HostEnd, Interface, interfaces},
    look::Look,
    members::{Grant, Members},
    served::{Served, listening},
    sockets::{OpenSocket, SocketKind, is_own, open_sockets},
    tcp::destroy,
    whereabouts::{
        Network, Whereabouts, cgroup_ids, interfaces_of, merged, own_networks, populated,
        whereabouts,
    },
};
