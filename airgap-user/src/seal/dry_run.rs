//! What an attach would say.

use serde::Serialize;

use super::Existing;
use crate::coverage::{SealState, Vector};

/// What an attach would say.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    /// Name of the container.
    pub name: String,
    /// Service ports, as `5060/tcp`.
    pub ports: Vec<String>,
    /// Where it could connect or send to, as `198.51.100.10:443/tcp`.
    pub exits: Vec<String>,
    /// What would no longer answer or resolve, in words.
    pub stops: Vec<String>,
    /// What would become of the sockets that exist now.
    pub existing: Vec<Existing>,
    /// The state that it would have.
    pub state: SealState,
    /// What line one would say after the state.
    pub summary: String,
    /// By vector, as far as it can be told before.
    pub coverage: Vec<Vector>,
    /// The exit code.
    pub exit: u8,
}
