//! Promise: no unprotected instant, in many lives of a container in mixed order, under load.
//! `AIRGAP_TEST_LIVES=1000` for the whole bar; a few otherwise.

use airgap_tests::airgap::seal;
use airgap_tests::beacon;
use airgap_tests::{Container, Frame, Outside, SERVICE_PORT, airgap, airgap_ok, cmd, wait};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};

const ATTEMPTS: [&str; 8] = [
    "udp4",
    "udp6",
    "tcp4",
    "tcp6",
    "raw4-icmp",
    "raw6-icmp",
    "raw4-udp",
    "packet-raw",
];

fn lives() -> usize {
    let wanted = std::env::var("AIRGAP_TEST_LIVES").ok();
    wanted.map_or(16, |n| {
        n.parse().expect("AIRGAP_TEST_LIVES must be a number")
    })
}

/// A first-instruction sender, sealed before it ever starts.
fn sealed_beacon(outside: &Outside) -> Container {
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let line = [
        "airgap-probe",
        "beacon",
        "--v4",
        &v4,
        "--v6",
        &v6,
        "--port",
        "20000",
    ];
    let container = outside
        .container("soak")
        .options(&["--cap-drop", "NET_RAW", "--restart", "always"])
        .command(&line)
        .create();
    seal(&container.id, &[]);
    container.start();
    container
}

fn kill(container: &Container) {
    let pid = wait::until("it runs", wait::SOON, || container.try_pid());
    // SAFETY: kill takes no pointers; the pid is the container's init.
    unsafe { libc::kill(i32::try_from(pid).expect("a pid"), libc::SIGKILL) };
}

/// All that the `boot`-th boot tried was refused.
#[track_caller]
fn assert_refused(container: &Container, boot: usize) {
    let records = beacon::await_boot(boot, || container.logs());
    beacon::assert_each_refused(&records, &ATTEMPTS);
}

#[track_caller]
fn denials(container: &Container) -> u64 {
    let out = airgap(&["status", "--json", &container.id]);
    let json: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
    json["denials"]["total"].as_u64().expect("a counter")
}

fn from_service(frame: &Frame) -> bool {
    frame.ports().is_some_and(|(from, _)| from == SERVICE_PORT)
}

fn live(outside: &Outside) {
    let mut container = sealed_beacon(outside);
    let (mut boot, mut counted) = (1, 0);
    for life in 1..=lives() {
        assert_refused(&container, boot);
        let now = denials(&container);
        assert!(
            now > counted,
            "life {life}: the gate counted {counted}, then {now}"
        );
        let arrivals = outside.arrivals();
        assert!(
            arrivals.iter().all(from_service),
            "life {life}: {arrivals:?}"
        );
        outside.clear();
        (boot, counted) = (boot + 1, now);
        if life % 50 == 0 {
            eprintln!("{life} lives, 0 packets");
        }
        match life % 4 {
            0 => container.restart(),
            // Docker starts it again.
            1 => kill(&container),
            2 => {
                cmd::ok(&format!("docker kill {}", container.id));
                cmd::ok(&format!("docker start {}", container.id));
            }
            _ => {
                drop(container);
                container = sealed_beacon(outside);
                (boot, counted) = (1, 0);
            }
        }
    }
    assert_refused(&container, boot);
    airgap_ok(&["detach", &container.id]);
}

#[test]
fn lives_in_mixed_order_under_load_send_nothing() {
    let outside = Outside::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| live(&outside)));
        stop.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|e| std::panic::resume_unwind(e));
    });
}
