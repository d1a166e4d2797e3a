//! Promise: no unprotected instant when the engine dies, with and without live-restore.

use airgap_tests::private::PrivateEngine;
use airgap_tests::{Outside, airgap, image, wait};
use serde_json::Value;
use std::time::Duration;

const ATTEMPTS: [&str; 4] = ["udp4", "udp6", "tcp4", "tcp6"];

/// What each boot of the beacon tried first, whole boots only.
fn boots(engine: &PrivateEngine, id: &str) -> Vec<Vec<Value>> {
    let logs = engine.docker(&["logs", id]).stdout;
    let records = logs
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

#[track_caller]
fn await_boot(engine: &PrivateEngine, id: &str, number: usize) {
    let limit = Duration::from_secs(60);
    let boots = wait::until(&format!("boot {number}"), limit, || {
        Some(boots(engine, id)).filter(|boots| boots.len() >= number)
    });
    for name in ATTEMPTS {
        let record = boots[number - 1].iter().find(|r| r["technique"] == name);
        let refused =
            record.is_some_and(|r| r["outcome"] == "refused" && r["errno"] == libc::EPERM);
        // Without a network an unsealed one gets ENETUNREACH.
        assert!(refused, "boot {number}, {name}: {record:?}");
    }
}

fn engine_dies(live_restore: bool) {
    let outside = Outside::new();
    let mut engine = PrivateEngine::start(live_restore);
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let create = [
        "create",
        "--restart",
        "always",
        "--cap-drop",
        "NET_RAW",
        "--network",
        "none",
    ];
    let beacon = [
        "airgap-probe",
        "beacon",
        "--v4",
        &v4,
        "--v6",
        &v6,
        "--port",
        "20000",
    ];
    let words: Vec<_> = create
        .into_iter()
        .chain([image::ensure()])
        .chain(beacon)
        .collect();
    let id = engine
        .docker(&words)
        .expect_code(0)
        .stdout
        .trim()
        .to_owned();
    let host = engine.host();
    let ours = |args: &[&str]| airgap(&[&["--host", host.as_str()], args].concat());
    let sealed = |when: &str| {
        let status = ours(&["status", &id]);
        assert!(
            matches!(status.code, 0 | 4),
            "{when}\n{}",
            status.describe()
        );
    };
    let attach = ours(&["attach", "-d", &id]);
    assert!(matches!(attach.code, 0 | 4), "{}", attach.describe());
    engine.docker(&["start", &id]).expect_code(0);
    await_boot(&engine, &id, 1);
    let pid = || {
        engine
            .docker(&["inspect", "-f", "{{.State.Pid}}", &id])
            .stdout
    };
    let first: i32 = pid().trim().parse().expect("a pid");
    engine.kill();
    sealed("with no engine");
    // SAFETY: kill takes no pointers; the pid is the container's init.
    unsafe { libc::kill(first, libc::SIGKILL) };
    engine.run();
    await_boot(&engine, &id, 2);
    sealed("with the engine back");
    ours(&["detach", &id]).expect_code(0);
}

#[test]
fn a_killed_engine_leaves_the_seal() {
    engine_dies(false);
}

#[test]
fn a_killed_engine_with_live_restore_leaves_the_seal() {
    engine_dies(true);
}
