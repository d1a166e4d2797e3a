//! Promise: the seal needs no process. Killing airgap changes nothing, detach restores everything.

use airgap_tests::airgap::seal;
use airgap_tests::kernel;
use airgap_tests::kernel::assert_same;
use airgap_tests::{
    Container, Outcome, Outside, Report, SERVICE_PORT, Tail, airgap, airgap_ok, kernel_state, wait,
};
use std::fs;
use std::path::Path;

const PORT: u16 = 20_000;

fn knock(container: &Container) -> [Report; 2] {
    ["udp4", "tcp6"].map(|technique| container.attempt(technique, PORT, "knock"))
}

#[track_caller]
fn assert_sealed(outside: &Outside, container: &Container) {
    outside.clear();
    for attempt in knock(container) {
        assert_eq!(attempt.outcome, Outcome::Refused, "{attempt:?}");
        assert_eq!(attempt.errno, kernel::refused(), "{attempt:?}");
    }
    assert_eq!(outside.seen(), []);
    let status = airgap(&["status", &container.name]);
    assert!(
        matches!(status.code, 0 | 4),
        "status must say sealed\n{}",
        status.describe()
    );
    outside
        .get(container.ip4(), SERVICE_PORT, "/")
        .expect("the sealed service answers");
}

#[track_caller]
fn assert_open(container: &Container) {
    for attempt in knock(container) {
        assert_eq!(attempt.outcome, Outcome::Sent, "{attempt:?}");
    }
}

#[test]
fn sigkill_leaves_the_seal_and_detach_leaves_nothing() {
    let outside = Outside::new();
    let container = outside.container("kept").run();
    assert_open(&container);
    let before = kernel_state();
    for technique in ["udp4", "tcp4"] {
        let v4 = outside.plan.outside4.to_string();
        let port = PORT.to_string();
        let line = [
            "airgap-probe",
            "knock",
            technique,
            "--v4",
            &v4,
            "--port",
            &port,
        ];
        let detached = ["docker", "exec", "-d", &container.id];
        let words = detached.iter().chain(&line);
        airgap_tests::cmd::ok(&words.copied().collect::<Vec<_>>().join(" "));
    }

    let mut attach = Tail::start(&["attach", "--json", &container.name]);
    let denied = |line: &str| line.contains("\"denied\"");
    attach.await_line("a denial of the traffic", wait::SOON, denied);
    attach.kill();
    assert_sealed(&outside, &container);

    airgap_ok(&["detach", &container.name]);
    assert_open(&container);
    assert_same(&before, &settled(&before), "after detach");
    assert!(
        !Path::new("/sys/fs/bpf/airgap").exists(),
        "/sys/fs/bpf/airgap is left"
    );
}

/// SIGKILLs `airgap ARGS` as soon as the number of pins satisfies `moment`; `false` when it was
/// done before.
fn torn(args: &[&str], moment: impl Fn(usize) -> bool) -> bool {
    let reached = || moment(kernel_files(Path::new("/sys/fs/bpf/airgap")));
    let mut child = Tail::start(args);
    // No pause in between: the moments are microseconds.
    while !reached() && child.is_running() {}
    let hit = child.is_running();
    child.kill();
    hit
}

fn kernel_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => kernel_files(&entry.path()),
            _ => 1,
        })
        .sum()
}

/// Each time the next attach must repair what is there.
#[test]
fn sigkill_at_any_moment_of_attach_is_repaired() {
    let outside = Outside::new();
    let container = outside.container("torn").run();
    let before = kernel_state();
    let mut hits = 0;
    for pins in [1, 2, 5, 10, 14, 16, 17, 18, 20, 22, 24, 26, 28, 30] {
        hits += usize::from(torn(&["attach", "-d", &container.name], |now| now >= pins));
        seal(&container.name, &[]);
        assert_sealed(&outside, &container);
        airgap_ok(&["detach", &container.name]);
        assert_open(&container);
    }
    assert!(hits > 3, "only {hits} attaches were torn");
    assert_same(&before, &settled(&before), "after torn attaches");
}

/// Each time the next `detach --all` must finish the job.
#[test]
fn sigkill_at_any_moment_of_detach_is_repaired() {
    let outside = Outside::new();
    let container = outside.container("torn").run();
    let before = kernel_state();
    let mut hits = 0;
    for pins in [30, 28, 26, 24, 22, 20, 18, 16, 14, 10, 5, 1] {
        seal(&container.name, &[]);
        hits += usize::from(torn(&["detach", &container.name], |now| now < pins));
        airgap_ok(&["detach", "--all"]);
        assert_open(&container);
        assert_same(
            &before,
            &settled(&before),
            &format!("detach torn below {pins} pins"),
        );
    }
    eprintln!("{hits} detaches were torn");
    // The last moment of all, which a race hits once in a thousand times.
    fs::create_dir("/sys/fs/bpf/airgap").expect("the pins are gone");
    airgap_ok(&["detach", "--all"]);
    assert_same(&before, &settled(&before), "detach torn at its last step");
}

/// The kernel frees programs and links a moment after the last reference is gone.
fn settled(before: &std::collections::BTreeSet<String>) -> std::collections::BTreeSet<String> {
    wait::within(wait::SOON, || {
        Some(kernel_state()).filter(|now| now == before)
    })
    .unwrap_or_else(kernel_state)
}

#[test]
fn attach_twice_is_idempotent() {
    let outside = Outside::new();
    let container = outside.container("twice").run();
    let before = kernel_state();
    seal(&container.name, &[]);
    let once = kernel_state();
    seal(&container.name, &[]);
    assert_same(&once, &settled(&once), "after the second attach");
    assert_sealed(&outside, &container);
    airgap_ok(&["detach", &container.name]);
    assert_same(&before, &settled(&before), "after detach");
}

#[test]
fn detach_all_leaves_nothing() {
    let outside = Outside::new();
    let before = kernel_state();
    let containers = ["one", "two"].map(|name| outside.container(name).run());
    for container in &containers {
        seal(&container.name, &[]);
    }
    airgap_ok(&["detach", &containers[0].name]);
    assert_open(&containers[0]);
    assert_sealed(&outside, &containers[1]);
    airgap_ok(&["detach", "--all"]);
    assert_open(&containers[1]);
    assert_same(&before, &settled(&before), "after detach --all");
}
