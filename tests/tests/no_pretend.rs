//! Promise: no pretend. What the seal cannot hold, `attach` and `status` say: a leak is allowed
//! only where the coverage names its way as open now, and exit 0 only where none is.

use ::airgap::technique::vector::PACKET_SOCKETS;
use airgap_tests::bench::Bench;
use airgap_tests::services::PORTS;
use airgap_tests::techniques::frame_level;
use airgap_tests::{Container, Outcome, Outside, SERVICE_PORT, airgap, cmd};
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// One way of provoking an answer.
type Probe = (&'static str, fn(&Outside, IpAddr));

/// Nobody listens here.
const CLOSED: u16 = 9;

/// Words of the ways that coverage admits to be open now, and the exit status.
#[track_caller]
fn admitted(container: &Container) -> (i32, String) {
    let out = airgap(&["status", "--json", &container.name]);
    let status: Value =
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()));
    let coverage = status["coverage"].as_array().cloned().unwrap_or_default();
    let open = coverage
        .iter()
        .filter(|vector| vector["covered"] == false && vector["when"] == "now");
    let names = open.map(|vector| vector["vector"].as_str().unwrap_or("?").to_lowercase());
    (out.code, names.collect::<Vec<_>>().join("; "))
}

/// Every leak's way must be named open by one of its words; exit 0 means that none is open.
#[track_caller]
fn assert_honest(container: &Container, attach_code: i32, leaks: &[(&str, &[&str])]) {
    let (status_code, open) = admitted(container);
    let silent: Vec<_> = leaks
        .iter()
        .filter(|(_, words)| !words.iter().any(|word| open.contains(word)))
        .collect();
    assert!(
        silent.is_empty(),
        "leaks that coverage does not admit: {silent:?}; open: {open:?}"
    );
    let wanted = if open.is_empty() { 0 } else { 4 };
    assert_eq!(
        (attach_code, status_code),
        (wanted, wanted),
        "exit statuses; open: {open:?}"
    );
}

fn frames_are_admitted(options: &[&str]) {
    let outside = Outside::new();
    let container = outside.container("honest").options(options).run();
    let attach = airgap(&["attach", "-d", &container.name]);
    let mut bench = Bench::new(&outside, &container);
    let mut leaks: Vec<(&str, &[&str])> = Vec::new();
    for way in frame_level() {
        if bench.leaks(way) {
            let raw = way.vector == PACKET_SOCKETS;
            let words: &[&str] = if raw {
                &["af_packet", "frames"]
            } else {
                &["multicast", "igmp", "joins"]
            };
            leaks.push((way.name, words));
        }
    }
    eprintln!("leaks with {options:?}: {leaks:?}");
    assert_honest(&container, attach.code, &leaks);
}

#[test]
fn frames_with_default_capabilities() {
    frames_are_admitted(&[]);
}

#[test]
fn frames_without_net_raw() {
    frames_are_admitted(&["--cap-drop", "NET_RAW"]);
}

/// What the container's kernel answers to strangers, without any socket.
#[test]
fn answers_to_probes() {
    let outside = Outside::new();
    let container = outside
        .container("probed")
        .options(&["--cap-drop", "NET_RAW"])
        .run();
    let attach = airgap(&["attach", "-d", &container.name]);
    let mut leaks: Vec<(&str, &[&str])> = Vec::new();
    let words: &[&str] = &["kernel", "replies", "echo", "probe"];
    let probes: [Probe; 3] = [
        ("RST", knock_tcp),
        ("ICMP unreachable", knock_udp),
        ("echo reply", ping),
    ];
    for address in [IpAddr::from(container.ip4()), container.ip6().into()] {
        for (name, probe) in probes {
            outside.clear();
            probe(&outside, address);
            let from_it = |frame: &airgap_tests::Frame| {
                frame
                    .ip()
                    .is_some_and(|ip| ip.source == address && !frame.is_neighbour_discovery())
            };
            if outside
                .tap
                .watch(Duration::from_millis(300), from_it)
                .is_some()
            {
                leaks.push((name, words));
            }
        }
    }
    outside
        .get(container.ip4(), SERVICE_PORT, "/")
        .expect("the service itself answers");
    eprintln!("answers: {leaks:?}");
    assert_honest(&container, attach.code, &leaks);
}

fn knock_tcp(outside: &Outside, address: IpAddr) {
    let limit = Duration::from_millis(300);
    let answer = outside
        .netns
        .run(|| TcpStream::connect_timeout(&(address, CLOSED).into(), limit));
    assert!(answer.is_err(), "port {CLOSED} is open");
}

fn knock_udp(outside: &Outside, address: IpAddr) {
    let any: IpAddr = if address.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        [0_u16; 8].into()
    };
    outside.netns.run(|| {
        let socket = UdpSocket::bind((any, 0)).expect("bind");
        socket
            .send_to(b"anybody?", (address, CLOSED))
            .expect("send");
    });
}

fn ping(outside: &Outside, address: IpAddr) {
    cmd::attempt(&format!(
        "ip netns exec {} busybox ping -c 1 -W 1 {address}",
        outside.plan.name
    ));
}

/// As with a runtime that makes no cgroup v2: the engine's container is there, its seal is, and
/// its process is elsewhere.
#[test]
fn a_process_outside_the_sealed_cgroup_is_told() {
    let outside = Outside::new();
    let container = outside.container("strays").run();
    let attach = airgap(&["attach", "-d", &container.name]);
    assert!(matches!(attach.code, 0 | 4), "{}", attach.describe());
    let cgroup = container.cgroup();
    let root = cgroup.parent().and_then(Path::parent).expect("its root");
    let pid = container.pid().to_string();
    let enter = |dir: &Path| fs::write(dir.join("cgroup.procs"), &pid).expect("move it");
    let attempt = || container.attempt("udp4", PORTS.start, "strays").outcome;
    assert_eq!(attempt(), Outcome::Refused);
    enter(root);
    let status = airgap(&["status", &container.name]).expect_code(3);
    assert!(
        status.stdout.contains("none of the container's"),
        "{}",
        status.describe()
    );
    airgap(&["list"]).expect_code(3);
    enter(&cgroup);
    let status = airgap(&["status", &container.name]);
    assert!(matches!(status.code, 0 | 4), "{}", status.describe());
}
