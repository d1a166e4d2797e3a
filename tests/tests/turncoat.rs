//! Promise: nothing leaves, also not through a listener that clients have already used. Such a
//! listener carries the seal's own mark, so it must lose it when it turns into a client.

use airgap_tests::airgap::seal;
use airgap_tests::kernel;
use airgap_tests::{Container, Outside, SERVICE_PORT, airgap_ok};
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

const TARGET_PORT: u16 = 20_000;

#[track_caller]
fn tell(container: &Container, words: &str) -> Value {
    let mut command = vec!["airgap-probe", "tell", "127.0.0.1:5061"];
    command.extend(words.split_whitespace());
    let out = container.exec(&command).expect_code(0);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
}

fn turn(container: &Container, to: IpAddr, marker: &str) -> Value {
    tell(container, &format!("turn {to} {TARGET_PORT} {marker}"))
}

/// One client per address family, so that the listener is known to the seal for both.
#[track_caller]
fn visit(outside: &Outside, container: &Container) {
    for address in [IpAddr::from(container.ip4()), container.ip6().into()] {
        let body = outside.get(address, SERVICE_PORT, "/visit");
        body.unwrap_or_else(|e| panic!("{address} does not answer: {e:#}"));
    }
}

/// Nothing from the container reaches the outside for longer than a SYN's first repetition.
/// FINs and ACKs of the visits' connections, to the clients that opened them, are replies.
#[track_caller]
fn assert_silent(outside: &Outside, marker: &str) {
    let to_target = |port: Option<(u16, u16)>| port.is_some_and(|(_, to)| to == TARGET_PORT);
    outside.tap.watch(Duration::from_millis(1500), |f| {
        f.contains(marker) || to_target(f.ports())
    });
    let arrivals = outside.arrivals();
    let leak = arrivals
        .iter()
        .find(|f| f.contains(marker) || to_target(f.ports()));
    assert!(leak.is_none(), "the turned listener got out: {arrivals:?}");
    assert_eq!(outside.seen(), [], "the turned listener reached a server");
}

fn targets(outside: &Outside) -> [IpAddr; 2] {
    [outside.plan.outside4.into(), outside.plan.outside6.into()]
}

#[test]
fn a_used_listener_cannot_connect_out() {
    let outside = Outside::new();
    for (round, target) in targets(&outside).into_iter().enumerate() {
        let container = outside
            .container("turncoat")
            .command(&["airgap-probe", "turncoat"])
            .run();
        visit(&outside, &container);
        let control = turn(&container, target, "control");
        assert_eq!(control["ok"], true, "the control must get out: {control}");
        tell(&container, "listen");

        seal(&container.name, &[]);
        visit(&outside, &container);
        outside.clear();
        let marker = format!("turned{round}");
        let report = turn(&container, target, &marker);
        assert_eq!(report["errno"], kernel::refused(), "{target}: {report}");
        assert_silent(&outside, &marker);

        // Still a service afterwards, and a second client is served.
        tell(&container, "listen");
        visit(&outside, &container);
        visit(&outside, &container);
    }
}

#[test]
fn a_connection_made_between_two_seals_is_cut() {
    let outside = Outside::new();
    for target in targets(&outside) {
        let container = outside
            .container("turncoat")
            .command(&["airgap-probe", "turncoat"])
            .run();
        seal(&container.name, &[]);
        visit(&outside, &container);
        airgap_ok(&["detach", &container.name]);
        let gap = turn(&container, target, "between");
        assert_eq!(
            gap["ok"], true,
            "unsealed, the listener can connect out: {gap}"
        );

        seal(&container.name, &[]);
        outside.clear();
        tell(&container, "send afterwards");
        let leak = outside
            .tap
            .watch(Duration::from_millis(1500), |f| f.contains("afterwards"));
        assert!(leak.is_none(), "the old connection still sends: {leak:?}");
    }
}

/// A child accepted over lo, under the address of somebody outside, has the listener's tag and
/// the right port; only its addresses betray it.
#[test]
fn a_connection_with_itself_cannot_be_taken_out() {
    let outside = Outside::new();
    let container = outside
        .container("lander")
        .command(&["airgap-probe", "turncoat"])
        .run();
    visit(&outside, &container);
    let land = |marker: &str| {
        tell(
            &container,
            &format!("land {} {marker}", outside.plan.outside4),
        )
    };
    let control = land("control");
    assert_eq!(control["ok"], true, "the control must be sent: {control}");
    let seen = outside
        .tap
        .watch(Duration::from_secs(2), |f| f.contains("control"));
    assert!(seen.is_some(), "the control must get out");
    tell(&container, "listen");

    seal(&container.name, &[]);
    visit(&outside, &container);
    outside.clear();
    land("landed");
    assert_silent(&outside, "landed");
}
