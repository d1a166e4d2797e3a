//! Exceptions as they are in force, and how each was used.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airgap_common::map::{SealNumber, Use};
use anyhow::Result;
use serde::Serialize;

use crate::{
    clock,
    gate::Gate,
    policy::Exception,
    state::{Entry, Record},
};

/// One exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExitRow {
    /// Where it leads, as `198.51.100.10:443/tcp`.
    pub to: String,
    /// `in-force`, `ended` (its time is over, as it was written) or `closed` (it is
    /// recorded, and not in force).
    pub state: &'static str,
    /// What it opens, in words.
    pub opens: String,
    /// When it ends or has ended, seconds since 1970-01-01 UTC; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
    /// Why, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// TCP connections that the far side took.
    pub connections: u64,
    /// Segments and datagrams that left.
    pub packets_out: u64,
    /// Their payload, bytes.
    pub bytes_out: u64,
    /// Segments and datagrams that came in.
    pub packets_in: u64,
    /// Their payload, bytes.
    pub bytes_in: u64,
    /// Connections and datagrams refused because its time is over.
    pub refused_after_end: u64,
    /// When it was last used, seconds since 1970-01-01 UTC; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<u64>,
}

const IN_FORCE: &str = "in-force";
const ENDED: &str = "ended";
const CLOSED: &str = "closed";

impl ExitRow {
    /// Whether it lets something new out.
    pub fn is_open(&self) -> bool {
        self.state == IN_FORCE
    }

    /// Whether it ought to, and does not.
    pub fn is_closed(&self) -> bool {
        self.state == CLOSED
    }

    fn new(exception: &Exception, state: &'static str, used: &Use) -> Self {
        Self {
            to: exception.to.to_string(),
            state,
            opens: exception.to.opens(),
            ends: exception.until.map(wall),
            reason: exception.reason.clone(),
            connections: used.connections,
            packets_out: used.packets_out,
            bytes_out: used.bytes_out,
            packets_in: used.packets_in,
            bytes_in: used.bytes_in,
            refused_after_end: used.lapsed,
            last_used: (used.last != 0).then(|| wall(used.last)),
        }
    }
}

/// The wall clock at a time of the boot clock, nanoseconds; seconds since 1970-01-01 UTC.
fn wall(boottime: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let booted = now.unwrap_or_default().saturating_sub(clock::since_boot());
    (booted + Duration::from_nanos(boottime)).as_secs()
}

fn is_over(exception: &Exception) -> bool {
    exception.is_over(clock::since_boot_nanos())
}

/// Those of a seal that stands, and those that are recorded and not in force.
pub(super) fn rows(gate: &Gate, seal: SealNumber, entry: Option<&Entry>) -> Result<Vec<ExitRow>> {
    let standing = gate.exits_of(seal)?;
    let whole = gate.has_exits(seal, &standing)?;
    let mut rows = Vec::new();
    for exit in &standing {
        let state = match (is_over(&exit.exception), whole) {
            (true, _) => ENDED,
            (false, true) => IN_FORCE,
            (false, false) => CLOSED,
        };
        rows.push(ExitRow::new(
            &exit.exception,
            state,
            &gate.use_of(exit.number)?,
        ));
    }
    if let Some(Entry::Known(record)) = entry {
        let missing = record.rules.exits.iter().filter(|one| {
            !is_over(one) && !standing.iter().any(|exit| exit.exception.to == one.to)
        });
        rows.extend(missing.map(|one| ExitRow::new(one, CLOSED, &Use::default())));
    }
    Ok(rows)
}

/// Those of a seal that is recorded only.
pub(super) fn recorded(record: &Record) -> Vec<ExitRow> {
    let exits = record.rules.exits.iter();
    exits
        .map(|one| ExitRow::new(one, CLOSED, &Use::default()))
        .collect()
}
