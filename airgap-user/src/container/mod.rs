//! Containers: what the engine says, and where they are on this host.

mod apart;
pub mod arrival;
mod aside;
mod budget;
mod carried;
mod cgroup;
mod connect;
mod docker;
pub mod docker_args;
mod engines;
mod entering;
mod events;
mod freeze;
mod gateway;
mod gateways;
mod holder;
mod hosts;
mod identity;
mod inspected;
mod interfaces;
mod look;
mod members;
mod neighbour;
mod options;
mod peers;
mod pod;
mod queued;
mod rounds;
mod served;
mod socket;
mod sockets;
mod tcp;
mod whereabouts;

pub use self::{
    apart::{Lent, Table, apart},
    budget::Budget,
    carried::{Carried, Leads, carried, disconnect},
    cgroup::{Cgroup, all_cgroups, find_cgroups, locate, strayed, v2_path},
    connect::Hosts,
    docker::Engine,
    engines::{Engines, Listed},
    events::{EngineEvent, EngineEvents, Happened},
    gateway::{By, Gateway},
    holder::{Holder, Holders, holders},
    hosts::write_hosts,
    identity::Identity,
    inspected::{Container, Labels, is_usual_runtime},
    interfaces::{HostEnd, Interface, interfaces},
    look::Look,
    members::{Credentials, Grant, Members},
    neighbour::{Absent, Neighbour},
    pod::{Pod, through_pod},
    served::{Served, listening},
    socket::{OpenSocket, SocketKind},
    sockets::{is_own, open_sockets},
    tcp::{connections, destroy, end_orphans, listening_sockets},
    whereabouts::{
        Network, Whereabouts, cgroup_ids, interfaces_of, merged, own_networks, populated,
        whereabouts,
    },
};
