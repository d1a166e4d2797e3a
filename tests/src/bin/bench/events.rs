//! How many refused calls are told, and at what rate they are made.

use std::collections::BTreeMap;
use std::time::Duration;

use airgap_tests::airgap::seal;
use airgap_tests::{Container, Outside, Tail, airgap_ok, wait};

use super::Wanted;
use super::figure::Figure;

/// Milliseconds of a workload.
const TIME: u64 = 1_000;

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let outside = Outside::unrecorded();
    let container = outside.container("told").run();
    let mut rate = Figure::new("refused calls a second, each counted", "1/s", true);
    let mut told = Figure::new("records before the first suppression", "records", true);
    for _ in 0..wanted.rounds {
        for (column, watched) in [("one destination", false), ("the same, followed", true)] {
            rate.push(column, refused(&outside, &container, "flood", watched).0);
        }
        let (calls, records) = refused(&outside, &container, "scan", true);
        rate.push("a new destination each, followed", calls);
        told.push("a new destination each", records);
    }
    vec![rate, told]
}

/// Refused calls a second of a fresh seal's workload, and records told before one was suppressed.
fn refused(outside: &Outside, container: &Container, kind: &str, watched: bool) -> (f64, f64) {
    seal(&container.name, &[]);
    let tail = watched.then(|| {
        let tail = Tail::json(&[&container.name]);
        tail.await_start();
        tail
    });
    let (v4, v6) = (outside.plan.outside4, outside.plan.outside6);
    let out = container.exec(&[
        "airgap-probe",
        "phone",
        kind,
        &TIME.to_string(),
        "--v4",
        &v4.to_string(),
        "--v6",
        &v6.to_string(),
        "--port",
        "20000",
    ]);
    let out = out.expect_code(0);
    let counts: BTreeMap<String, u64> =
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}\n{}", out.describe()));
    let calls = counts.values().sum::<u64>();
    let records = tail.map_or(0, |tail| records(&tail, calls));
    airgap_ok(&["detach", &container.name]);
    let seconds = Duration::from_millis(TIME).as_secs_f64();
    (calls as f64 / seconds, records as f64)
}

/// Once all calls are told.
fn records(tail: &Tail, calls: u64) -> usize {
    let events = wait::until("all calls are told", wait::SOON, || {
        let events = tail.events();
        let told = events
            .iter()
            .map(|e| e["airgap"]["count"].as_u64().unwrap_or(0))
            .sum::<u64>();
        (told >= calls).then_some(events)
    });
    let denied = |e: &&serde_json::Value| e["event"]["action"] == "denied";
    events.iter().take_while(denied).count()
}
