//! One container in the list, and the orders of the list.

use std::cmp::Ordering;

use super::Count;
use crate::{
    coverage::{SealState, summary},
    seal::{Report, Row},
};

/// The word for what is not known yet.
pub(super) const READING: &str = "reading …";

/// One container.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) id: String,
    /// Name now, as far as the engine said: not safe for terminals.
    pub(super) name: String,
    pub(super) state: SealState,
    /// Its state is unknown because the first look at it is not done.
    pub(super) reading: bool,
    /// What is wrong.
    pub(super) problems: Vec<String>,
    /// What is in force; `None`: not read yet, or of no seal.
    pub(super) report: Option<Report>,
    /// `None`: there is no seal in the kernel.
    pub(super) count: Option<Count>,
    pub(super) rate: Option<f64>,
    pub(super) seconds: Vec<u64>,
}

impl Line {
    /// What is to be said beside the state: of what is not believed any more, nothing.
    pub(super) fn summary(&self) -> String {
        match &self.report {
            _ if self.reading => "what is in force is being read from the kernel".to_owned(),
            Some(report) if report.state == self.state => report.summary.clone(),
            _ => summary(self.state, &[], &[], 0, &self.name),
        }
    }

    /// Its state in a word.
    pub(super) const fn word(&self) -> &'static str {
        match self.reading {
            true => READING,
            false => self.state.word(),
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.count.as_ref().map_or(0, |count| count.denials.total)
    }
}

/// Order of the list; what is open comes first in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Rate,
    Total,
    Last,
    Name,
}

impl Sort {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Total => "refused",
            Self::Last => "last",
            Self::Name => "name",
        }
    }

    pub(super) const fn next(self) -> Self {
        match self {
            Self::Rate => Self::Total,
            Self::Total => Self::Last,
            Self::Last => Self::Name,
            Self::Name => Self::Rate,
        }
    }

    pub(super) fn compare(self, a: &Line, b: &Line) -> Ordering {
        let last = |line: &Line| line.count.as_ref().and_then(|c| c.ranking.attempts.last);
        let by = match self {
            Self::Rate => b.rate.unwrap_or(0.0).total_cmp(&a.rate.unwrap_or(0.0)),
            Self::Total => b.total().cmp(&a.total()),
            Self::Last => last(b).cmp(&last(a)),
            Self::Name => Ordering::Equal,
        };
        let open = |line: &Line| !line.state.is_open();
        open(a)
            .cmp(&open(b))
            .then(by)
            .then_with(|| a.name.cmp(&b.name))
            .then_with(|| a.id.cmp(&b.id))
    }
}

/// What is wrong with a seal.
pub(super) fn problems(row: &Row) -> Vec<String> {
    let mut problems = row.report.problems.clone();
    if row.gone {
        let id = &row.report.container.id;
        let id = &id[..12.min(id.len())];
        problems.push(format!("the container is gone: airgap detach {id}"));
    }
    problems
}

/// A container that is not sealed.
pub(super) fn open(id: &str, name: &str, problems: Vec<String>) -> Line {
    Line {
        id: id.to_owned(),
        name: name.to_owned(),
        state: SealState::NotSealed,
        reading: false,
        problems,
        report: None,
        count: None,
        rate: None,
        seconds: Vec::new(),
    }
}
