//! Promise: no unprotected instant, as far as somebody runs: an attach that still shows denials
//! guards the veths that a restart or a network brings, and status never claims what is not so.

use ::airgap::technique::find;
use airgap_tests::airgap::hooks_refuse;
use airgap_tests::bench::Bench;
use airgap_tests::{Container, Outside, Tail, airgap, cmd, wait};
use serde_json::Value;

const RAW_FRAMES: &str = "raw frames (AF_PACKET, AF_XDP)";

fn covers_raw_frames(container: &Container) -> bool {
    let out = airgap(&["status", "--json", &container.name]);
    let status: Value = serde_json::from_str(&out.stdout).unwrap_or_default();
    let coverage = status["coverage"].as_array().into_iter().flatten();
    coverage
        .filter(|vector| vector["vector"] == RAW_FRAMES)
        .any(|vector| vector["covered"] == true)
}

fn soon_covered(container: &Container, what: &str) {
    let covered = wait::within(wait::SOON, || covers_raw_frames(container).then_some(()));
    covered.unwrap_or_else(|| panic!("{what}: the new veth is not guarded"));
}

#[test]
fn a_running_attach_guards_what_comes_later() {
    let outside = Outside::new();
    let container = outside.container("kept").run();
    let attach = Tail::start(&["attach", &container.name]);
    soon_covered(&container, "attach");
    container.restart();
    soon_covered(&container, "restart");
    let raw = find("packet-raw").expect("a way out");
    let mut bench = Bench::new(&outside, &container);
    assert!(!bench.leaks(raw), "a raw frame passed the new veth");
    drop(bench);
    let network = &outside.plan.name;
    cmd::ok(&format!(
        "docker network disconnect {network} {}",
        container.name
    ));
    cmd::ok(&format!(
        "docker network connect {network} {}",
        container.name
    ));
    soon_covered(&container, "network connect");

    // Nobody is there any more: the kernel without security hooks cannot keep it up, and the
    // report says so.
    drop(attach);
    container.restart();
    assert_eq!(covers_raw_frames(&container), hooks_refuse());
}
