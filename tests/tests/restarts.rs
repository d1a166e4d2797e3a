//! Promise: no unprotected instant. A container sealed once sends nothing, not with its very
//! first instruction, however it is restarted, while no airgap process runs.

use airgap_tests::airgap::seal;
use airgap_tests::beacon::is_refused;
use airgap_tests::{Container, Frame, Outside, SERVICE_PORT, Tap, airgap, airgap_ok, cmd, wait};
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

const TARGET_PORT: u16 = 20_000;
/// What the beacon tries before anything else; see `airgap-probe beacon`.
const ATTEMPTS: [&str; 9] = [
    "udp4",
    "udp6",
    "tcp4",
    "tcp6",
    "raw4-icmp",
    "raw6-icmp",
    "raw4-udp",
    "raw6-ns",
    "packet-raw",
];

/// AF_PACKET is out of reach of the cgroup layer, so the container runs without NET_RAW; raw
/// sockets are then refused by the kernel itself and prove less than UDP and TCP do.
fn beacon(outside: &Outside, restart: &str) -> Container {
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let port = TARGET_PORT.to_string();
    outside
        .container("beacon")
        .options(&["--cap-drop", "NET_RAW", "--restart", restart])
        .command(&[
            "airgap-probe",
            "beacon",
            "--v4",
            &v4,
            "--v6",
            &v6,
            "--port",
            &port,
        ])
        .create()
}

/// The log of the last boot, once the beacon serves for the `boots`-th time.
#[track_caller]
fn await_boot(container: &Container, boots: usize) -> Vec<Value> {
    let limit = Duration::from_secs(60);
    wait::until(
        &format!("boot {boots} of {}", container.name),
        limit,
        || {
            let records = container.log_records();
            let done = |r: &Value| r["technique"] == "beacon-done";
            (records.iter().filter(|r| done(r)).count() >= boots).then(|| {
                let rest = records.split(done).nth(boots - 1);
                rest.map(<[Value]>::to_vec).unwrap_or_default()
            })
        },
    )
}

/// Every attempt ran and was refused.
#[track_caller]
fn assert_refused(records: &[Value], boot: usize) {
    for name in ATTEMPTS {
        let record = records.iter().find(|r| r["technique"] == name);
        assert!(
            is_refused(name, record),
            "boot {boot}: {name} was not refused: {records:?}"
        );
    }
}

#[track_caller]
fn denials(container: &Container) -> u64 {
    let out = airgap(&["status", "--json", &container.name]);
    assert!(matches!(out.code, 0 | 4), "not sealed\n{}", out.describe());
    let status: Value =
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
    let total = status["denials"]["total"].as_u64();
    total.unwrap_or_else(|| panic!("no denial counter\n{}", out.describe()))
}

/// Frames with the container's hardware or IP addresses on any device of the host, except
/// neighbour discovery, its kernel's questions for routers (on an interface that is not guarded
/// yet, where the engine leaves them on) and the service's own connections.
fn leaks(every: &Tap, container: &Container) -> Vec<Frame> {
    every.barrier();
    let mac = container.mac();
    let own = own_addresses(container);
    let mut frames = every.suspicious();
    frames.retain(|frame| {
        let from_it = frame.ip().is_some_and(|ip| own.contains(&ip.source));
        (from_it || frame.source_mac() == mac)
            && !from_service(frame)
            && !frame.is_router_solicitation()
    });
    frames
}

fn from_service(frame: &Frame) -> bool {
    frame.ports().is_some_and(|(from, _)| from == SERVICE_PORT)
}

fn own_addresses(container: &Container) -> [IpAddr; 2] {
    [container.ip4().into(), container.ip6().into()]
}

fn restarts() -> usize {
    let wanted = std::env::var("AIRGAP_TEST_RESTARTS").ok();
    wanted.map_or(50, |n| {
        n.parse().expect("AIRGAP_TEST_RESTARTS must be a number")
    })
}

#[test]
fn unsealed_beacon_is_heard() {
    let outside = Outside::new();
    let container = beacon(&outside, "no");
    container.start();
    await_boot(&container, 1);
    for ip in own_addresses(&container) {
        let heard = |frame: &Frame| frame.ip().is_some_and(|i| i.source == ip);
        let frame = outside.tap.watch(wait::SOON, heard);
        assert!(frame.is_some(), "the control: nothing from {ip} outside");
    }
}

#[test]
fn restarted_containers_stay_sealed() {
    let outside = Outside::new();
    let container = beacon(&outside, "no");
    // By id, before its first instruction.
    seal(&container.id, &[]);
    let every = Tap::every_device(&outside.plan.bridge);
    container.start();
    let mut counted = 0;
    for boot in 1..=restarts() {
        assert_refused(&await_boot(&container, boot), boot);
        let now = denials(&container);
        assert!(now > counted, "boot {boot}: the counter stayed at {now}");
        counted = now;
        let frames = leaks(&every, &container);
        assert!(frames.is_empty(), "boot {boot} leaked: {frames:?}");
        // Another hardware address is learnt from who speaks, and a sealed container does not:
        // Docker's are of the address, Podman's are drawn anew.
        cmd::ok(&format!("ip neigh flush dev {}", outside.plan.bridge));
        let body = outside.get(container.ip4(), SERVICE_PORT, "/alive");
        body.unwrap_or_else(|e| panic!("boot {boot}: no answer: {e:#}"));
        let arrivals = outside.arrivals();
        assert!(
            arrivals.iter().all(from_service),
            "boot {boot}: outside got {arrivals:?}"
        );
        outside.clear();
        every.clear();
        container.restart();
    }
    airgap_ok(&["detach", &container.name]);
}

#[test]
fn crashed_containers_stay_sealed() {
    let outside = Outside::new();
    let container = beacon(&outside, "always");
    seal(&container.id, &[]);
    container.start();
    for boot in 1..=5 {
        assert_refused(&await_boot(&container, boot), boot);
        let arrivals = outside.arrivals();
        assert!(arrivals.is_empty(), "boot {boot}: outside got {arrivals:?}");
        // Docker backs off (100 ms, doubling) after runs shorter than ten seconds.
        let pid = wait::until("it runs", wait::SOON, || container.try_pid());
        let pid = i32::try_from(pid).expect("a pid");
        // SAFETY: kill takes no pointers; the pid is the container's init.
        let rc = unsafe { libc::kill(pid, libc::SIGKILL) };
        assert_eq!(rc, 0, "cannot kill {pid}");
    }
}

#[test]
fn service_answers_with_syn_cookies() {
    let outside = Outside::new();
    let container = outside.container("cookies").run();
    let always_cookies = || {
        container.netns().run(|| {
            let path = "/proc/sys/net/ipv4/tcp_syncookies";
            std::fs::write(path, "2").unwrap_or_else(|e| panic!("{path}: {e}"));
        });
    };
    always_cookies();
    outside
        .get(container.ip4(), SERVICE_PORT, "/control")
        .expect("unsealed control");
    seal(&container.name, &[]);
    for number in 0..20 {
        for address in [container.ip4().into(), IpAddr::from(container.ip6())] {
            outside
                .get(address, SERVICE_PORT, "/sealed")
                .unwrap_or_else(|e| {
                    panic!("request {number} to {address} with SYN cookies: {e:#}");
                });
        }
    }
}
