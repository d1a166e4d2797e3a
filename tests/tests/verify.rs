//! Promise: no pretend. `airgap verify` proves a seal that holds, finds one that does not, and
//! leaves nothing behind, however it ends.

#[path = "verify/counts.rs"]
mod counts;
#[path = "verify/runs.rs"]
mod runs;

use self::runs::{DEVICE, has_device, list, peak, pins, start, technique, traces, verify};
use airgap_tests::airgap::{hooks_refuse, seal};
use airgap_tests::bench::Bench;
use airgap_tests::kernel::assert_same;
use airgap_tests::{Outside, SERVICE_PORT, Tail, airgap, cmd, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// What refused an attempt, where it was no hook on the way of a packet.
const SOCKET_TYPE: &str = "lsm: socket-type";
const NO_NET_RAW: &str = "the kernel: no CAP_NET_RAW";

#[test]
fn proves_a_seal_that_holds() {
    let outside = Outside::new();
    let container = outside.container("proven").run();
    seal(&container.name, &[]);
    let before = traces(&container);
    let mut bench = Bench::new(&outside, &container);
    bench.clear();
    let proof = verify(&container, 0);
    bench.no_frames("during verify");
    bench.judge();
    assert_same(&before, &traces(&container), "after verify");
    let body = outside.get(container.ip4(), SERVICE_PORT, "/");
    body.expect("the service answers after verify");

    assert_eq!(proof["schema"], 1);
    assert_eq!(proof["verdict"], "PROVEN");
    assert_eq!(proof["id"], container.id);
    for tried in list(&proof, "techniques") {
        assert_eq!(tried["verdict"], "PROVEN", "{tried}");
        assert_eq!(tried["control"], true, "{tried}");
        assert!(tried["by"].is_string(), "{tried}");
    }
    // Only what asks Docker's resolver, whose answer would come from a real server.
    for not in list(&proof, "not_tried") {
        let name = not["technique"].as_str().unwrap_or("?");
        assert!(name.starts_with("dns-embedded"), "{not}");
    }
    let all = airgap_tests::techniques::all();
    let known = all.filter(|way| way.is_shown).count();
    let named = list(&proof, "techniques").len() + list(&proof, "not_tried").len();
    assert_eq!(named, known, "every technique is named");
    assert!(known >= 81, "{known}");
    assert_eq!(technique(&proof, "tcp4")["by"], "connect4: egress");
    // The security hooks come before any frame, and before the capability is asked for.
    let by = if hooks_refuse() {
        SOCKET_TYPE
    } else {
        "frame: egress"
    };
    assert_eq!(technique(&proof, "packet-raw")["by"], by);
}

#[test]
fn finds_a_seal_that_is_broken() {
    let outside = Outside::new();
    let container = outside.container("broken").run();
    seal(&container.name, &[]);
    // The last reference to a link is its pin: without it the program hangs there no more.
    for link in ["connect4", "egress"] {
        fs::remove_file(format!("{}/{link}", pins("links")))
            .unwrap_or_else(|e| panic!("{link}: {e}"));
    }
    outside.clear();
    let proof = verify(&container, 3);
    assert_eq!(outside.seen(), [], "verify sends to its own target only");
    assert_eq!(proof["verdict"], "LEAK");
    for leak in [
        "tcp4",
        "tcp4-nonblocking",
        "udp4-connected",
        "lo-lsrr-udp4",
        "stranger-tcp4",
    ] {
        assert_eq!(technique(&proof, leak)["verdict"], "LEAK", "{leak}");
    }
    for held in ["raw4-icmp", "mptcp4", "packet-raw"] {
        assert_eq!(technique(&proof, held)["verdict"], "PROVEN", "{held}");
    }
    let vector = |name: &str| {
        let found = list(&proof, "vectors").iter().find(|v| v["vector"] == name);
        found.map(|v| v["verdict"].clone())
    };
    assert_eq!(vector("TCP connections"), Some("LEAK".into()));
    seal(&container.name, &[]);
    assert_eq!(verify(&container, 0)["verdict"], "PROVEN", "mended");
}

/// The link to the target is guarded for the test, the container's own may not be.
#[test]
fn an_unguarded_interface_leaks_frames() {
    let outside = Outside::new();
    let container = outside.container("bare").run();
    seal(&container.name, &[]);
    for entry in fs::read_dir(pins("links"))
        .expect("the links' pins")
        .flatten()
    {
        if entry.file_name().to_string_lossy().ends_with("_out") {
            fs::remove_file(entry.path()).expect("a pin can be removed");
        }
    }
    let proof = verify(&container, 3);
    for leak in ["packet-raw", "packet-lo-forward", "igmp-join"] {
        let detail = technique(&proof, leak)["detail"].as_str().unwrap_or("");
        assert_eq!(technique(&proof, leak)["verdict"], "LEAK", "{leak}");
        assert!(detail.contains("nothing guards eth0"), "{leak}: {detail}");
    }
    assert_eq!(technique(&proof, "tcp4")["verdict"], "PROVEN");
}

#[test]
fn without_net_raw_the_kernel_refuses() {
    let outside = Outside::new();
    let spec = outside
        .container("capless")
        .options(&["--cap-drop", "NET_RAW"]);
    let container = spec.run();
    seal(&container.name, &[]);
    let proof = verify(&container, 0);
    let by = if hooks_refuse() {
        SOCKET_TYPE
    } else {
        NO_NET_RAW
    };
    assert_eq!(technique(&proof, "packet-raw")["by"], by);
    assert_eq!(technique(&proof, "raw4-icmp")["by"], NO_NET_RAW);
    assert_eq!(technique(&proof, "freebind-synack6")["verdict"], "PROVEN");
}

#[test]
fn a_container_without_a_network_is_proven_too() {
    let outside = Outside::new();
    let container = outside.container("alone").network("none").create();
    assert!(container.try_start());
    seal(&container.name, &[]);
    let before = traces(&container);
    let proof = verify(&container, 0);
    assert_eq!(technique(&proof, "tcp4")["verdict"], "PROVEN");
    assert_same(&before, &traces(&container), "after verify");
}

#[test]
fn refuses_what_it_cannot_verify() {
    let outside = Outside::new();
    let container = outside.container("refused").run();
    let out = airgap(&["verify", &container.name]).expect_code(3);
    assert!(out.stderr.contains("is not sealed"), "{}", out.describe());
    seal(&container.name, &[]);
    let mut first = start(&container);
    let out = airgap(&["verify", &container.name]).expect_code(1);
    assert!(out.stderr.contains(DEVICE), "{}", out.describe());
    wait::until("the first ends", Duration::from_secs(30), || {
        (!first.is_running()).then_some(())
    });
    let proven = |line: &str| line.contains("\"PROVEN\"");
    first.await_line("the first is not disturbed", wait::SOON, proven);
    cmd::ok(&format!("docker stop -t 0 {}", container.id));
    let out = airgap(&["verify", &container.name]).expect_code(3);
    assert!(out.stderr.contains("does not run"), "{}", out.describe());
}

#[test]
fn leaves_nothing_when_killed() {
    let outside = Outside::new();
    let container = outside.container("killed").run();
    seal(&container.name, &[]);
    let before = traces(&container);
    for signal in [libc::SIGKILL, libc::SIGINT, libc::SIGTERM] {
        let mut run = start(&container);
        let pid = i32::try_from(run.pid()).expect("a process id");
        // SAFETY: takes no pointers; the child is ours and not yet reaped.
        unsafe { libc::kill(pid, signal) };
        wait::until("it ends", wait::SOON, || (!run.is_running()).then_some(()));
        // After SIGKILL the kernel takes the namespace down in its own time.
        // The entry of its guard is forgotten by the next run.
        let left = || {
            let mut traces = traces(&container);
            if signal == libc::SIGKILL {
                traces.retain(|trace| !trace.starts_with("guarded") || before.contains(trace));
            }
            traces
        };
        wait::within(wait::SOON, || (left() == before).then_some(()));
        assert_same(&before, &left(), &format!("after signal {signal}"));
    }
    let body = outside.get(container.ip4(), SERVICE_PORT, "/");
    body.expect("the service answers");
}

/// While the far end of its link is guarded, a run has an entry in the gate's map.
#[test]
fn a_guard_of_a_killed_run_is_forgotten() {
    let outside = Outside::new();
    let container = outside.container("guarded").run();
    seal(&container.name, &[]);
    let before = traces(&container);
    let guards = |traces: &BTreeSet<String>| {
        let guards = traces.iter().filter(|trace| trace.starts_with("guarded"));
        guards.count()
    };
    let mut run = Tail::start(&["verify", "--json", &container.name]);
    wait::until("the guard", Duration::from_secs(30), || {
        (guards(&traces(&container)) > guards(&before)).then_some(())
    });
    run.kill();
    let left = |trace: &&String| !trace.starts_with("guarded");
    let rest = || -> BTreeSet<String> { traces(&container).iter().filter(left).cloned().collect() };
    let expected: BTreeSet<String> = before.iter().filter(left).cloned().collect();
    wait::within(wait::SOON, || (rest() == expected).then_some(()));
    assert_same(&expected, &rest(), "after SIGKILL");
    assert_eq!(verify(&container, 0)["verdict"], "PROVEN");
    assert_same(&before, &traces(&container), "after the next run");
}

/// The container could send on the link that a run brings, too: from its first moment that
/// is refused, also while airgap's own controls pass there.
#[test]
fn its_link_is_guarded_from_the_first_moment() {
    let outside = Outside::new();
    let container = outside.container("early").run();
    seal(&container.name, &[]);
    let refused = || {
        let out = airgap(&["status", "--json", &container.name]);
        let status: Value = serde_json::from_str(&out.stdout).expect("JSON");
        status["denials"]["total"].as_u64().expect("a count")
    };
    let disturb = [
        "exec",
        "-d",
        &container.id,
        "airgap-probe",
        "disturb",
        "guess",
    ];
    cmd::run("docker", &disturb).expect_code(0);
    let before = refused();
    let mut run = Tail::start(&["verify", "--json", &container.name]);
    let is_up = format!("nsenter -t {} -n ip link show up {DEVICE}", container.pid());
    wait::until("the link is up", wait::SOON, || {
        cmd::attempt(&is_up).stdout.contains(DEVICE).then_some(())
    });
    let pid = i32::try_from(run.pid()).expect("a process id");
    let signal = |signal| {
        // SAFETY: takes no pointers; the child is ours and not yet reaped.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    };
    // Not while it holds the lock, which others wait for.
    wait::until("it is stopped", wait::SOON, || {
        signal(libc::SIGSTOP);
        let is_free = cmd::attempt("flock -n /run/airgap.lock true").code == 0;
        if !is_free {
            signal(libc::SIGCONT);
        }
        is_free.then_some(())
    });
    wait::until("its frames are refused", wait::SOON, || {
        (refused() > before).then_some(())
    });
    // Another airgap leaves the guard alone, though it sees no such interface.
    seal(&outside.container("other").run().name, &[]);
    let (at, more) = (refused(), 100);
    wait::until("more of them", wait::SOON, || {
        (refused() > at + more).then_some(())
    });
    signal(libc::SIGCONT);
    run.kill();
}

#[test]
fn a_container_that_stops_takes_the_run_along() {
    let outside = Outside::new();
    let container = outside.container("stopped").run();
    seal(&container.name, &[]);
    let mut run = start(&container);
    cmd::ok(&format!("docker stop -t 0 {}", container.id));
    wait::until("it ends", Duration::from_secs(30), || {
        (!run.is_running()).then_some(())
    });
    assert_eq!(run.lines(), [""; 0], "no verdict on what stopped");
    container.start();
    assert!(!has_device(&container));
    outside
        .get(container.ip4(), SERVICE_PORT, "/")
        .expect("the container can start again");
}

/// The answer to a container that feeds the witnesses is that it does so: no leak that is none,
/// and no proof. Neither memory nor the end of the run are the container's to choose.
#[test]
fn a_container_that_disturbs_the_proof_is_found_out() {
    let outside = Outside::new();
    let container = outside.container("noisy").run();
    seal(&container.name, &[]);
    let mut run = start(&container);
    wait::until("the quiet run ends", Duration::from_secs(60), || {
        (!run.is_running()).then_some(())
    });
    let proof: Value = serde_json::from_str(&run.lines().concat()).expect("JSON");
    assert_eq!(proof["verdict"], "PROVEN", "the control: {proof:#}");
    for kind in ["guess", "all", "groups"] {
        // Guards the veth that a restart brought.
        seal(&container.name, &[]);
        let disturb = ["exec", "-d", &container.id, "airgap-probe", "disturb", kind];
        cmd::run("docker", &disturb).expect_code(0);
        let mut run = Tail::start(&["verify", "--json", &container.name]);
        let mut most = 0;
        wait::until("the run ends", Duration::from_secs(120), || {
            most = most.max(peak(run.pid()).unwrap_or(0));
            (!run.is_running()).then_some(())
        });
        assert!(most > 0 && most < 64 << 10, "{kind}: {most} KiB");
        let proof: Value = serde_json::from_str(&run.lines().concat()).expect("JSON");
        assert_eq!(proof["verdict"], "UNKNOWN", "{kind}: {proof:#}");
        for tried in list(&proof, "techniques") {
            assert_eq!(tried["verdict"], "UNKNOWN", "{kind}: {tried}");
        }
        let detail = technique(&proof, "tcp4")["detail"].as_str().unwrap_or("");
        assert!(
            detail.contains("something in the container sends there"),
            "{kind}: {detail}"
        );
        // The end is heeded in the middle of it.
        let mut run = start(&container);
        let pid = i32::try_from(run.pid()).expect("a process id");
        // SAFETY: takes no pointers; the child is ours and not yet reaped.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        wait::until("it ends", Duration::from_secs(3), || {
            (!run.is_running()).then_some(())
        });
        assert!(!has_device(&container), "{kind}: left behind");
        container.restart();
        wait::until("it runs again", wait::SOON, || {
            outside.get(container.ip4(), SERVICE_PORT, "/").ok()
        });
    }
    // What it did before counts no more.
    seal(&container.name, &[]);
    assert_eq!(verify(&container, 0)["verdict"], "PROVEN");
}
