//! Promise: no unprotected instant when the engine dies, with and without live-restore.

use airgap_tests::beacon::{self, assert_not_permitted};
use airgap_tests::private::PrivateEngine;
use airgap_tests::watch::Watch;
use airgap_tests::{Outside, airgap, airgap_ok, image, wait};
use std::time::Duration;

#[track_caller]
fn await_boot(engine: &PrivateEngine, id: &str, number: usize) {
    let log = || engine.docker(&["logs", id]).stdout;
    // Without a network an unsealed one gets ENETUNREACH.
    assert_not_permitted(&beacon::await_boot(number, log));
}

fn engine_dies(live_restore: bool) {
    let outside = Outside::new();
    let mut engine = PrivateEngine::start(live_restore);
    let create = [
        "create",
        "--restart",
        "always",
        "--cap-drop",
        "NET_RAW",
        "--network",
        "none",
    ];
    let create = create.map(str::to_owned).into_iter();
    let words: Vec<_> = create.chain(beacon::command(&outside)).collect();
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
    let attach = ours(&["attach", "-d", "--errno", "eperm", &id]);
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

/// Creates a labelled container without a network in it; its id.
#[track_caller]
fn create_labelled(engine: &PrivateEngine) -> String {
    let words = ["create", "--label", "airgap.seal=true", "--network", "none"];
    let command = [image::ensure(), "airgap-probe", "serve"];
    let out = engine.docker(&[&words[..], &command].concat());
    out.expect_code(0).stdout.trim().to_owned()
}

#[test]
fn watch_follows_an_engine_over_its_death() {
    let outside = Outside::new();
    // A label's seal of another engine, which the private one knows nothing of.
    let label = ["--label", "airgap.seal=true"];
    let elsewhere = outside.container("elsewhere").options(&label).create();
    let sealed = |what: &str, id: &str| {
        wait::until(
            &format!("{what} is sealed"),
            Duration::from_secs(30),
            || {
                let json = airgap(&["list", "--json"]).stdout;
                json.contains(id).then_some(())
            },
        );
    };
    let watch = Watch::start(&[]);
    sealed("elsewhere", &elsewhere.id);
    drop(watch);

    let mut engine = PrivateEngine::start(false);
    let watch = Watch::start(&["--host", &engine.host()]);
    let stays = create_labelled(&engine);
    let goes = create_labelled(&engine);
    sealed("one of its containers", &stays);
    sealed("another", &goes);
    engine.kill();
    watch.hear("waiting for the container engine");
    sealed("with no engine it", &stays);
    engine.run();
    watch.hear("watching labels");
    let late = create_labelled(&engine);
    sealed("a new one", &late);

    // Neither the end of one nor the beginning of another is told by an event.
    watch.pause();
    engine.kill();
    engine.run();
    engine.docker(&["rm", "-f", &goes]).expect_code(0);
    let missed = create_labelled(&engine);
    watch.resume();
    sealed("one that came meanwhile", &missed);
    wait::until("the seal of the removed one goes", wait::SOON, || {
        let json = airgap(&["list", "--json"]).stdout;
        (!json.contains(&goes)).then_some(())
    });
    for id in [&stays, &late, &missed, &elsewhere.id] {
        sealed("what is there", id);
    }
    // An operator's seal is an operator's to lift.
    drop(watch);
    let attached = create_labelled(&engine);
    let host = engine.host();
    airgap(&["--host", &host, "attach", "-d", &attached]);
    engine.docker(&["rm", "-f", &attached]).expect_code(0);
    let watch = Watch::start(&["--host", &host]);
    sealed("the operator's", &attached);
    drop(watch);
    airgap_ok(&["detach", "--all"]);
}

/// Its numbers belong to other processes here: they are believed only where the process is in the
/// container's cgroup.
#[test]
fn an_engine_in_another_pid_namespace_is_not_believed_by_number() {
    let outside = Outside::new();
    let engine = PrivateEngine::start_apart();
    let create = ["create", "--cap-drop", "NET_RAW", "--network", "none"];
    let create = create.map(str::to_owned).into_iter();
    let words: Vec<_> = create.chain(beacon::command(&outside)).collect();
    let id = engine
        .docker(&words)
        .expect_code(0)
        .stdout
        .trim()
        .to_owned();
    engine.docker(&["start", &id]).expect_code(0);
    let host = engine.host();
    let ours = |args: &[&str]| airgap(&[&["--host", host.as_str()], args].concat());
    let pid = engine
        .docker(&["inspect", "-f", "{{.State.Pid}}", &id])
        .stdout;
    let path = format!("/proc/{}/cgroup", pid.trim());
    let cgroup = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        !cgroup.contains(&id),
        "the control: its number is that process here, too: {cgroup}"
    );
    let attach = ours(&["attach", "-d", "--errno", "eperm", &id]);
    assert!(matches!(attach.code, 0 | 4), "{}", attach.describe());
    let status = ours(&["status", "--json", &id]);
    assert!(matches!(status.code, 0 | 4), "{}", status.describe());
    let report: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(report["problems"], serde_json::json!([]), "{report}");
    assert_eq!(report["running"], true, "{report}");
    engine.docker(&["restart", "-t", "0", &id]).expect_code(0);
    let log = || engine.docker(&["logs", &id]).stdout;
    assert_not_permitted(&beacon::await_boot(2, log));
    ours(&["detach", &id]).expect_code(0);
}
