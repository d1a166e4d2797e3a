//! Kernels by results.

use std::time::Duration;

use anyhow::Result;

use super::outcome::Outcome;

/// The cells of one line.
pub(super) struct Row<'a> {
    kernel: &'a str,
    release: &'a str,
    result: &'a str,
    tests: &'a str,
    boot: &'a str,
    total: &'a str,
    complaint: &'a str,
}

/// What the columns are.
pub(super) const HEAD: Row<'static> = Row {
    kernel: "kernel",
    release: "release",
    result: "result",
    tests: "tests",
    boot: "boot",
    total: "total",
    complaint: "",
};

impl Row<'_> {
    pub(super) fn line(&self) -> String {
        let Self {
            kernel,
            release,
            result,
            tests,
            boot,
            total,
            complaint,
        } = self;
        let line = format!(
            "{kernel:<13} {release:<28} {result:<6} {tests:>5} {boot:>7} {total:>8}  {complaint}"
        );
        line.trim_end().to_owned()
    }
}

/// The line of a kernel that ran, or could not be had.
pub(super) fn line(kernel: &str, outcome: &Result<Outcome>) -> String {
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    match outcome {
        Ok(outcome) => Row {
            kernel,
            release: outcome.release.as_deref().unwrap_or("-"),
            result: if outcome.is_good() { "PASS" } else { "FAIL" },
            tests: &format!("{}/{}", outcome.passed, outcome.passed + outcome.failed),
            boot: &outcome.boot.map_or_else(|| "-".to_owned(), seconds),
            total: &seconds(outcome.total),
            complaint: outcome.complaint.as_deref().unwrap_or_default(),
        }
        .line(),
        Err(error) => Row {
            kernel,
            release: "-",
            result: "FAIL",
            tests: "-",
            boot: "-",
            total: "-",
            complaint: error.to_string().lines().next().unwrap_or_default(),
        }
        .line(),
    }
}
