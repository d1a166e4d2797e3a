//! Promise: no unprotected instant, not over a reboot. What is recorded comes back; what cannot be
//! read comes back denied; what is not in force is never called sealed.

use airgap_common::ABI_VERSION;
use airgap_tests::airgap::{STATE, seal};
use airgap_tests::kernel::assert_same;
use airgap_tests::{
    Container, Outcome, Outside, SERVICE_PORT, airgap, airgap_ok, cmd, kernel_state, wait,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const PORT: u16 = 20_000;
const PINS: &str = "/sys/fs/bpf/airgap";

/// All that a reboot takes from the kernel's side; containers and records stay.
fn lose_the_kernel_side() {
    cmd::ok(&format!("rm -r {PINS}/v{ABI_VERSION}"));
}

fn record(container: &Container) -> PathBuf {
    Path::new(STATE).join(format!("seals/{}.json", container.id))
}

#[track_caller]
fn assert_outcome(container: &Container, outcome: Outcome) {
    for technique in ["udp4", "tcp6"] {
        let attempt = container.attempt(technique, PORT, "restore");
        assert_eq!(attempt.outcome, outcome, "{attempt:?}");
    }
}

/// The kernel lets go of programs a moment after their last pin.
fn await_open(container: &Container) {
    wait::until("the seal is gone", wait::SOON, || {
        let attempt = container.attempt("udp4", PORT, "open");
        (attempt.outcome == Outcome::Sent).then_some(())
    });
}

#[track_caller]
fn status(container: &Container) -> (i32, Value) {
    let out = airgap(&["status", "--json", &container.name]);
    let json = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
    (out.code, json)
}

/// Nothing can leave now, and what a reboot would do is told.
#[track_caller]
fn reboot_is_a_limit(container: &Container, why: &str) {
    let (code, json) = status(container);
    assert_eq!((code, &json["state"]), (0, &Value::from("limited")));
    let mut rows = json["coverage"].as_array().expect("rows").iter();
    let row = rows.find(|row| row["vector"] == "host reboot");
    let row = row.unwrap_or_else(|| panic!("no row: {json:#}"));
    assert_eq!(
        (&row["covered"], &row["when"]),
        (&false.into(), &"later".into())
    );
    assert!(
        row["by"].as_str().is_some_and(|by| by.contains(why)),
        "{row}"
    );
}

#[test]
fn restore_puts_in_force_what_a_reboot_took() {
    let outside = Outside::new();
    let before = kernel_state();
    let running = outside.container("running").run();
    let created = outside.container("created").create();
    let options = ["-p", "5060", "-p", "80", "--from", "198.51.100.0/24"];
    seal(&running.name, &options);
    seal(&created.name, &[]);
    let (_, sealed) = status(&running);
    lose_the_kernel_side();
    await_open(&running);

    let (code, lost) = status(&running);
    assert_eq!((code, &lost["state"]), (3, &Value::from("not-sealed")));
    let list = airgap(&["list"]).expect_code(3);
    let told = list.stdout.matches("NOT SEALED").count();
    assert_eq!(told, 2, "{}", list.describe());

    let out = airgap_ok(&["restore"]);
    assert_eq!(
        out.stdout.matches("sealed again").count(),
        2,
        "{}",
        out.describe()
    );
    assert_outcome(&running, Outcome::Refused);
    let (_, again) = status(&running);
    for field in ["ports", "clients", "since", "state", "accepted"] {
        assert_eq!(again[field], sealed[field], "{field}");
    }
    created.start();
    assert_outcome(&created, Outcome::Refused);
    outside
        .get(running.ip4(), SERVICE_PORT, "/")
        .expect("the restored service answers");

    // The veth of the one that started in between gets its frame programs.
    airgap_ok(&["restore"]);
    let once = kernel_state();
    let out = airgap_ok(&["restore"]);
    assert_eq!(
        out.stdout.matches("in force").count(),
        2,
        "{}",
        out.describe()
    );
    assert_same(&once, &kernel_state(), "after a second restore");
    airgap_ok(&["detach", &running.name, &created.name]);
    assert!(!record(&running).exists() && !record(&created).exists());
    drop((running, created));
    let settled = wait::within(wait::SOON, || Some(kernel_state()).filter(|s| *s == before));
    assert_same(
        &before,
        &settled.unwrap_or_else(kernel_state),
        "after detach",
    );
    airgap_ok(&["restore"]);
}

#[test]
fn a_record_that_cannot_be_read_is_restored_denied() {
    let outside = Outside::new();
    let container = outside.container("corrupt").run();
    seal(&container.name, &[]);
    let whole = fs::read_to_string(record(&container)).expect("the record");
    for bad in [
        "",
        "{\"version\":1",
        &whole.replace("\"version\":1", "\"version\":9"),
    ] {
        fs::write(record(&container), bad).expect("damage the record");
        reboot_is_a_limit(&container, "cannot be read");
        lose_the_kernel_side();
        await_open(&container);
        let list = airgap(&["list"]).expect_code(3);
        assert!(
            list.stdout.contains(&container.id[..12]),
            "{}",
            list.describe()
        );
        let out = airgap(&["restore"]).expect_code(1);
        assert!(
            out.stderr.contains("without any service port"),
            "{}",
            out.describe()
        );
        assert_outcome(&container, Outcome::Refused);
        let closed = outside.get(container.ip4(), SERVICE_PORT, "/");
        assert!(closed.is_err(), "the service answers: {bad}");
        seal(&container.name, &["-p", "5060"]);
        outside
            .get(container.ip4(), SERVICE_PORT, "/")
            .expect("attach records it again");
        assert_eq!(
            fs::read_to_string(record(&container)).expect("read").len(),
            whole.len()
        );
    }
}

/// Where no engine starts after a failed restore, nobody could attach again.
#[test]
fn what_cannot_be_read_can_be_recorded_without_the_engine() {
    let outside = Outside::new();
    let container = outside.container("closed").run();
    seal(&container.name, &[]);
    fs::write(record(&container), "{").expect("damage the record");
    let close = ["restore", "--close-unreadable"];
    // While the seal stands it is recorded as it is, its port too.
    airgap(&["restore"]).expect_code(1);
    airgap_ok(&close);
    airgap_ok(&["restore"]);
    outside
        .get(container.ip4(), SERVICE_PORT, "/")
        .expect("the service answers");

    fs::write(record(&container), "{").expect("damage the record");
    lose_the_kernel_side();
    await_open(&container);
    airgap_ok(&close);
    let out = airgap_ok(&["restore"]);
    assert!(out.stdout.contains("in force"), "{}", out.describe());
    assert_outcome(&container, Outcome::Refused);
    let closed = outside.get(container.ip4(), SERVICE_PORT, "/");
    assert!(closed.is_err(), "the service answers");
    let (code, json) = status(&container);
    assert_eq!((code, &json["state"]), (0, &Value::from("limited")));
    assert_eq!(
        json["ports"],
        serde_json::json!([]),
        "known by its id alone"
    );
    seal(&container.name, &["-p", "5060"]);
    outside
        .get(container.ip4(), SERVICE_PORT, "/")
        .expect("attach opens the port again");
}

/// A file system of its own over the tests' state; gone with it.
struct Disk;

impl Disk {
    fn mount(options: &str) -> Self {
        fs::create_dir_all(STATE).expect("mkdir");
        cmd::ok(&format!(
            "mount -t tmpfs -o mode=700,{options} airgap-test {STATE}"
        ));
        Self
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        cmd::attempt(&format!("umount {STATE}"));
    }
}

#[test]
fn what_cannot_be_recorded_is_not_sealed() {
    let outside = Outside::new();
    let container = outside.container("unrecorded").run();
    let before = kernel_state();
    // One inode is the root's; a file system of one page is full with one file.
    for options in ["ro", "nr_inodes=1", "size=4k"] {
        let disk = Disk::mount(options);
        if options == "size=4k" {
            fs::write(format!("{STATE}/big"), [0; 4096]).expect("fill it");
        }
        let out = airgap(&["attach", "-d", &container.name]).expect_code(1);
        assert!(
            out.stderr.contains("nothing was changed"),
            "{}",
            out.describe()
        );
        assert_same(&before, &kernel_state(), options);
        assert_outcome(&container, Outcome::Sent);
        drop(disk);
    }
    // A renewal that cannot be recorded leaves the seal as it was.
    seal(&container.name, &[]);
    let seals = format!("{STATE}/seals");
    cmd::ok(&format!("mount --bind {seals} {seals}"));
    cmd::ok(&format!("mount -o remount,bind,ro {seals}"));
    let out = airgap(&["attach", "-d", "-p", "80", &container.name]);
    let detach = airgap(&["detach", &container.name]);
    cmd::ok(&format!("umount {seals}"));
    assert_eq!(out.code, 1, "{}", out.describe());
    assert_eq!(detach.code, 1, "{}", detach.describe());
    // Lifted, and what is left of it is told.
    assert_eq!(status(&container).0, 3);
    airgap_ok(&["detach", &container.name]);
    assert!(!record(&container).exists());
}

#[test]
fn a_seal_without_its_record_is_told() {
    let outside = Outside::new();
    let container = outside.container("forgotten").run();
    let sealed = seal(&container.name, &[]);
    fs::remove_file(record(&container)).expect("remove the record");
    reboot_is_a_limit(&container, "not recorded");
    assert_eq!(seal(&container.name, &[]).code, sealed.code);
    assert!(record(&container).exists());
}

#[test]
fn a_new_container_of_a_recorded_name_is_not_sealed() {
    let outside = Outside::new();
    let old = outside.container("name").create();
    seal(&old.id, &[]);
    let name = old.name.clone();
    cmd::ok(&format!("docker rename {} {name}-old", old.id));
    let new = outside.container("name").create();
    for recorded_only in [false, true] {
        if recorded_only {
            lose_the_kernel_side();
        }
        let list = airgap(&["list"]).expect_code(3);
        let told = format!("airgap attach {}", &new.id[..12]);
        assert!(list.stdout.contains(&told), "{}", list.describe());
    }
    cmd::ok(&format!("docker rm -f {}", old.id));
    airgap_ok(&["restore"]);
    seal(&new.id, &[]);
    let list = airgap(&["list", "--json"]);
    let rows: Value = serde_json::from_str(&list.stdout).expect("JSON");
    let rows = rows["containers"].as_array().expect("rows");
    for (id, gone) in [(&old.id, true), (&new.id, false)] {
        let row = rows.iter().find(|row| row["container"]["id"] == **id);
        assert_eq!(row.map(|r| r["gone"] == gone), Some(true), "{rows:?}");
    }
    airgap_ok(&["detach", &old.id, &new.id]);
}

#[test]
fn a_damaged_gate_is_told_and_built_anew_without_a_gap() {
    let outside = Outside::new();
    let container = outside.container("damaged").run();
    let before = kernel_state();
    for pin in [
        "maps/IDS",
        "maps/GATE",
        "maps/HINTS",
        "links/egress",
        "links/cgroup_mkdir",
    ] {
        seal(&container.name, &[]);
        fs::remove_file(format!("{PINS}/v{ABI_VERSION}/{pin}"))
            .unwrap_or_else(|e| panic!("{pin}: {e}"));
        for command in [vec!["list"], vec!["status", &container.name]] {
            let out = airgap(&command);
            assert_eq!(out.code, 3, "{pin}\n{}", out.describe());
        }
        assert_outcome(&container, Outcome::Refused);
        outside.clear();
        airgap_ok(&["restore"]);
        assert_outcome(&container, Outcome::Refused);
        assert_eq!(outside.seen(), [], "{pin}");
        assert!(
            !Path::new(&format!("{PINS}/v{ABI_VERSION}-aside-1")).exists(),
            "{pin}"
        );
        assert!(matches!(status(&container).0, 0 | 4), "{pin}");
        outside
            .get(container.ip4(), SERVICE_PORT, "/")
            .expect("the service answers");
        airgap_ok(&["detach", &container.name]);
        assert_outcome(&container, Outcome::Sent);
        let settled = wait::within(wait::SOON, || Some(kernel_state()).filter(|s| *s == before));
        assert_same(&before, &settled.unwrap_or_else(kernel_state), pin);
    }
}

#[test]
fn an_unmounted_bpffs_is_told() {
    let outside = Outside::new();
    let container = outside.container("unmounted").run();
    seal(&container.name, &[]);
    // The pins of everybody else must stay: another bpffs over them looks the same.
    cmd::ok("mount -t bpf airgap-test /sys/fs/bpf");
    let (list, doctor) = (airgap(&["list"]), airgap(&["doctor"]));
    cmd::ok("umount /sys/fs/bpf");
    assert_eq!(list.code, 3, "{}", list.describe());
    assert!(list.stdout.contains("NOT SEALED"), "{}", list.describe());
    assert_eq!(doctor.code, 3, "{}", doctor.describe());
    assert!(matches!(status(&container).0, 0 | 4));
}
