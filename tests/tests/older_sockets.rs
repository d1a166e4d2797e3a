//! Promise: nothing leaves, also not on sockets that are older than the seal.

use airgap_tests::airgap::seal;
use airgap_tests::{Container, Frame, Outside, Tap, airgap, wait};
use std::net::Ipv4Addr;
use std::time::Duration;

const PORT: u16 = 20_000;

fn holder(outside: &Outside, name: &str, kinds: &[&str]) -> Container {
    let container = hold(outside, name, kinds);
    for kind in kinds {
        assert!(
            heard(outside, kind, wait::SOON),
            "the control: {kind} is not heard"
        );
    }
    container
}

fn hold(outside: &Outside, name: &str, kinds: &[&str]) -> Container {
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let (port, list) = (PORT.to_string(), kinds.join(","));
    let path = format!("/sys/class/net/{}/address", outside.plan.bridge);
    let gateway_mac = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let gateway_mac = gateway_mac.trim().to_owned();
    let line = [
        "airgap-probe",
        "hold",
        &list,
        "--v4",
        &v4,
        "--v6",
        &v6,
        "--port",
        &port,
        "--gateway-mac",
        &gateway_mac,
    ];
    outside.container(name).command(&line).run()
}

fn heard(outside: &Outside, kind: &str, window: Duration) -> bool {
    let marker = format!("held-{kind}");
    outside
        .tap
        .watch(window, |frame| frame.contains(&marker))
        .is_some()
}

fn leaking<'a>(outside: &Outside, kinds: &[&'a str]) -> Vec<&'a str> {
    outside.clear();
    let window = Duration::from_millis(500);
    kinds
        .iter()
        .copied()
        .filter(|kind| heard(outside, kind, window))
        .collect()
}

#[test]
fn connected_sockets_are_cut() {
    let outside = Outside::new();
    let kinds = ["tcp4", "tcp6", "udp4", "udp6"];
    let container = holder(&outside, "older", &kinds);
    seal(&container.name, &[]);
    assert_eq!(leaking(&outside, &kinds), Vec::<&str>::new());
}

#[test]
fn raw_sockets_are_cut_or_the_seal_is_refused() {
    let outside = Outside::new();
    for kind in ["raw4", "raw6"] {
        let container = holder(&outside, kind, &[kind]);
        let out = airgap(&["attach", "-d", &container.name]);
        let leaks = leaking(&outside, &[kind]);
        let refused = matches!(out.code, 1 | 3);
        assert!(
            refused || leaks.is_empty(),
            "{kind} still sends\n{}",
            out.describe()
        );
    }
}

#[test]
fn packet_sockets_send_nothing_past_the_veth() {
    let outside = Outside::new();
    for kind in ["packet", "xdp"] {
        let container = holder(&outside, &format!("framer-{kind}"), &[kind]);
        seal(&container.name, &[]);
        assert_eq!(leaking(&outside, &[kind]), Vec::<&str>::new());
    }
}

/// A member of a group older than the seal leaves it and joins it again: the kernel's reports stay
/// behind the veth.
#[test]
fn members_of_groups_announce_nothing() {
    let outside = Outside::new();
    let container = hold(&outside, "member", &["group4", "group6"]);
    let bridge = Tap::host(&outside.plan.bridge);
    let mac = container.mac();
    let group4 = Ipv4Addr::new(239, 50, 0x4e, 0x20).octets();
    let group6 = [b"\xff\x05\0\0".as_slice(), b"airgap-probe"].concat();
    let reports = |window: Duration, group: &[u8]| {
        let report = |frame: &Frame| frame.source_mac() == mac && frame.has(group);
        bridge.watch(window, report).is_some()
    };
    for group in [group4.as_slice(), &group6] {
        assert!(reports(wait::SOON, group), "the control: {group:?}");
    }
    seal(&container.name, &[]);
    bridge.barrier();
    bridge.clear();
    // Longer than the kernel delays a report (RFC 3376 §8.11).
    for group in [group4.as_slice(), &group6] {
        assert!(!reports(Duration::from_millis(1200), group), "{group:?}");
    }
}

#[test]
fn accepted_connections_are_cut() {
    use std::io::{Read as _, Write as _};
    let outside = Outside::new();
    let container = outside.container("accepted").run();
    let at = (container.ip4(), airgap_tests::SERVICE_PORT);
    let mut stream = outside
        .netns
        .run(|| std::net::TcpStream::connect(at))
        .expect("connect");
    seal(&container.name, &[]);
    outside.clear();
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a timeout");
    drop(stream.write_all(b"GET /older HTTP/1.0\r\n\r\n"));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    assert_eq!(
        String::from_utf8_lossy(&answer),
        "",
        "a connection older than the seal answers"
    );
}
