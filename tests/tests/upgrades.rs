//! Promise: no unprotected instant, not while one version of airgap replaces another, up or down.

use ::airgap::container::locate;
use ::airgap::gate::{Gate, Lock, Place, Sealing, cgroup_mount};
use ::airgap::policy::Rules;
use airgap_common::ABI_VERSION;
use airgap_tests::airgap::{STATE, binary, seal};
use airgap_tests::cmd;
use airgap_tests::kernel;
use airgap_tests::other::Other;
use airgap_tests::session::Session;
use airgap_tests::{Container, Outcome, Outside, SERVICE_PORT, airgap, airgap_ok, wait};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const PORT: u16 = 20_000;

/// The program that a link of the gate runs.
fn program(link: &str) -> String {
    let pin = format!("/sys/fs/bpf/airgap/v{ABI_VERSION}/links/{link}");
    let shown = cmd::ok(&format!("bpftool link show pinned {pin}"));
    let program = shown
        .split("prog ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    program
        .unwrap_or_else(|| panic!("no program in {shown}"))
        .to_owned()
}

/// Denied sends as fast as they go until told to stop; how many there were.
fn hammer(container: &Container, technique: &str, stop: &AtomicBool) -> u32 {
    let order = container.order(technique, PORT, "upgrade");
    let mut session = Session::new(container);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let report = session.attempt(&order);
        assert_eq!(
            (report.outcome, report.errno),
            (Outcome::Refused, kernel::refused()),
            "{report:?}"
        );
        count += 1;
    }
    count
}

#[test]
fn upgrades_and_downgrades_leak_and_lose_nothing() {
    let outside = Outside::new();
    let other = Other::new();
    let container = outside.container("upgraded").run();
    seal(&container.name, &[]);
    outside.clear();
    let (stop, served) = (AtomicBool::new(false), AtomicU32::new(0));
    let replaced = std::thread::scope(|scope| {
        let hammers = ["udp4", "tcp6"].map(|technique| {
            let (container, stop) = (&container, &stop);
            scope.spawn(move || hammer(container, technique, stop))
        });
        let client = scope.spawn(|| {
            let address = container.ip4();
            while !stop.load(Ordering::Relaxed) {
                let number = served.fetch_add(1, Ordering::Relaxed);
                let body = outside.get(address, SERVICE_PORT, "/upgrade");
                body.unwrap_or_else(|e| panic!("request {number}: {e:#}"));
            }
        });
        let mut replaced = 0;
        // Whatever fails in here must not leave the others running.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for turn in 0..10 {
                let before = ["egress", "connect4", "cgroup_mkdir"].map(program);
                let with = if turn % 2 == 0 {
                    other.0.clone()
                } else {
                    binary()
                };
                let mut command = Command::new(with);
                let command = command.env("AIRGAP_STATE", STATE).arg("restore");
                cmd::run_command(command).expect_code(0);
                let after = ["egress", "connect4", "cgroup_mkdir"].map(program);
                assert!(
                    before.iter().zip(&after).all(|(b, a)| b != a),
                    "turn {turn}: {after:?}"
                );
                replaced += 1;
            }
        }));
        stop.store(true, Ordering::Relaxed);
        for hammer in hammers {
            let tried = hammer
                .join()
                .unwrap_or_else(|e| std::panic::resume_unwind(e));
            assert!(tried > 50, "only {tried} sends were tried");
            eprintln!("{tried} sends refused");
        }
        client
            .join()
            .unwrap_or_else(|e| std::panic::resume_unwind(e));
        done.unwrap_or_else(|e| std::panic::resume_unwind(e));
        replaced
    });
    assert_eq!(outside.seen(), []);
    let served = served.load(Ordering::Relaxed);
    assert!(served > 50, "only {served} requests");
    eprintln!("{replaced} replacements, {served} requests answered");
    airgap_ok(&["detach", &container.name]);
}

/// A gate of another ABI, in its own directory beside the first; all goes with it.
struct Beside(Option<Gate>, u64);

impl Beside {
    /// Seals the container there, without any service port.
    fn seal(container: &Container) -> Self {
        let place = Place {
            pins: PathBuf::from("/sys/fs/bpf/airgap/beside"),
            cgroup: cgroup_mount().expect("cgroup v2"),
            max_cgroups: None,
            seals: 0,
        };
        let lock = Lock::take().expect("lock");
        let mut gate = Gate::arm(&place, &lock).expect("arm");
        let nothing = Rules {
            errno: None,
            audit: false,
            ports: vec![],
            clients: vec![],
            exits: vec![],
        };
        let sealing = Sealing {
            id: container.id.as_bytes().try_into().expect("64 digits"),
            name: "beside",
            policy: nothing.compile(),
            clients: &[],
            exits: &[],
            accepted: 0,
            since: 0,
        };
        let number = gate.seal_id(&sealing, &lock).expect("seal").number;
        let cgroup = locate(&place.cgroup, &container.id, container.pid()).expect("its cgroup");
        gate.seal_cgroup(number, &cgroup, &lock)
            .expect("seal its cgroup");
        Self(Some(gate), number)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let (Some(mut gate), Ok(lock)) = (self.0.take(), Lock::take()) {
            drop(gate.unseal(&[self.1], &lock));
            drop(gate.disarm_if_idle(&lock));
        }
    }
}

#[test]
fn two_layouts_side_by_side_deny_what_either_denies() {
    let outside = Outside::new();
    let container = outside.container("beside").run();
    let refused = || {
        for technique in ["udp4", "tcp6"] {
            let report = container.attempt(technique, PORT, "beside");
            assert_eq!(report.outcome, Outcome::Refused, "{report:?}");
        }
    };
    let serves = || outside.get(container.ip4(), SERVICE_PORT, "/").is_ok();
    seal(&container.name, &[]);
    assert!(serves());
    let beside = Beside::seal(&container);
    refused();
    assert!(!serves(), "the stricter of the two counts");
    drop(beside);
    refused();
    assert!(serves(), "only the first is left");

    // The new one takes over before the old one goes.
    let beside = Beside::seal(&container);
    airgap_ok(&["detach", &container.name]);
    refused();
    assert!(!Path::new(&format!("/sys/fs/bpf/airgap/v{ABI_VERSION}")).exists());
    drop(beside);
    assert!(!Path::new("/sys/fs/bpf/airgap/beside").exists());
    wait::until("it is open", wait::SOON, || {
        (container.attempt("udp4", PORT, "open").outcome == Outcome::Sent).then_some(())
    });
    assert_eq!(airgap(&["status", &container.name]).code, 3);
}
