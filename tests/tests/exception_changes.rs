//! Promise: a change of exceptions is whole or not at all. What was taken back stays so, what
//! stays goes on, and what airgap says of it is never less than what is open.

use std::net::SocketAddr;
use std::process::Command;

use airgap_tests::airgap::{airgap, airgap_ok, binary, seal};
use airgap_tests::fault::{self, Point};
use airgap_tests::reach::{Echo, Reach};
use airgap_tests::watch::Watch;
use airgap_tests::{Container, Outside, cmd, wait};
use serde_json::Value;

/// Answers; a few more do so, one after the other.
const PORT: u16 = 7500;

struct World {
    outside: Outside,
    _echoes: Vec<Echo>,
}

impl World {
    fn new() -> Self {
        let outside = Outside::new();
        let _echoes = (PORT..PORT + 4)
            .map(|port| Echo::on(&outside.netns, port))
            .collect();
        Self { outside, _echoes }
    }

    fn to(&self, n: u16) -> String {
        SocketAddr::new(self.outside.plan.outside4.into(), PORT + n).to_string()
    }
}

#[track_caller]
fn changed(args: &[&str]) {
    let out = airgap(args);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
}

#[track_caller]
fn status(container: &Container) -> Value {
    let out = airgap(&["status", "--json", &container.id]);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
}

/// Each exception of its status, and its state.
#[track_caller]
fn states(container: &Container) -> Vec<(String, String)> {
    let report = status(container);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let exits = report["exits"].as_array().cloned().unwrap_or_default();
    let rows = exits.iter().map(|e| (text(&e["to"]), text(&e["state"])));
    rows.collect()
}

#[track_caller]
fn assert_in_force(container: &Container, expected: &[&str]) {
    let mut found = states(container);
    found.sort();
    let mut expected: Vec<_> = expected
        .iter()
        .map(|to| (format!("{to}/tcp"), "in-force".to_owned()))
        .collect();
    expected.sort();
    assert_eq!(found, expected, "{:#}", status(container));
}

#[track_caller]
fn echoes(reach: &mut Reach, name: &str) {
    reach.does(&format!("send {name} hello"));
    assert_eq!(reach.does(&format!("receive {name}")), "hello");
}

/// Prefix of an exception in which the host has no address until [`Near`].
const RANGE: &str = "198.51.100.16/28:443";

/// An address of this host in the range of an exception: a risk that comes after the attach,
/// and that nobody has accepted; gone on drop.
struct Near;

impl Near {
    fn here() -> Self {
        let near = Self;
        cmd::ok("ip link add agx-near type bridge");
        cmd::ok("ip addr add 198.51.100.17/32 dev agx-near");
        near
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        cmd::attempt("ip link del agx-near");
    }
}

#[test]
fn a_renewed_and_a_doubled_exception_are_in_force() {
    let world = World::new();
    let (a, b) = (world.to(0), world.to(1));
    let web = world.outside.container("web").run();
    seal(&web.name, &["--to", &a, "--to", &b]);
    changed(&["allow", &web.name, "--to", &a, "--for", "1h"]);
    assert_in_force(&web, &[&a, &b]);
    let c = world.to(2);
    changed(&["allow", &web.name, "--to", &c, "--to", &c]);
    assert_in_force(&web, &[&a, &b, &c]);
    changed(&["allow", &web.name, "--to", &b]);
    assert_in_force(&web, &[&a, &b, &c]);
    let mut reach = Reach::new(&web);
    for (name, to) in [("a", &a), ("b", &b), ("c", &c)] {
        reach.does(&format!("tcp {name} {to}"));
        echoes(&mut reach, name);
    }
    changed(&["disallow", &web.name, "--to", &c]);
    reach.is_refused(&format!("tcp x {c}"));
}

#[test]
fn what_is_taken_back_is_so_whatever_is_found() {
    let world = World::new();
    let (a, b, c) = (world.to(0), world.to(1), world.to(2));
    let web = world.outside.container("web").run();
    seal(
        &web.name,
        &["--to", &a, "--to", &b, "--to", &c, "--to", RANGE],
    );
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {a}"));
    reach.does(&format!("tcp b {b}"));
    echoes(&mut reach, "a");
    let _near = Near::here();
    // What adds is refused, and leaves all as it was: numbers, counts and connections.
    let before = status(&web)["exits"].clone();
    for args in [
        vec!["allow", web.name.as_str(), "--to", "198.51.100.77:1"],
        vec![
            "attach",
            "-d",
            "--to",
            &a,
            "--to",
            "198.51.100.77:1",
            "--to",
            RANGE,
            &web.name,
        ],
    ] {
        let out = airgap(&args).expect_code(1);
        assert!(out.stderr.contains("host-exit"), "{}", out.describe());
        assert_eq!(status(&web)["exits"], before, "{args:?}");
    }
    echoes(&mut reach, "b");
    reach.does(&format!("tcp c {c}"));
    let out = airgap(&["disallow", &web.name, "--to", &c]).expect_code(4);
    assert!(
        out.stderr.contains("is sealed although"),
        "{}",
        out.describe()
    );
    reach.is_refused(&format!("tcp x {c}"));
    assert_in_force(&web, &[&a, &b, RANGE]);
    airgap(&["attach", "-d", "--to", &a, "--to", RANGE, &web.name]).expect_code(4);
    reach.is_refused(&format!("tcp x {b}"));
    echoes(&mut reach, "a");
    changed(&["disallow", &web.name, "--all"]);
    reach.is_refused(&format!("tcp x {a}"));
    assert_in_force(&web, &[]);
}

#[test]
fn what_is_refused_after_the_mark_cuts_nothing() {
    let world = World::new();
    let (a, b) = (world.to(0), world.to(1));
    let web = world.outside.container("web").run();
    seal(&web.name, &["--to", &a]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {a}"));
    echoes(&mut reach, "a");
    let before = status(&web)["exits"].clone();
    airgap(&["attach", "-d", "--to", &b, "--require", "full", &web.name]).expect_code(1);
    assert_eq!(status(&web)["exits"], before);
    echoes(&mut reach, "a");
    reach.is_refused(&format!("tcp x {b}"));
    // Control: without, it takes the other's place.
    seal(&web.name, &["--to", &b]);
    assert_in_force(&web, &[&b]);
    reach.does(&format!("tcp b {b}"));
    let cut = wait::within(wait::SOON, || reach.say("send a x").err());
    assert!(cut.is_some(), "a connection outlived its exception");
}

#[test]
fn what_is_over_makes_room() {
    let world = World::new();
    let web = world.outside.container("web").run();
    seal(&web.name, &[]);
    let ends: Vec<_> = (10..18).map(|n| world.to(n)).collect();
    let mut args = vec!["allow", &web.name, "--for", "1s"];
    args.extend(ends.iter().flat_map(|to| ["--to", to.as_str()]));
    changed(&args);
    wait::until("all are over", wait::SOON, || {
        let states = states(&web);
        (states.len() == 8 && states.iter().all(|(_, state)| state == "ended")).then_some(())
    });
    let to = world.to(0);
    changed(&["allow", &web.name, "--to", &to]);
    let found = states(&web);
    assert_eq!(found.len(), 8, "{found:?}");
    assert!(
        found.contains(&(format!("{to}/tcp"), "in-force".into())),
        "{found:?}"
    );
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {to}"));
}

/// A label's list: what is taken out of it stays so, and its accepted risks are its own.
#[test]
fn a_label_is_not_opened_again_and_lends_no_word() {
    let world = World::new();
    let (a, b) = (world.to(0), world.to(1));
    let near = world.outside.plan.host4;
    let to = format!("airgap.to={a},{b},{near}:22");
    let labels = ["airgap.seal=true", "airgap.accept=host-exit", &to];
    let options: Vec<_> = labels.iter().flat_map(|one| ["--label", *one]).collect();
    let web = world.outside.container("web").options(&options).run();
    let accept = ["--allow-accept", "host-exit"];
    let watch = Watch::start(&accept);
    wait::until("it is sealed by its label", wait::SOON, || {
        let out = airgap(&["status", &web.id]);
        (matches!(out.code, 0 | 4) && out.stdout.contains(&a)).then_some(())
    });
    let refused = airgap(&["allow", &web.name, "--to", &format!("{near}:80")]).expect_code(1);
    assert!(
        refused.stderr.contains("host-exit") && refused.stderr.contains("not one of this host"),
        "{}",
        refused.describe()
    );
    let near = format!("{near}:22");
    assert_in_force(&web, &[&a, &b, &near]);
    let out = airgap(&["disallow", &web.name, "--to", &a]);
    assert!(out.stdout.contains("withdrawn"), "{}", out.describe());
    let mut reach = Reach::new(&web);
    reach.is_refused(&format!("tcp x {a}"));
    drop(watch);
    let watch = Watch::start(&accept);
    // Its first look is over when it has sealed what came later.
    let other = world.outside.container("other").options(&options).run();
    let sealed = |container: &Container| airgap(&["status", &container.id]).stdout.contains(&b);
    wait::until("the next is sealed", wait::SOON, || {
        sealed(&other).then_some(())
    });
    assert_in_force(&web, &[&b, &near]);
    assert_eq!(
        status(&web)["withdrawn"],
        serde_json::json!([format!("{a}/tcp")])
    );
    reach.is_refused(&format!("tcp x {a}"));
    changed(&["allow", &web.name, "--to", &a]);
    assert!(status(&web)["withdrawn"].is_null());
    reach.does(&format!("tcp a {a}"));
    drop(watch);
    airgap_ok(&["detach", "--all"]);
}

/// The points of a run at which a map of exceptions is written, by strace's own count of calls.
fn written(args: &[&str]) -> Vec<Point> {
    let log = format!("/run/airgap-test-changes-{}", std::process::id());
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-e", "trace=bpf", "-o", &log, "--"])
        .arg(binary())
        .args(args)
        .env("AIRGAP_STATE", airgap_tests::airgap::STATE);
    let out = cmd::run_command(&mut strace);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    let text = std::fs::read_to_string(&log).expect("strace's log");
    drop(std::fs::remove_file(&log));
    let calls = text.lines().filter(|line| line.contains(" bpf("));
    let writes = calls.enumerate().filter(|(_, line)| {
        line.contains("BPF_MAP_UPDATE_ELEM") || line.contains("BPF_MAP_DELETE_ELEM")
    });
    let point = |(n, _)| Point {
        call: "bpf".to_owned(),
        number: n + 1,
    };
    writes.map(point).collect()
}

/// After a death at any write of a map: what it says is what is so, and the next change of
/// anything else opens nothing that was taken back.
fn dies(before: &[u16], verb: &str, at: u16) {
    let world = World::new();
    let web = world.outside.container("web").run();
    let all: Vec<_> = (0..4).map(|n| world.to(n)).collect();
    let target = all[usize::from(at)].clone();
    let start: Vec<&str> = before
        .iter()
        .flat_map(|n| ["--to", all[usize::from(*n)].as_str()])
        .collect();
    let stays: Vec<&str> = before
        .iter()
        .filter(|n| **n != at)
        .map(|n| all[usize::from(*n)].as_str())
        .collect();
    let args = [verb, web.name.as_str(), "--to", &target];
    seal(&web.name, &start);
    let points = written(&args);
    assert!(points.len() >= 5, "{points:?}");
    let mut killed = 0;
    let mut torn = 0;
    for point in points {
        airgap_ok(&["restore"]);
        seal(&web.name, &start);
        let out = fault::run(&binary(), &args, &point, "signal=KILL");
        let when = format!("{verb} killed at {point:?}, exit {}", out.code);
        killed += u32::from(out.code == 128 + libc::SIGKILL);
        let mut reach = Reach::new(&web);
        let is_open = |reach: &mut Reach| reach.say(&format!("tcp x {target}")).is_ok();
        let open = is_open(&mut reach);
        let said = airgap(&["status", "--json", &web.name]);
        let report: Value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|e| panic!("{when}: {e}: {}", said.describe()));
        let rows = report["exits"].as_array().cloned().unwrap_or_default();
        let row = rows.iter().find(|row| row["to"] == format!("{target}/tcp"));
        let says_open = row.is_some_and(|row| row["state"] == "in-force");
        assert_eq!(open, says_open, "{when}: {}", said.describe());
        for to in &stays {
            let row = rows.iter().find(|row| row["to"] == format!("{to}/tcp"));
            let state = row.map(|row| row["state"].clone());
            assert_eq!(
                state,
                Some("in-force".into()),
                "{when}: {}",
                said.describe()
            );
        }
        torn += u32::from(report["state"] == "broken");
        let list = airgap(&["list"]);
        assert!(
            list.stdout.contains(&web.name),
            "{when}: {}",
            list.describe()
        );
        // Nothing to do with it; mends it.
        seal(&web.name, &[]);
        let after = status(&web);
        assert_eq!(
            after["problems"],
            serde_json::json!([]),
            "{when}: {after:#}"
        );
        assert_ne!(after["state"], "exception-closed", "{when}: {after:#}");
        let now = is_open(&mut reach);
        if verb == "disallow" {
            assert!(!now, "{when}: it came back: {after:#}");
            assert_in_force(&web, &stays);
        } else {
            assert!(open || !now, "{when}: it came by another's change");
        }
        for (n, to) in stays.iter().enumerate() {
            reach.does(&format!("tcp s{n} {to}"));
        }
    }
    eprintln!("{killed} of {verb} died, {torn} of them between the maps");
    assert!(killed >= 5 && torn > 0, "{killed} died, {torn} in between");
}

#[test]
fn disallow_killed_anywhere_opens_nothing_again() {
    dies(&[0, 1, 2], "disallow", 1);
}

#[test]
fn allow_killed_anywhere_is_whole_or_nothing() {
    dies(&[0, 2], "allow", 1);
}
