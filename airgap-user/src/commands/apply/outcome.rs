//! What became of what is written, for scripts (`airgap schema apply`).

use serde::Serialize;

use crate::{config::Written, container::Container, coverage::SealState};

/// Its JSON Schema.
pub(in crate::commands) const JSON_SCHEMA: &str = include_str!("../../../assets/apply.schema.json");

/// The whole.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// Version of this shape.
    pub(super) schema: u32,
    /// What was asked for: `check`, `diff` or `apply`.
    pub(super) did: &'static str,
    /// Each seal that is written, in the order of the files.
    pub(super) seals: Vec<Sealed>,
    /// Engines that do not answer: their containers stay as they are.
    pub(super) silent: Vec<String>,
    /// The exit code.
    pub(super) exit: u8,
}

/// One that is written.
#[derive(Debug, Serialize)]
pub(super) struct Sealed {
    /// In which file.
    pub(super) file: String,
    /// On which line, counted from 1.
    pub(super) line: usize,
    /// Whom it means, in words.
    pub(super) means: String,
    /// The containers that it means; with `check` none is looked for.
    pub(super) containers: Vec<Meant>,
}

/// A container that is meant.
#[derive(Debug, Serialize)]
pub(super) struct Meant {
    /// 64 hex digits.
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
    /// What changes, a line each.
    pub(super) changes: Vec<String>,
    /// What became of it.
    pub(super) result: Became,
    /// State of the seal, read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<SealState>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// What became of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Became {
    /// It was so before.
    AsWritten,
    /// It is not as written, and was left so.
    WouldChange,
    /// It is as written now.
    Changed,
    /// It is as it was before.
    Failed,
}

impl Meant {
    /// One that is left as it is, so far.
    pub(super) fn new(container: &Container, changes: Vec<String>) -> Self {
        Self {
            id: container.id.clone(),
            name: container.name.clone(),
            result: match changes.is_empty() {
                true => Became::AsWritten,
                false => Became::WouldChange,
            },
            changes,
            state: None,
            error: None,
        }
    }

    pub(super) fn made(&mut self, state: SealState) {
        if self.result == Became::WouldChange {
            self.result = Became::Changed;
        }
        self.state = Some(state);
    }

    pub(super) fn failed(&mut self, error: String) {
        self.result = Became::Failed;
        self.error = Some(error);
    }
}

impl Sealed {
    pub(super) fn new(written: &Written) -> Self {
        Self {
            file: written.path.display().to_string(),
            line: written.line,
            means: written.whom.to_string(),
            containers: Vec::new(),
        }
    }
}
