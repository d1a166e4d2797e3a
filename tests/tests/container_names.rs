//! Promise: a name means what the engine calls so now. No command answers for another container,
//! and detach opens none.

use airgap_tests::airgap::{binary, command, seal};
use airgap_tests::cmd::Output;
use airgap_tests::{Container, Outcome, Outside, PREFIX, Tail, airgap, airgap_ok, cmd, wait};
use serde_json::Value;
use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

const PORT: u16 = 20_000;
/// Without an engine behind it.
const NO_ENGINE: [&str; 2] = ["--host", "unix:///run/airgap-test-no-engine.sock"];

#[track_caller]
fn rename(container: &Container, name: &str) {
    cmd::ok(&format!("docker rename {} {name}", container.id));
}

/// Sealed, as this host covers it.
#[track_caller]
fn answered(args: &[&str]) -> Output {
    let out = airgap(args);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    out
}

#[track_caller]
fn rows() -> Vec<Value> {
    let out = airgap(&["list", "--json"]);
    let json: Value = serde_json::from_str(&out.stdout).expect("JSON");
    json["containers"].as_array().cloned().expect("rows")
}

#[track_caller]
fn row(id: &str) -> Value {
    let rows = rows();
    let row = rows.iter().find(|row| row["container"]["id"] == id);
    row.unwrap_or_else(|| panic!("{id} is not listed: {rows:?}"))
        .clone()
}

/// Every command that takes a name, with a name whose seal is another container's.
#[track_caller]
fn assert_not_answered(name: &str, sealed: &str, open: &str) {
    for args in [
        vec!["status", name],
        vec!["status", "--json", name],
        vec!["report", name],
        vec!["report", "--json", name],
        vec!["verify", name],
        vec!["tail", name],
        vec!["tail", "--no-follow", name],
        vec!["detach", name],
    ] {
        let out = airgap(&args).expect_code(3);
        assert!(out.stdout.is_empty(), "{}", out.describe());
        for word in [name, &sealed[..12], &open[..12], "is not sealed"] {
            assert!(out.stderr.contains(word), "{word}: {}", out.describe());
        }
    }
    let list = airgap(&["list"]).expect_code(3);
    let told = format!("airgap attach {}", &open[..12]);
    assert!(list.stdout.contains(&told), "{}", list.describe());
}

#[test]
fn a_new_container_of_the_name_is_not_taken_for_the_removed_one() {
    let outside = Outside::new();
    let old = outside.container("again").run();
    seal(&old.name, &[]);
    answered(&["status", &old.name]);
    cmd::ok(&format!("docker rm -f {}", old.id));
    let new = outside.container("again").run();
    assert_not_answered(&new.name, &old.id, &new.id);
    assert_eq!(row(&old.id)["state"], "gone");
    // The control: by its id the old one is found, and the new one by its name once it is sealed.
    let status = airgap(&["status", &old.id]).expect_code(4);
    assert!(status.stdout.contains("GONE"), "{}", status.describe());
    seal(&new.name, &[]);
    let status = airgap(&["status", "--json", &new.name]);
    assert!(status.stdout.contains(&new.id), "{}", status.describe());
    airgap_ok(&["detach", &old.id]);
    assert_eq!(rows().len(), 1);
    airgap_ok(&["detach", &new.name]);
}

#[test]
fn a_new_container_of_the_name_is_not_taken_for_the_renamed_one() {
    let outside = Outside::new();
    let old = outside.container("moved").run();
    seal(&old.name, &[]);
    let (name, moved) = (old.name.clone(), format!("{}-old", old.name));
    rename(&old, &moved);
    let new = outside.container("moved").run();
    assert_not_answered(&name, &old.id, &new.id);
    // Nothing was lifted, and the renamed one is found by the name that it has.
    let attempt = old.attempt("udp4", PORT, "names");
    assert_eq!(attempt.outcome, Outcome::Refused, "{attempt:?}");
    let row = row(&old.id);
    assert_eq!(row["container"]["name"], moved.as_str());
    assert_eq!(row["recorded_name"], name.as_str());
    assert_eq!(row["not_sealed"], new.id.as_str());
    airgap_ok(&["detach", &moved]);
    let attempt = old.attempt("udp4", PORT, "names");
    assert_eq!(attempt.outcome, Outcome::Sent, "{attempt:?}");
}

#[test]
fn a_renamed_container_is_found_and_shown_by_its_new_name() {
    let outside = Outside::new();
    let container = outside.container("first").run();
    seal(&container.name, &[]);
    let (old, new) = (container.name.clone(), format!("{}-2", container.name));
    let tail = Tail::json(&[&old]);
    tail.await_start();
    rename(&container, &new);
    for args in [
        vec!["status", &new],
        vec!["status", &container.id[..12]],
        vec!["report", &new],
        vec!["list"],
        vec!["verify", &new],
    ] {
        let out = answered(&args);
        assert!(out.stdout.contains(&new), "{}", out.describe());
    }
    // Also by a tail that began before.
    wait::until("tail tells the new name", wait::SOON, || {
        container.attempt("udp4", PORT, "names");
        let told = |event: &Value| event["container"]["name"] == new.as_str();
        tail.events().iter().any(told).then_some(())
    });
    let out = airgap(&["tail", "--json", "--no-follow", &new]).expect_code(0);
    assert!(out.stdout.contains(&new), "{}", out.describe());
    // Not by the old one, which the seal is recorded under.
    for args in [
        vec!["status", &old],
        vec!["report", &old],
        vec!["verify", &old],
        vec!["tail", &old],
        vec!["detach", &old],
    ] {
        let out = airgap(&args).expect_code(3);
        assert!(out.stderr.contains(&new), "{}", out.describe());
    }
    // Without an engine names are as recorded, and that is said.
    let out = answered(&[&NO_ENGINE[..], &["status", &old]].concat());
    assert!(
        out.stderr.contains("names are as recorded"),
        "{}",
        out.describe()
    );
    airgap(&[&NO_ENGINE[..], &["status", &new]].concat()).expect_code(3);
    let lifted = airgap_ok(&["detach", &new]);
    assert!(lifted.stdout.contains(&new), "{}", lifted.describe());
}

#[test]
fn a_removed_container_is_told_to_be_gone() {
    let outside = Outside::new();
    let container = outside.container("removed").run();
    seal(&container.name, &[]);
    cmd::ok(&format!("docker rm -f {}", container.id));
    // Nothing is there that could be open.
    let list = airgap(&["list"]).expect_code(0);
    assert!(list.stdout.contains("  gone  "), "{}", list.describe());
    let row = row(&container.id);
    assert_eq!(
        (&row["state"], &row["gone"]),
        (&"gone".into(), &true.into())
    );
    let status = airgap(&["status", &container.name]).expect_code(4);
    assert!(status.stdout.contains("GONE"), "{}", status.describe());
    // As status does.
    let report = airgap(&["report", "--json", &container.name]).expect_code(4);
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    assert_eq!(report["status"]["state"], "gone");
    let verify = airgap(&["verify", &container.name]).expect_code(3);
    for out in [&status, &verify] {
        assert!(out.stderr.contains("is gone"), "{}", out.describe());
    }
    // A second one that was recorded so: then neither, but by the id.
    let second = outside.container("removed").run();
    seal(&second.id, &[]);
    cmd::ok(&format!("docker rm -f {}", second.id));
    let refused = airgap(&["detach", &container.name]).expect_code(1);
    assert!(
        refused.stderr.contains(&second.id),
        "{}",
        refused.describe()
    );
    airgap_ok(&["detach", &second.id]);
    airgap_ok(&["detach", &container.name]);
    assert!(rows().is_empty());
}

/// The beginning of two ids stands for neither, though only one of them is sealed.
#[test]
fn the_beginning_of_two_ids_is_refused() {
    let outside = Outside::new();
    let mut all: Vec<Container> = Vec::new();
    // Seventeen ids begin with at most sixteen digits.
    let (one, other) = loop {
        let new = outside.container(&format!("p{}", all.len())).create();
        let twin = all.iter().position(|old| old.id[..1] == new.id[..1]);
        if let Some(twin) = twin {
            break (all.swap_remove(twin), new);
        }
        all.push(new);
    };
    seal(&one.id, &[]);
    let common = one.id.bytes().zip(other.id.bytes());
    let common = common.take_while(|(a, b)| a == b).count();
    let prefix = &one.id[..common];
    for args in [
        vec!["status", prefix],
        vec!["detach", prefix],
        vec!["tail", prefix],
    ] {
        let out = command().args(&args).output().expect("airgap");
        assert_eq!(out.status.code(), Some(1), "{args:?}: {out:?}");
    }
    let longer = &one.id[..=common];
    answered(&["status", longer]);
    airgap_ok(&["detach", longer]);
}

/// What a shell offers at a key: of this host, by engines that run, and nothing where one is slow.
#[test]
fn a_shell_is_offered_names_and_never_waits() {
    let outside = Outside::new();
    let [web, db] = ["web", "db"].map(|name| outside.container(name).create());
    seal(&web.id, &[]);
    let offered = |words: &[&str]| {
        let out = airgap(&[&["__complete", "--"], words].concat()).expect_code(0);
        assert_eq!(out.stderr, "");
        out.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = offered(&["attach", "-d", PREFIX]);
    assert!(all.contains(&web.name) && all.contains(&db.name), "{all:?}");
    assert_eq!(offered(&["detach", PREFIX]), [web.name.as_str()]);
    assert_eq!(offered(&["attach", "--accept", "root"]), ["root-user"]);
    // It listens, and never answers.
    let path = std::env::temp_dir().join(format!("{PREFIX}deaf-{}", std::process::id()));
    let _deaf = UnixListener::bind(&path).expect("bind");
    let mut line = Command::new(binary());
    line.args(["__complete", "--", "attach", ""]);
    line.env("DOCKER_HOST", format!("unix://{}", path.display()));
    line.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut asked = line.spawn().expect("airgap starts");
    wait::until("it ends by itself", wait::SOON, || {
        asked.try_wait().expect("wait")
    });
    let out = asked.wait_with_output().expect("output");
    assert!(out.status.success() && out.stdout.is_empty(), "{out:?}");
    drop(fs::remove_file(&path));
    airgap_ok(&["detach", &web.id]);
}
