//! Promise: nothing leaves. Every technique works unsealed (the control) and, sealed, is refused
//! or dropped without one frame on the container's veth, the bridge or the outside.

use airgap_tests::airgap::seal;
use airgap_tests::bench::Bench;
use airgap_tests::techniques::{cgroup_level, frame_level, packet_sockets};
use airgap_tests::{Outside, SERVICE_PORT};
use std::time::Duration;

#[test]
fn every_technique_works_unsealed_and_none_sealed() {
    let outside = Outside::new();
    let container = outside.container("leaky").run();
    let mut bench = Bench::new(&outside, &container);
    for way in cgroup_level() {
        bench.control(way);
    }
    assert!(
        bench.problems.is_empty(),
        "controls failed:\n{}",
        bench.problems.join("\n")
    );
    seal(&container.name, &[]);
    bench.clear();
    for way in cgroup_level() {
        bench.sealed(way);
    }
    // Longer than a SYN's first repetition.
    bench.veth.watch(Duration::from_millis(2500), |frame| {
        !frame.is_neighbour_discovery()
    });
    bench.no_frames("later");
    bench.judge();
}

#[test]
fn packet_sockets_and_joins_work_unsealed() {
    let outside = Outside::new();
    let container = outside.container("framer").run();
    let mut bench = Bench::new(&outside, &container);
    for way in frame_level() {
        bench.control(way);
    }
    bench.judge();
}

/// Behind the veth, where the seal's frame layer stands on a running container.
#[test]
fn frames_and_joins_do_not_pass_the_veth() {
    let outside = Outside::new();
    let container = outside.container("framer").run();
    seal(&container.name, &[]);
    let mut bench = Bench::new(&outside, &container);
    let leaks: Vec<_> = frame_level().filter(|way| bench.leaks(way)).collect();
    let leaks: Vec<_> = leaks.iter().map(|way| way.name).collect();
    assert_eq!(leaks, Vec::<&str>::new());
    let body = outside.get(container.ip4(), SERVICE_PORT, "/alive");
    body.expect("the service answers with the frame layer in place");
}

#[test]
fn without_net_raw_packet_sockets_are_refused() {
    let outside = Outside::new();
    let container = outside
        .container("capless")
        .options(&["--cap-drop", "NET_RAW"])
        .run();
    let mut bench = Bench::new(&outside, &container);
    seal(&container.name, &[]);
    bench.clear();
    for way in packet_sockets() {
        bench.sealed(way);
    }
    bench.judge();
}
