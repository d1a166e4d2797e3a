//! One container in the list, and the orders of the list.

use std::cmp::Ordering;

use super::Count;
use crate::commands::{Report, Row};

/// How much of a container is known to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    NotSealed,
    Broken,
    /// Not read yet, or not lately.
    Unknown,
    Degraded,
    Sealed,
    /// There is no such container any more.
    Gone,
}

impl Standing {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::NotSealed => "NOT SEALED",
            Self::Broken => "BROKEN",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
            Self::Sealed => "sealed",
            Self::Gone => "gone",
        }
    }

    /// Something is to be done at once.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::NotSealed | Self::Broken)
    }
}

/// One container.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) id: String,
    /// Name now, as far as the engine said: not safe for terminals.
    pub(super) name: String,
    pub(super) standing: Standing,
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
        let open = |line: &Line| !line.standing.is_open();
        open(a)
            .cmp(&open(b))
            .then(by)
            .then_with(|| a.name.cmp(&b.name))
            .then_with(|| a.id.cmp(&b.id))
    }
}

pub(super) fn standing(report: &Report) -> Standing {
    match report.state {
        "sealed" => Standing::Sealed,
        "degraded" => Standing::Degraded,
        "not-sealed" => Standing::NotSealed,
        "gone" => Standing::Gone,
        _ => Standing::Broken,
    }
}

/// What is wrong with a seal.
pub(super) fn problems(row: &Row) -> Vec<String> {
    let mut problems = row.report.problems.clone();
    if row.gone {
        problems.push("the container is gone: airgap detach".into());
    }
    problems
}

/// A container that is not sealed.
pub(super) fn open(id: &str, name: &str, problems: Vec<String>) -> Line {
    Line {
        id: id.to_owned(),
        name: name.to_owned(),
        standing: Standing::NotSealed,
        problems,
        report: None,
        count: None,
        rate: None,
        seconds: Vec::new(),
    }
}
