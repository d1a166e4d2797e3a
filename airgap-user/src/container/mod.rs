//! Containers: what the engine says, and where they are in the cgroup tree.

mod cgroup;
mod docker;

pub use self::{
    cgroup::{Cgroup, find_cgroups, locate},
    docker::{Container, Engine},
};
