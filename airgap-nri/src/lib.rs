//! The Node Resource Interface (NRI, `nri.pkg.api.v1alpha1`), as a plugin speaks it: how
//! containerd from 1.7, CRI-O and Docker from 29.2 ask before they start what they make.
//!
//! Three layers on one unix socket: a multiplexer with two connections, ttrpc on each of
//! them, and messages in protobuf. No socket is opened here, and nothing is judged.

mod connection;
mod event;
mod message;
mod mux;
mod rpc;

pub use self::{
    connection::{Call, Connection, Incoming, Refusal},
    event::{Event, subscription},
    message::{
        ConfigureRequest, Container, LinuxContainer, LinuxNamespace, LinuxPodSandbox, PodSandbox,
    },
};

/// Where runtimes listen for plugins.
pub const SOCKET: &str = "/var/run/nri/nri.sock";
