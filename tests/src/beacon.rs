//! `airgap-probe beacon`: sends before anything else, then serves; and what it logged.

use crate::bench::as_expected;
use crate::outside::Outside;
use crate::{image, wait};
use ::airgap::technique::{self, Outcome, Report};
use serde_json::Value;
use std::time::Duration;

/// What every kernel and every set of capabilities lets an unsealed one send.
pub const WAYS: [&str; 4] = ["udp4", "udp6", "tcp4", "tcp6"];
/// Its service answers after all the attempts, which take long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Image and command line, for `docker create`.
#[must_use]
pub fn command(outside: &Outside) -> Vec<String> {
    let (v4, v6) = (outside.plan.outside4, outside.plan.outside6);
    let line = format!(
        "{} airgap-probe beacon --v4 {v4} --v6 {v6} --port 20000",
        image::ensure()
    );
    line.split(' ').map(str::to_owned).collect()
}

/// What each whole boot tried, from the container's log.
#[must_use]
pub fn boots(log: &str) -> Vec<Vec<Value>> {
    let records = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let records: Vec<Value> = records.collect();
    let mut boots: Vec<_> = records
        .split(|r| r["technique"] == "beacon-done")
        .map(<[Value]>::to_vec)
        .collect();
    boots.pop();
    boots
}

/// What boot `number`, from 1 on, tried.
///
/// # Panics
/// When the log does not come to hold it.
#[track_caller]
pub fn await_boot(number: usize, mut log: impl FnMut() -> String) -> Vec<Value> {
    wait::until(&format!("boot {number}"), PATIENCE, || {
        boots(&log()).get(number - 1).cloned()
    })
}

/// # Panics
/// When anything got out, or failed otherwise than the table of techniques says.
#[track_caller]
pub fn assert_refused(records: &[Value]) {
    assert_each_refused(records, &WAYS);
}

/// As [`assert_refused`], where there is no network anyway and the seal says `--errno eperm`.
///
/// # Panics
/// As there.
#[track_caller]
pub fn assert_not_permitted(records: &[Value]) {
    for name in WAYS {
        let record = records.iter().find(|r| r["technique"] == name);
        let refused =
            record.is_some_and(|r| r["outcome"] == "refused" && r["errno"] == libc::EPERM);
        assert!(refused, "{name}: {records:?}");
    }
}

/// As [`assert_refused`], for more than every kernel and set of capabilities lets out.
///
/// # Panics
/// As there.
#[track_caller]
pub fn assert_each_refused(records: &[Value], ways: &[&str]) {
    for name in ways {
        let record = records.iter().find(|r| r["technique"] == *name);
        assert!(is_refused(name, record), "{name}: {records:?}");
    }
}

/// The control: without a seal all of it is sent.
///
/// # Panics
/// When anything was not.
#[track_caller]
pub fn assert_sent(records: &[Value]) {
    for name in WAYS {
        let record = records.iter().find(|r| r["technique"] == name);
        let sent = record.is_some_and(|r| r["outcome"] == "sent");
        assert!(sent, "{name}: {records:?}");
    }
}

/// Whether an attempt of this technique was refused as the table says.
#[must_use]
pub fn is_refused(technique: &str, record: Option<&Value>) -> bool {
    let report = record.and_then(|record| serde_json::from_value::<Report>(record.clone()).ok());
    let way = technique::find(technique);
    let (Some(report), Some(way)) = (report, way) else {
        return false;
    };
    report.outcome == Outcome::Refused && as_expected(&report, way.sealed)
}
