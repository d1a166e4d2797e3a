//! Promise: an attach that is still under way is shown as that: neither as whole nor as one that
//! was cut short.

use airgap_tests::airgap::{STATE, binary};
use airgap_tests::{Outside, airgap, wait};
use serde_json::Value;
use std::process::{Command, Stdio};

#[test]
fn an_attach_that_goes_on_is_told_from_one_that_was_cut_short() {
    let outside = Outside::new();
    let container = outside.container("slow").run();
    // Each directory takes it half a second: the look at the container is long.
    let mut attach = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=getdents64"])
        .args(["-e", "inject=getdents64:delay_enter=500000"])
        .args(["-o", "/dev/null", "--"])
        .arg(binary())
        .args(["attach", "-d", &container.id])
        .env("AIRGAP_STATE", STATE)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start strace");
    let status = || -> Option<(i32, Value)> {
        let out = airgap(&["status", "--json", &container.id]);
        let json = serde_json::from_str(&out.stdout).ok()?;
        Some((out.code, json))
    };
    let (code, seen) = wait::until("it is marked", wait::SOON, || {
        status().filter(|(_, json)| json["seal"].is_number())
    });
    assert!(
        attach.try_wait().expect("strace").is_none(),
        "the control: it is under way"
    );
    assert_eq!(
        (code, seen["state"].as_str()),
        (4, Some("opened")),
        "{seen:#}"
    );
    assert!(
        seen.to_string().contains("an attach is under way"),
        "{seen:#}"
    );
    let list = airgap(&["list"]);
    assert!(!list.stdout.contains("BROKEN"), "{}", list.describe());

    // Killed in the middle, it is what must be mended. Without its tracer it would go on.
    let children = format!("/proc/{0}/task/{0}/children", attach.id());
    let children = std::fs::read_to_string(children).expect("a list");
    for child in children.split_whitespace() {
        let pid: i32 = child.parse().expect("a number");
        // SAFETY: takes numbers; it is the tracer's, who has not waited for it.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    attach.kill().expect("kill it");
    attach.wait().expect("its end");
    let cut = wait::until("the attach has ended", wait::SOON, || {
        status().filter(|(code, _)| *code == 3)
    });
    assert!(
        cut.1.to_string().contains("run airgap attach again"),
        "{:#}",
        cut.1
    );
    airgap(&["attach", "-d", &container.id]);
    let (_, whole) = status().expect("its status");
    assert!(!whole.to_string().contains("under way"), "{whole:#}");
}
