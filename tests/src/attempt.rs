//! What the probe reports about one technique.

use crate::cmd::Output;
use ::airgap::technique::Report;

/// # Panics
/// When the output holds no report.
#[track_caller]
pub(crate) fn parse(out: &Output) -> Report {
    let line = out.stdout.lines().last().unwrap_or("");
    parse_line(line).unwrap_or_else(|e| panic!("no report from the probe: {e}\n{}", out.describe()))
}

/// One line of the probe's.
pub(crate) fn parse_line(line: &str) -> serde_json::Result<Report> {
    serde_json::from_str(line)
}
