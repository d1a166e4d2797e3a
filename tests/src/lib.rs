//! End-to-end harness: an outside world in a network namespace, containers under test, packet
//! recorders, and the `airgap` binary as its users run it. One file per promise in `tests/`.
//!
//! Everything is RAII: dropping an [`Outside`] or a [`Container`] removes what it made, and a
//! sweep at the start of every test removes what a killed run left behind. The harness panics on
//! any failure, also on a missing precondition: a proof that could not run has failed.
//!
//! No packet ever leaves the machine: the outside world has documentation addresses only, routed
//! before the first container starts, and the firewall drops what would go elsewhere.

pub mod airgap;
pub mod allow;
pub mod attempt;
pub mod beacon;
pub mod bench;
pub mod browser;
pub mod client;
pub mod cmd;
pub mod collector;
pub mod contained;
pub mod container;
pub mod containerd;
pub mod cri;
pub mod disk;
pub mod drill;
pub mod engine;
pub mod fault;
pub mod files;
pub mod firewall;
pub mod frame;
pub mod ftrace;
pub mod golden;
pub mod http;
pub mod image;
pub mod internal;
pub mod kernel;
pub mod netns;
pub mod nodes;
pub mod other;
pub mod outside;
pub mod plan;
pub mod podman;
pub mod preempt;
pub mod private;
pub mod reach;
pub mod relay;
pub mod schema;
pub mod scratch;
pub mod service;
pub mod services;
pub mod session;
pub mod swarm;
pub mod sweep;
pub mod syscalls;
pub mod table;
pub mod tail;
pub mod tap;
pub mod techniques;
pub mod tmux;
pub mod udp;
pub mod upstream;
pub mod wait;
pub mod watch;

pub use ::airgap::technique::{Outcome, Report};
pub use airgap::{airgap, airgap_ok};
pub use container::{Container, ContainerSpec};
pub use frame::Frame;
pub use golden::Golden;
pub use kernel::kernel_state;
pub use outside::Outside;
pub use services::Seen;
pub use tail::Tail;
pub use tap::Tap;
pub use tmux::Terminal;

/// Prefix of every network, namespace and container the harness makes.
pub const PREFIX: &str = "airgap-test-";
/// Docker label on everything the harness makes; the value is the run's suffix.
pub const LABEL: &str = "airgap-test";
/// The service port that `airgap attach` keeps open unless told otherwise.
pub const SERVICE_PORT: u16 = 5060;
