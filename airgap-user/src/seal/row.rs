//! A line of the list of seals.

use serde::Serialize;

use super::Report;
use crate::{coverage::SealState, failure::exit, metrics::StateMetrics};

/// One line of the list.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// State of the seal.
    #[serde(flatten)]
    pub report: Report,
    /// The engine answers and knows no such container any more.
    pub gone: bool,
    /// Name when it was sealed, if it has another one now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_name: Option<String>,
    /// Id of another container that now has the name under which this one was
    /// sealed, and is not sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_sealed: Option<String>,
    /// It is a task of Swarm's that has ended: it never starts again, and Swarm removes it when
    /// enough others have ended.
    #[serde(skip)]
    pub ended: bool,
}

impl Row {
    /// Whether nothing has to be known of it: it has ended for good, and its seal stands.
    pub fn is_past(&self) -> bool {
        let Self {
            ended,
            gone,
            not_sealed,
            report,
            ..
        } = self;
        *ended && !gone && not_sealed.is_none() && report.seal != 0 && report.problems.is_empty()
    }

    /// Its state for metrics, and that of a container which has its name and is not sealed.
    pub(crate) fn states(&self) -> Vec<StateMetrics> {
        let container = self
            .recorded_name
            .as_ref()
            .unwrap_or(&self.report.container.name);
        let of = |id: &str, state| StateMetrics {
            container: container.clone(),
            id: id.to_owned(),
            state,
        };
        let other = self.not_sealed.as_deref();
        let mut states = vec![of(&self.report.container.id, self.report.state)];
        states.extend(other.map(|id| of(id, SealState::NotSealed)));
        states
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self {
                not_sealed: Some(_),
                ..
            } => exit::NOT_SEALED,
            // Nothing there that could be open.
            Self { gone: true, .. } => exit::OK,
            row if row.is_past() => exit::OK,
            Self { report, .. } => report.code(),
        }
    }
}
