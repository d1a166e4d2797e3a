//! Promise: an audit refuses nothing, tells and counts what a seal would refuse, and is called
//! sealed nowhere; what it has told is what the seal after it needs, and no more.

use std::net::SocketAddr;
use std::time::Duration;

use ::airgap::technique::{Reach as Far, vector};
use airgap_common::ABI_VERSION;
use airgap_tests::airgap::{airgap, airgap_ok, seal};
use airgap_tests::bench::Bench;
use airgap_tests::reach::{Echo, Reach};
use airgap_tests::techniques::{cgroup_level, frame_level};
use airgap_tests::{Container, Outcome, Outside, SERVICE_PORT, cmd, kernel_state, wait};
use serde_json::Value;

const PORT: u16 = 7443;
/// What the audit does not see.
const OTHER: u16 = 7444;
const NOT_SEALED: i32 = 3;
const USAGE: i32 = 2;
const HEADLINE: &str = "NOT SEALED (audit: nothing is refused)";
/// For what is expected to be heard; it ends as soon as it is.
const LONG: Duration = Duration::from_secs(2);

#[track_caller]
fn audit(container: &Container, options: &[&str]) {
    let mut args = vec!["attach", "--audit", "-d"];
    args.extend(options);
    args.push(&container.name);
    let out = airgap(&args).expect_code(NOT_SEALED);
    assert!(out.stdout.contains(HEADLINE), "{}", out.describe());
}

#[track_caller]
fn status(container: &Container, code: i32) -> Value {
    let out = airgap(&["status", "--json", &container.id]).expect_code(code);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
}

/// All that was counted, what is counted only included.
#[track_caller]
fn counted(container: &Container) -> u64 {
    let report = status(container, NOT_SEALED);
    let reasons = report["denials"]["by_reason"].as_array().cloned();
    let counts = reasons.into_iter().flatten();
    counts.filter_map(|reason| reason[1].as_u64()).sum()
}

#[track_caller]
fn told(container: &Container) -> u64 {
    let total = status(container, NOT_SEALED)["denials"]["total"].as_u64();
    total.expect("a total")
}

#[track_caller]
fn serves(outside: &Outside, container: &Container) {
    let got = outside.get(container.ip4(), SERVICE_PORT, "/still");
    assert_eq!(got.expect("served"), b"/still");
}

/// Sends and gets it back.
#[track_caller]
fn echoes(reach: &mut Reach, name: &str, text: &str) {
    reach.does(&format!("send {name} {text}"));
    assert_eq!(reach.does(&format!("receive {name}")), text);
}

#[test]
fn every_way_out_is_heard_and_told() {
    let outside = Outside::new();
    let open = outside.container("open").run();
    let container = outside.container("audited").run();
    let rows: Vec<_> = cgroup_level().chain(frame_level()).collect();
    let mut problems = Vec::new();
    let controls: Vec<_> = {
        let mut bench = Bench::new(&outside, &open);
        let far = |way: &&::airgap::technique::Way| match way.reach {
            Far::Resolver => Far::Outside,
            other => other,
        };
        rows.iter()
            .map(|way| bench.reach(way.name, far(way), LONG).reach)
            .collect()
    };
    airgap(&["status", &open.id]).expect_code(NOT_SEALED);

    let mut bench = Bench::new(&outside, &container);
    audit(&container, &[]);
    for (way, control) in rows.iter().zip(controls) {
        let Some(control) = control else {
            problems.push(format!("control {}: not heard", way.name));
            continue;
        };
        let before = counted(&container);
        let attempt = bench.reach(way.name, control, LONG);
        if attempt.reach != Some(control) {
            problems.push(format!("{}: not let through: {attempt:?}", way.name));
        }
        // The kernel announces joins from a socket that is nobody's.
        let silent = way.vector == vector::JOINS && !way.is_announced_inside();
        if !silent && counted(&container) == before {
            problems.push(format!("{}: not told: {attempt:?}", way.name));
        }
    }
    drop(bench);
    // What a seal would let by is not told.
    let before = told(&container);
    serves(&outside, &container);
    assert_eq!(
        told(&container),
        before,
        "{}",
        status(&container, NOT_SEALED)
    );
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn an_attempt_is_told_once_and_by_name_as_let_through() {
    let outside = Outside::new();
    let _echo = Echo::on(&outside.netns, PORT);
    let v4 = SocketAddr::new(outside.plan.outside4.into(), PORT).to_string();
    let container = outside.container("once").run();
    let mut older = Reach::new(&container);
    older.does(&format!("tcp a {v4}"));
    audit(&container, &[]);
    assert_eq!(told(&container), 0);
    // Nothing was cut; the first of its segments is told, once.
    for _ in 0..5 {
        echoes(&mut older, "a", "older");
    }
    assert_eq!(told(&container), 1, "{}", status(&container, NOT_SEALED));
    let mut reach = Reach::new(&container);
    reach.does(&format!("tcp b {v4}"));
    for _ in 0..5 {
        echoes(&mut reach, "b", "connected");
    }
    assert_eq!(told(&container), 2, "{}", status(&container, NOT_SEALED));
    reach.does("udp c 4");
    for _ in 0..3 {
        reach.does(&format!("to c {v4} datagram"));
        assert_eq!(reach.does("receive c"), "datagram");
    }
    assert_eq!(told(&container), 5, "{}", status(&container, NOT_SEALED));
    reach.does("close b");
    drop((older, reach));
    assert_eq!(told(&container), 5, "{}", status(&container, NOT_SEALED));

    let tail = airgap_ok(&["tail", "--no-follow", &container.name]);
    assert!(tail.stdout.contains("WOULD REFUSE"), "{}", tail.describe());
    assert!(!tail.stdout.contains("DENIED"), "{}", tail.describe());
    let json = airgap_ok(&["tail", "--no-follow", "--json", &container.name]);
    for line in json.stdout.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(event["event"]["action"], "audited", "{event:#}");
        assert_eq!(event["airgap"]["let_through"], true, "{event:#}");
    }
}

/// Every command says that it is not sealed.
#[track_caller]
fn all_say(container: &Container) {
    for command in ["status", "report"] {
        let out = airgap(&[command, &container.name]).expect_code(NOT_SEALED);
        assert!(out.stdout.contains(HEADLINE), "{}", out.describe());
    }
    let report = status(container, NOT_SEALED);
    assert_eq!(report["state"], "not-sealed", "{report:#}");
    assert_eq!(report["audit"], true, "{report:#}");
    let covered = report["coverage"].as_array().into_iter().flatten();
    let covered: Vec<_> = covered.filter(|row| row["covered"] == true).collect();
    assert!(covered.is_empty(), "{covered:?}");
    let list = airgap(&["list"]).expect_code(NOT_SEALED);
    assert!(list.stdout.contains("NOT SEALED"), "{}", list.describe());
    let verify = airgap(&["verify", &container.name]).expect_code(NOT_SEALED);
    assert!(
        verify.stderr.contains("under audit"),
        "{}",
        verify.describe()
    );
    let doctor = airgap(&["doctor"]);
    assert!(
        doctor
            .stdout
            .contains(&format!("NOT SEALED: {}", container.name)),
        "{}",
        doctor.describe()
    );
}

#[test]
fn it_lasts_over_a_restart_until_it_is_ended_and_leaves_nothing() {
    let outside = Outside::new();
    let container = outside.container("lasting").run();
    let before = kernel_state();
    audit(&container, &[]);
    all_say(&container);
    container.restart();
    wait::until("it serves again", wait::SOON, || {
        outside.get(container.ip4(), SERVICE_PORT, "/up").ok()
    });
    all_say(&container);
    let seen = told(&container);
    assert!(container.attempt("tcp4", 20_000, "restarted").errno == 0);
    assert!(told(&container) > seen);
    // The policy that is judged can change; that makes no seal of it.
    airgap(&["allow", "--to", "198.51.100.77:1", &container.name]).expect_code(NOT_SEALED);
    airgap(&["disallow", "--all", &container.name]).expect_code(NOT_SEALED);
    all_say(&container);
    let out = airgap_ok(&["detach", &container.name]);
    assert!(out.stdout.contains("audit ended"), "{}", out.describe());
    wait::until("all of it is gone", wait::SOON, || {
        (kernel_state() == before).then_some(())
    });
}

#[test]
fn it_comes_back_as_it_was_after_a_reboot_or_an_attach_that_fails() {
    let outside = Outside::new();
    let container = outside.container("back").run();
    audit(&container, &[]);
    // All that a reboot takes from the kernel's side.
    cmd::ok(&format!("rm -r /sys/fs/bpf/airgap/v{ABI_VERSION}"));
    let lost = status(&container, NOT_SEALED);
    assert_eq!(lost["state"], "not-sealed", "{lost:#}");
    let out = airgap_ok(&["restore"]);
    assert!(
        out.stdout.contains("under audit again"),
        "{}",
        out.describe()
    );
    assert!(!out.stdout.contains("sealed again"), "{}", out.describe());
    all_say(&container);
    heard_and_told(&outside, &container);
    // Docker's defaults leave a limit at least: the reboot that nothing restores after.
    let out = airgap(&["attach", "-d", "--require", "full", &container.name]).expect_code(1);
    assert!(out.stderr.contains("not covered"), "{}", out.describe());
    let report = status(&container, NOT_SEALED);
    assert_eq!(report["problems"], Value::Array(vec![]), "{report:#}");
    all_say(&container);
    heard_and_told(&outside, &container);
}

#[track_caller]
fn heard_and_told(outside: &Outside, container: &Container) {
    let before = told(container);
    outside.clear();
    let report = container.attempt("tcp4", 20_000, "still-open");
    assert_eq!(report.outcome, Outcome::Sent, "{report:?}");
    assert!(!outside.arrivals().is_empty());
    assert!(told(container) > before);
}

#[test]
fn what_is_sealed_is_not_opened() {
    let outside = Outside::new();
    let container = outside.container("sealed").run();
    seal(&container.name, &[]);
    let report = airgap(&["status", "--json", &container.name]);
    let out = airgap(&["attach", "--audit", "-d", &container.name]).expect_code(USAGE);
    assert!(out.stderr.contains("detach"), "{}", out.describe());
    assert_eq!(
        airgap(&["status", "--json", &container.name]).stdout,
        report.stdout
    );
    outside.clear();
    container.attempt("tcp4", 20_000, "sealed");
    assert!(outside.arrivals().is_empty() && outside.seen().is_empty());
    for wrong in [
        &["attach", "--audit", "--dry-run", "x"][..],
        &["attach", "--audit", "--require", "full", "x"],
        &["attach", "--audit", "--unit", "x"],
    ] {
        airgap(wrong).expect_code(USAGE);
    }
    // Others send by its network, too.
    let shared = format!("container:{}", container.name);
    let other = outside.container("other").network(&shared).run();
    for accept in [&[][..], &["--accept", "shared-network"]] {
        let mut args = vec!["attach", "--audit", "-d", &other.name];
        args.extend(accept);
        let out = airgap(&args).expect_code(1);
        assert!(
            out.stderr.contains("cannot be audited"),
            "{}",
            out.describe()
        );
    }
}

#[test]
fn what_it_told_is_what_the_seal_after_it_needs() {
    let outside = Outside::new();
    let _echoes = [PORT, OTHER].map(|port| Echo::on(&outside.netns, port));
    let at = |port| SocketAddr::new(outside.plan.outside4.into(), port).to_string();
    let container = outside.container("learnt").run();
    audit(&container, &[]);
    let mut reach = Reach::new(&container);
    reach.does(&format!("tcp a {}", at(PORT)));
    echoes(&mut reach, "a", "seen");
    let learn = airgap(&["learn", &container.name]);
    assert!(
        learn.stdout.contains("seen and let through of"),
        "{}",
        learn.describe()
    );
    let lines: Vec<_> = learn
        .stdout
        .lines()
        .filter(|l| !l.starts_with('#'))
        .collect();
    assert_eq!(
        lines,
        [format!("--to {}/tcp", at(PORT))],
        "{}",
        learn.describe()
    );

    let options: Vec<_> = lines[0].split(' ').collect();
    let out = seal(&container.name, &options);
    assert!(out.stdout.contains("SEALED"), "{}", out.describe());
    // It was open under an audit, and an audit vouches for nothing.
    reach.say("send a late").expect_err("cut");
    let report = airgap(&["status", "--json", &container.id]);
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    assert!(report.get("audit").is_none(), "{report:#}");
    assert_eq!(report["denials"]["total"], 0, "counted anew: {report:#}");
    reach.does(&format!("tcp b {}", at(PORT)));
    echoes(&mut reach, "b", "allowed");
    outside.clear();
    reach.is_refused(&format!("tcp c {}", at(OTHER)));
    reach.does("udp d 4");
    reach.is_refused(&format!("to d {} datagram", at(PORT)));
    reach.does("close b");
    let left = outside.arrivals();
    let strange = left
        .iter()
        .find(|frame| frame.ports().is_none_or(|(_, to)| to != PORT));
    assert!(strange.is_none(), "{strange:?}");
    serves(&outside, &container);
}
