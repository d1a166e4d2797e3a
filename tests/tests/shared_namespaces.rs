//! Promise: who shares a namespace with a sealed container is seen, whoever joined whom: what is
//! handed over there leaves, and no hook on packets sees it.

use airgap_tests::airgap::{hooks_refuse, seal};
use airgap_tests::{Container, Outside, airgap, wait};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

fn status(container: &Container) -> (i32, Value) {
    let out = airgap(&["status", "--json", &container.id]);
    let json = serde_json::from_str(&out.stdout);
    (
        out.code,
        json.unwrap_or_else(|e| panic!("{e}: {}", out.describe())),
    )
}

fn row(report: &Value, vector: &str) -> Value {
    let rows = report["coverage"].as_array().expect("coverage").iter();
    let mut rows = rows.filter(|row| {
        row["vector"]
            .as_str()
            .is_some_and(|v| v.starts_with(vector))
    });
    rows.next()
        .unwrap_or_else(|| panic!("no {vector}: {report:#}"))
        .clone()
}

/// The sealed container could trace them and open what they have.
#[test]
fn others_in_its_pid_namespace_are_refused_by_name() {
    let outside = Outside::new();
    let container = outside.container("seen").run();
    // The control: without anybody it is sealed.
    seal(&container.name, &[]);
    let (_, alone) = status(&container);
    assert_eq!(row(&alone, "configuration")["covered"], true, "{alone:#}");
    airgap(&["detach", &container.id]).expect_code(0);

    let pid = format!("container:{}", container.id);
    let joined = outside.container("joined").options(&["--pid", &pid]).run();
    let refused = airgap(&["attach", "-d", &container.id]).expect_code(1);
    assert!(
        refused.stderr.contains("is in its pid namespace"),
        "{}",
        refused.describe()
    );
    assert!(
        refused.stderr.contains("(host-pid)"),
        "{}",
        refused.describe()
    );
    seal(&container.name, &["--accept", "host-pid"]);
    airgap(&["detach", &container.id]).expect_code(0);
    drop(joined);

    // One that comes later shows in the state.
    seal(&container.name, &[]);
    let _later = outside.container("later").options(&["--pid", &pid]).run();
    let (code, report) = status(&container);
    assert_eq!(
        (code, &report["state"]),
        (4, &Value::from("opened")),
        "{report:#}"
    );
    let found = row(&report, "configuration")["by"].to_string();
    assert!(found.contains("is in its pid namespace"), "{found}");
}

/// Runtimes put what they start into the namespaces first, and into the cgroup then.
#[test]
fn what_the_engine_starts_inside_is_nobody_else() {
    let outside = Outside::new();
    let container = outside.container("checked").run();
    let (stop, started) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                container.exec(&["airgap-probe", "list"]);
                started.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 0..8 {
            let before = started.load(Ordering::Relaxed);
            let out = airgap(&["attach", "-d", &container.id]);
            let state = airgap(&["detach", &container.id]);
            if !matches!(out.code, 0 | 4) || state.code != 0 {
                stop.store(true, Ordering::Relaxed);
                panic!("round {round}: {}", out.describe());
            }
            let more = || (started.load(Ordering::Relaxed) > before).then_some(());
            if wait::within(wait::SOON, more).is_none() {
                stop.store(true, Ordering::Relaxed);
                panic!("the control: nothing is started");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// A tmpfs at /dev/shm goes with it: a place for unix sockets.
#[test]
fn others_in_its_ipc_namespace_are_a_place_to_meet() {
    const VECTOR: &str = "unix sockets of others";
    let outside = Outside::new();
    let shareable = outside
        .container("shm")
        .options(&["--ipc", "shareable"])
        .run();
    seal(&shareable.name, &[]);
    let (_, alone) = status(&shareable);
    assert_eq!(
        row(&alone, VECTOR)["covered"],
        true,
        "the control: {alone:#}"
    );

    let ipc = format!("container:{}", shareable.id);
    let joined = outside.container("meets").options(&["--ipc", &ipc]).run();
    for container in [&shareable, &joined] {
        seal(&container.name, &[]);
        let (code, report) = status(container);
        let found = row(&report, VECTOR);
        // A restart ends what may be older than the hooks.
        assert_eq!(found["covered"], false, "{found:#}");
        assert!(found["by"].to_string().contains("/dev/shm"), "{found:#}");
        assert_eq!(code, 4, "{report:#}");
    }
    let host = outside
        .container("host-shm")
        .options(&["--ipc", "host"])
        .create();
    seal(&host.name, &[]);
    host.start();
    let (_, report) = wait::until("it is looked at", wait::SOON, || Some(status(&host)));
    let found = row(&report, VECTOR);
    // Born under the hooks, where they refuse.
    assert_eq!(found["covered"] == true, hooks_refuse(), "{found:#}");
    assert_eq!(
        row(&report, "unix sockets that others connect to")["covered"],
        false
    );
}

/// The first thread of a process of Go's stays for ever where it once made a network: Podman's
/// service was taken for a neighbour of the container that it had started.
#[test]
fn an_engine_whose_first_thread_was_left_behind_is_no_neighbour() {
    let outside = Outside::new();
    let container = outside.container("visited").run();
    let dir = format!("/run/airgap-test-visit-{}", std::process::id());
    std::fs::create_dir_all(&dir).expect("mkdir");
    let visit = |name: &str, check: &dyn Fn()| {
        let visitor = Visitor::start(container.pid(), &format!("{dir}/{name}"));
        check();
        drop(visitor);
    };
    // The control: anybody else is seen.
    visit("relay", &|| {
        let refused = airgap(&["attach", "-d", &container.id]).expect_code(1);
        let told = refused.stderr.contains("'relay' of the cgroup");
        assert!(
            told && refused.stderr.contains("(shared-network)"),
            "{}",
            refused.describe()
        );
    });
    visit("podman", &|| {
        seal(&container.name, &[]);
        let (_, report) = status(&container);
        assert_eq!(row(&report, "configuration")["covered"], true, "{report:#}");
    });
    std::fs::remove_dir_all(&dir).expect("remove it");
}

/// Killed on drop.
struct Visitor(Child);

impl Visitor {
    fn start(pid: u32, path: &str) -> Self {
        let probe = std::env::var_os("AIRGAP_PROBE").expect("AIRGAP_PROBE");
        std::fs::copy(probe, path).expect("copy the probe");
        let mut child = Command::new(path)
            .args(["visit", &pid.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("start it");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "there\n");
        Self(child)
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
