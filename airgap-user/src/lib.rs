//! airgap seals running containers against egress.
//!
//! Data flows one way: arguments → [`container`] → [`preflight`] → [`policy`] →
//! [`gate`] → kernel → [`events`] → [`output`]. Only `container` knows Docker,
//! only `gate` and `events` know BPF, only `output`, `top` and `main` print.
#![deny(missing_docs)]

pub mod cli;
pub mod command;
pub mod commands;
pub mod config;
pub mod container;
pub mod coverage;
pub mod events;
pub mod failure;
pub mod gate;
pub mod glossary;
pub mod host;
pub mod labels;
pub mod metrics;
pub mod names;
pub mod notation;
pub mod output;
pub mod pod;
pub mod policy;
pub mod preflight;
pub mod remote;
pub mod report;
pub mod resolve;
pub mod seal;
pub mod state;
pub mod subtree;
#[expect(
    missing_docs,
    reason = "system calls and packets, named after what they are"
)]
pub mod technique;
pub mod top;
pub mod verify;
