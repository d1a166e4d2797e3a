//! Promise: nothing leaves. Every technique works unsealed (the control) and, sealed, is refused
//! or dropped without one frame on the container's veth, the bridge or the outside.

use airgap_tests::airgap::seal;
use airgap_tests::bench::Bench;
use airgap_tests::techniques::{EPERM, JOINS, PACKET_SOCKETS, TABLE};
use airgap_tests::{Outside, SERVICE_PORT};
use std::time::Duration;

#[test]
fn every_technique_works_unsealed_and_none_sealed() {
    let outside = Outside::new();
    let container = outside.container("leaky").run();
    let mut bench = Bench::new(&outside, &container);
    for &(technique, reach, _) in TABLE {
        bench.control(technique, reach);
    }
    assert!(
        bench.problems.is_empty(),
        "controls failed:\n{}",
        bench.problems.join("\n")
    );
    seal(&container.name, &[]);
    bench.clear();
    for &(technique, _, expected) in TABLE {
        bench.sealed(technique, expected);
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
    for &(technique, reach) in PACKET_SOCKETS.iter().chain(JOINS) {
        bench.control(technique, reach);
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
    let frames = PACKET_SOCKETS.iter().chain(JOINS).map(|&(name, _)| name);
    let leaks: Vec<_> = frames.filter(|name| bench.leaks(name)).collect();
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
    for &(technique, _) in PACKET_SOCKETS {
        bench.sealed(technique, EPERM);
    }
    bench.judge();
}

#[test]
fn the_tables_name_every_technique() {
    let outside = Outside::new();
    let container = outside.container("list").run();
    let listed = container
        .exec(&["airgap-probe", "list"])
        .expect_code(0)
        .stdout;
    let mut listed: Vec<_> = listed.lines().collect();
    let extra = PACKET_SOCKETS.iter().chain(JOINS).map(|&(name, _)| name);
    let mut known: Vec<_> = TABLE.iter().map(|&(name, ..)| name).chain(extra).collect();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}
