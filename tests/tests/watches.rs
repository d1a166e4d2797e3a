//! Promise: no unprotected instant for containers that are sealed by their labels, recreated ones
//! included; and none when airgap watch is dead.

use airgap_tests::airgap::STATE;
use airgap_tests::beacon::is_refused;
use airgap_tests::internal::Internal;
use airgap_tests::relay::{Fate, Relay};
use airgap_tests::watch::Watch;
use airgap_tests::{Container, Outcome, Outside, SERVICE_PORT, airgap, airgap_ok, cmd, wait};
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const PORT: u16 = 20_000;
const LABEL: [&str; 2] = ["--label", "airgap.seal=true"];

fn pins() -> String {
    format!("/sys/fs/bpf/airgap/v{}", airgap_common::ABI_VERSION)
}

fn beacon(outside: &Outside, name: &str, options: &[&str]) -> Container {
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let line = [
        "airgap-probe",
        "beacon",
        "--v4",
        &v4,
        "--v6",
        &v6,
        "--port",
        "20000",
    ];
    outside
        .container(name)
        .options(&["--cap-drop", "NET_RAW"])
        .options(options)
        .command(&line)
        .create()
}

/// What its last boot tried first, once it serves.
fn boot(container: &Container, number: usize) -> Vec<Value> {
    wait::until("the beacon serves", Duration::from_secs(30), || {
        let records = container.log_records();
        let done = |r: &Value| r["technique"] == "beacon-done";
        let boots: Vec<_> = records.split(done).map(<[Value]>::to_vec).collect();
        (boots.len() > number).then(|| boots[number - 1].clone())
    })
}

#[track_caller]
fn assert_refused(records: &[Value]) {
    for name in ["udp4", "udp6", "tcp4", "tcp6"] {
        let record = records.iter().find(|r| r["technique"] == name);
        assert!(is_refused(name, record), "{name}: {records:?}");
    }
}

fn await_sealed(container: &Container) -> Value {
    wait::until("it is sealed by its label", wait::SOON, || {
        let out = airgap(&["status", "--json", &container.id]);
        let json: Option<Value> = serde_json::from_str(&out.stdout).ok();
        json.filter(|_| matches!(out.code, 0 | 4))
    })
}

fn await_outcome(container: &Container, outcome: Outcome) {
    let what = format!("{} is {outcome:?}", container.name);
    wait::until(&what, wait::SOON, || {
        (container.attempt("udp4", PORT, "watch").outcome == outcome).then_some(())
    });
}

#[test]
fn in_quarantine_a_label_seals_from_the_first_instruction() {
    let outside = Outside::new();
    let older = outside.container("older").run();
    let mut watch = Watch::start(&["--quarantine"]);
    let mut ids = Vec::new();
    // The second is a recreation: another id under the same name.
    for _ in 0..2 {
        let container = beacon(&outside, "labelled", &LABEL);
        container.start();
        assert_refused(&boot(&container, 1));
        let json = await_sealed(&container);
        assert_eq!(json["ports"], serde_json::json!(["5060/tcp"]));
        let arrivals = outside.arrivals();
        assert!(arrivals.is_empty(), "{arrivals:?}");
        outside
            .get(container.ip4(), SERVICE_PORT, "/")
            .expect("the labelled service answers");
        outside.clear();
        ids.push(container.id.clone());
        drop(container);
    }
    assert_ne!(ids[0], ids[1]);
    wait::until("a label's seal goes with its container", wait::SOON, || {
        let left = fs::read_dir(format!("{STATE}/seals")).expect("seals");
        (left.count() == 0).then_some(())
    });

    // Without a label it is let go, also when it was there before, and over restarts without us.
    let plain = outside.container("plain").run();
    await_outcome(&plain, Outcome::Sent);
    watch.hear("WATCHDOG=1");
    watch.kill();
    for container in [&plain, &older] {
        container.restart();
        await_outcome(container, Outcome::Sent);
    }
    // Nobody is there to judge a new one.
    let unjudged = beacon(&outside, "unjudged", &[]);
    outside.clear();
    unjudged.start();
    assert_refused(&boot(&unjudged, 1));
    let arrivals = outside.arrivals();
    assert!(arrivals.is_empty(), "{arrivals:?}");
    let status = airgap_ok(&["quarantine"]);
    assert!(
        status.stdout.contains(&unjudged.id),
        "{}",
        status.describe()
    );
    // An operator judges as well.
    airgap(&["attach", "-d", &unjudged.id]);
    outside
        .get(unjudged.ip4(), SERVICE_PORT, "/")
        .expect("the attached service answers");
    airgap_ok(&["detach", &unjudged.id]);
    await_outcome(&unjudged, Outcome::Sent);
}

#[test]
fn a_seal_that_fails_lets_nobody_out_of_quarantine() {
    let outside = Outside::new();
    let mut watch = Watch::start(&["--quarantine"]);
    let judged = outside.container("judged").run();
    await_outcome(&judged, Outcome::Sent);
    watch.kill();
    let denied = outside.container("denied").run();
    await_outcome(&denied, Outcome::Refused);
    for container in [&denied, &judged] {
        let failed = airgap(&["attach", "-d", "--require", "full", &container.id]);
        if failed.code == 0 {
            println!("skipped: this host covers everything, so that --require full does not fail");
            airgap_ok(&["detach", "--all"]);
            return;
        }
    }
    await_outcome(&judged, Outcome::Sent);
    for _ in 0..2 {
        let attempt = denied.attempt("udp4", PORT, "watch");
        assert_eq!(attempt.outcome, Outcome::Refused, "{attempt:?}");
        denied.restart();
    }
    let status = airgap_ok(&["quarantine"]);
    assert!(status.stdout.contains(&denied.id), "{}", status.describe());
}

/// A record without its seal, as after a restore that failed.
#[test]
fn what_is_recorded_is_not_let_go() {
    let outside = Outside::new();
    let mut watch = Watch::start(&["--quarantine"]);
    watch.kill();
    let known = outside.container("known").create();
    let damaged = outside.container("damaged").create();
    airgap(&["attach", "-d", &known.id, &damaged.id]);
    cmd::ok(&format!("rm -r {}", pins()));
    fs::write(format!("{STATE}/seals/{}.json", damaged.id), "{").expect("damage the record");
    let plain = outside.container("plain").create();
    let mut watch = Watch::start(&["--quarantine"]);
    for container in [&known, &damaged, &plain] {
        container.start();
    }
    await_outcome(&plain, Outcome::Sent);
    watch.kill();
    for container in [&known, &damaged] {
        let attempt = container.attempt("udp4", PORT, "watch");
        assert_eq!(attempt.outcome, Outcome::Refused, "{attempt:?}");
    }
    airgap(&["detach", "--all"]);
}

/// What the hooks cannot refuse without LSM is named, not left to be found out.
#[test]
fn quarantine_tells_what_it_does_not_deny() {
    let outside = Outside::new();
    let watch = Watch::start(&["--quarantine"]);
    drop(watch);
    let on = airgap_ok(&["quarantine", "on"]);
    let container = outside.container("unjudged").run();
    let attempt = container.attempt("packet-raw", PORT, "watch");
    let status = airgap_ok(&["quarantine"]);
    airgap_ok(&["quarantine", "off"]);
    let told = [&on, &status].map(|out| out.stderr.contains("NET_RAW"));
    assert_eq!(told, [attempt.outcome == Outcome::Sent; 2], "{attempt:?}");
}

#[test]
fn a_label_does_not_widen_what_an_operator_recorded() {
    let outside = Outside::new();
    let ports = ["--label", "airgap.ports=5060,80"];
    let container = outside.container("both").options(&LABEL).options(&ports);
    let container = container.create();
    airgap(&["attach", "-d", "--from", "198.51.100.0/24", &container.id]);
    cmd::ok(&format!("rm -r {}", pins()));
    let _watch = Watch::start(&[]);
    let json = await_sealed(&container);
    assert_eq!(json["ports"], serde_json::json!(["5060/tcp"]));
    assert_eq!(json["clients"], serde_json::json!(["198.51.100.0/24"]));
    airgap_ok(&["detach", &container.id]);
}

#[test]
fn quarantine_outlives_a_reboot_and_ends_with_off() {
    let outside = Outside::new();
    let watch = Watch::start(&["--quarantine"]);
    drop(watch);
    airgap_ok(&["quarantine", "on"]);
    cmd::ok(&format!("rm -r {}", pins()));
    let lost = airgap(&["quarantine"]).expect_code(3);
    assert!(lost.stdout.contains("off"), "{}", lost.describe());
    assert_eq!(airgap(&["doctor"]).code, 3);
    airgap_ok(&["restore"]);
    let container = outside.container("denied").run();
    await_outcome(&container, Outcome::Refused);
    airgap_ok(&["quarantine", "off"]);
    await_outcome(&container, Outcome::Sent);
    assert!(!Path::new(&pins()).exists(), "the gate stays");
}

#[test]
fn without_quarantine_labels_are_read_at_creation() {
    let outside = Outside::new();
    let early = outside
        .container("early")
        .options(&LABEL)
        .options(&[
            "--label",
            "airgap.ports=5060/tcp,80",
            "--label",
            "airgap.from=198.51.100.0/24",
        ])
        .create();
    let mut watch = Watch::start(&[]);
    let json = await_sealed(&early);
    assert_eq!(json["ports"], serde_json::json!(["80/tcp", "5060/tcp"]));
    assert_eq!(json["clients"], serde_json::json!(["198.51.100.0/24"]));
    let late = outside.container("late").options(&LABEL).create();
    await_sealed(&late);
    let wrong = outside
        .container("wrong")
        .options(&LABEL)
        .options(&["--label", "airgap.ports=http", "--privileged"])
        .create();
    let json = await_sealed(&wrong);
    assert_eq!(json["ports"], serde_json::json!([]));
    assert_eq!(json["state"], "opened", "a risk that nobody accepted");
    watch.kill();
    // Sealed is sealed, with nobody watching.
    late.start();
    await_outcome(&late, Outcome::Refused);
    // Removed while nobody watched: the seal stays, and is told.
    cmd::ok(&format!("docker rm -f {}", early.id));
    let list = airgap(&["list"]);
    let told = list.stdout.matches("the container is gone").count();
    assert_eq!(told, 1, "{}", list.describe());
    airgap_ok(&["detach", "--all"]);
}

/// Both a restart and another network bring a veth that no kernel hook tells of; whoever scrapes
/// learns what is sealed.
#[test]
fn new_veths_are_guarded_and_seals_are_told_as_metrics() {
    let outside = Outside::new();
    let other = Internal::new(&outside);
    let path = std::env::temp_dir().join(format!("airgap-watch-{}", std::process::id()));
    let address = format!("unix:{}", path.display());
    let _watch = Watch::start(&["--metrics", &address]);
    let container = outside.container("guarded").options(&LABEL).run();
    let guarded = |links: u64| {
        let status = airgap(&["status", "--json", &container.name]);
        let report: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        let vectors = report["coverage"].as_array().cloned().unwrap_or_default();
        let frames = vectors
            .iter()
            .find(|v| v["vector"] == "raw frames (AF_PACKET, AF_XDP)")?
            .clone();
        let by = frames["by"].as_str().unwrap_or_default();
        (frames["covered"] == true && by.split(", ").count() as u64 == links).then_some(())
    };
    wait::until("the label seals it", wait::SOON, || guarded(1));
    container.restart();
    wait::until("the new veth is guarded", wait::SOON, || guarded(1));
    let name = &other.plan.name;
    cmd::ok(&format!("docker network connect {name} {}", container.id));
    wait::until("the second veth is guarded", wait::SOON, || guarded(2));
    cmd::ok(&format!(
        "docker network disconnect {name} {}",
        container.id
    ));

    let mut stream = UnixStream::connect(&path).expect("connect");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let line = format!(
        "airgap_sealed{{container=\"{}\",id=\"{}\"}} 1\n",
        container.name, container.id
    );
    assert!(answer.contains(&line), "{answer}");
    let state = status_state(&container);
    let line = format!(
        "airgap_state{{container=\"{}\",id=\"{}\",airgap_state=\"{state}\"}} 1\n",
        container.name, container.id
    );
    assert!(answer.contains(&line), "{state}: {answer}");
}

fn status_state(container: &Container) -> String {
    let status = airgap(&["status", "--json", &container.name]);
    let report: Value = serde_json::from_str(&status.stdout).expect("JSON");
    report["state"].as_str().expect("a state").to_owned()
}

/// The engine never answers for one container: it stays denied, and the others are judged.
#[test]
fn one_container_that_cannot_be_judged_delays_no_other() {
    let outside = Outside::new();
    let relay = Relay::start();
    let stuck = outside.container("stuck").options(&LABEL).create();
    relay.set(&stuck.id, Fate::Held);
    let _watch = Watch::start(&["--quarantine", "--host", &relay.host()]);
    stuck.start();
    for turn in ["one", "two"] {
        let other = outside.container(turn).options(&LABEL).run();
        await_sealed(&other);
        await_outcome(&other, Outcome::Refused);
        let plain = outside.container(&format!("plain-{turn}")).run();
        await_outcome(&plain, Outcome::Sent);
        let id = other.id.clone();
        drop(other);
        wait::until("its seal goes with it", wait::SOON, || {
            (!Path::new(&format!("{STATE}/seals/{id}.json")).exists()).then_some(())
        });
    }
    // The control: it is the one that waits, and it is not open.
    assert_eq!(relay.fate(), Fate::Held);
    airgap(&["status", &stuck.id]).expect_code(3);
    await_outcome(&stuck, Outcome::Refused);
    relay.set(&stuck.id, Fate::Answered);
    await_sealed(&stuck);
    outside
        .get(stuck.ip4(), SERVICE_PORT, "/")
        .expect("the service answers once it is judged");
    airgap_ok(&["detach", "--all"]);
}

/// Long before the next look at all that there is, and without filling the log.
#[test]
fn what_fails_is_tried_again_soon_and_said_once() {
    let outside = Outside::new();
    let relay = Relay::start();
    let container = outside.container("again").options(&LABEL).create();
    relay.set(&container.id, Fate::Broken(4));
    let log = std::env::temp_dir().join(format!("airgap-again-{}", std::process::id()));
    let _watch = Watch::logged(&["--host", &relay.host()], &log);
    await_sealed(&container);
    assert_eq!(relay.fate(), Fate::Answered, "it failed, and is sealed");
    let text = wait::until("it is said to be sealed", wait::SOON, || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("is sealed by its label").then_some(text)
    });
    let failed: Vec<_> = text.lines().filter(|l| l.contains("tried again")).collect();
    assert_eq!(failed.len(), 1, "{text}");
    assert!(
        failed[0].contains(&container.id) && failed[0].contains("OPEN"),
        "{text}"
    );
    drop(fs::remove_file(&log));
    airgap_ok(&["detach", "--all"]);
}
