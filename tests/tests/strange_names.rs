//! Promise: whatever a container's processes call themselves, every command does its work, and
//! what it prints is text.

use airgap_tests::airgap::seal;
use airgap_tests::{Outside, SERVICE_PORT, airgap, airgap_ok, wait};
use serde_json::Value;
use std::fs;

#[test]
fn names_that_are_no_utf_8_are_only_names() {
    let outside = Outside::new();
    let v4 = outside.plan.outside4.to_string();
    let line = ["airgap-probe", "strange", "--v4", &v4, "--port", "20000"];
    let container = outside.container("strange").command(&line).run();
    wait::until("it has its name", wait::SOON, || {
        let comm = fs::read(format!("/proc/{}/comm", container.pid())).ok()?;
        (comm == b"\xff\xfe\x80\n").then_some(())
    });
    // The name is where the kernel says more than names.
    let status = format!("/proc/{}/status", container.pid());
    assert!(fs::read_to_string(status).is_err(), "it is UTF-8 after all");
    let dry = airgap(&["attach", "--dry-run", &container.name]);
    assert!(matches!(dry.code, 0 | 4), "{}", dry.describe());
    assert!(!dry.stdout.is_empty());
    seal(&container.name, &[]);
    outside
        .get(container.ip4(), SERVICE_PORT, "/")
        .expect("it answers");
    let event = wait::until("its attempts are told", wait::SOON, || {
        let out = airgap_ok(&["tail", "--json", "--no-follow", &container.name]);
        let first = out.stdout.lines().next()?;
        Some(serde_json::from_str::<Value>(first).expect("JSON"))
    });
    let odd = "\u{fffd}\u{fffd}\u{fffd}";
    assert_eq!(event["process"]["name"], odd, "{event}");
    let report = airgap_ok(&["report", "--json", &container.name]);
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    let process = &report["processes"][0];
    assert_eq!(process["name"], odd, "{process}");
    assert_eq!(process["executable"], format!("/tmp/{odd}"), "{process}");
    let command = process["command_line"].as_str().unwrap_or_default();
    assert!(command.starts_with(odd), "{process}");
    for args in [
        vec!["status", &container.name],
        vec!["report", &container.name],
        vec!["tail", "--no-follow", &container.name],
        vec!["list"],
        vec!["verify", &container.name],
    ] {
        let out = airgap(&args);
        assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    }
    // Its own attempts are no proof, but they do not keep one from being made either.
    let proof = airgap(&["verify", "--json", &container.name]).expect_code(0);
    let proof: Value = serde_json::from_str(&proof.stdout).expect("JSON");
    assert_eq!(proof["verdict"], "PROVEN");
    airgap_ok(&["detach", &container.name]);
}
