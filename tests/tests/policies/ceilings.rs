//! Promise: what a ceiling does not hold cannot be asked for, by nobody and by no way, and
//! what was asked for before is named, and not renewed.

use std::path::PathBuf;

use super::*;

/// Refused with exit 2, by the ceiling, on that line; nothing changes.
#[track_caller]
fn refused(world: &World, args: &[&str], line: &str) {
    let before = kernel_state();
    let out = airgap(&[&["--config", &world.config], args].concat()).expect_code(2);
    for word in ["ceiling.toml", line] {
        assert!(out.stderr.contains(word), "{args:?}: {}", out.describe());
    }
    assert_eq!(before, kernel_state(), "{args:?}");
}

/// A cgroup of the test's own, without a process.
struct Group(PathBuf);

impl Group {
    const NAME: &str = "airgap-test-ceiling";

    fn new() -> Self {
        let root = ::airgap::gate::cgroup_mount().expect("cgroup v2");
        let path = root.join(Self::NAME);
        fs::create_dir(&path).expect("mkdir");
        Self(path)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

fn exits(report: &Value) -> Vec<String> {
    let list = report["exits"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|exit| exit["to"].as_str().expect("a target").to_owned())
        .collect()
}

#[test]
fn options_ask_for_no_more_than_the_ceiling_holds() {
    let world = World::new();
    let (a, b) = (world.to(0), world.to(1));
    let web = world.outside.container("web").run();
    let name = &web.name;
    let out = world.outside.plan.outside4;
    let to = format!("to = [\"{out}/32:{PORT}\"]\nports = [\"8080\", \"5060\"]\n");
    world.files.write("ceiling.toml", &to);
    refused(&world, &["attach", "-d", "--to", &b, name], "line 1: to");
    refused(&world, &["attach", "-d", "-p", "80", name], "line 2: ports");
    let risk = ["attach", "-d", "--accept", "log-driver", name];
    refused(&world, &risk, "has no accept");
    refused(&world, &["exec", "--to", &b, "--", "true"], "line 1: to");
    refused(
        &world,
        &["run", "--to", &b, "--", "no-such-image"],
        "line 1: to",
    );
    let _group = Group::new();
    let path = format!("/{}", Group::NAME);
    let unit = ["attach", "-d", "--cgroup", &path, "--to", &b];
    refused(&world, &unit, "line 1: to");
    let unit = format!("cgroup:{path}");
    airgap(&["--config", &world.config, "attach", "-d", "--cgroup", &path]);
    refused(&world, &["allow", &unit, "--to", &b], "line 1: to");
    let within = ["--config", &world.config, "allow", &unit, "--to", &a];
    let out = airgap(&within);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    airgap_ok(&["detach", &unit]);
    airgap(&["status", &web.id]).expect_code(3);
    // The control: what it holds is given.
    seal(name, &["--config", &world.config, "--to", &a]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {a}"));
    refused(
        &world,
        &["allow", name, "--to", &b, "--for", "15m"],
        "line 1: to",
    );
    reach.is_refused(&format!("tcp b {b}"));
    // And without it nothing is too much.
    fs::remove_file(world.files.path("ceiling.toml")).expect("remove");
    airgap(&["--config", &world.config, "allow", name, "--to", &b]);
    reach.does(&format!("tcp b {b}"));
    airgap_ok(&["detach", name]);
}

#[test]
fn labels_and_policy_files_ask_for_no_more_either() {
    let world = World::new();
    let (a, b) = (world.to(0), world.to(1));
    // Where the ceiling holds a place, and not the risk that it has, nothing leads there.
    let near = format!("{}:443", world.outside.plan.gateway4);
    world
        .files
        .write("ceiling.toml", &format!("to = [\"{a}\", \"{near}\"]\n"));
    let args = ["--config", &world.config, "--allow-accept", "host-exit"];
    let watch = Watch::start(&args);
    let asks = format!("airgap.to={a},{b},{near}");
    let label = world.outside.container("label");
    let label = label
        .options(&["--label", "airgap.seal=true", "--label", &asks])
        .options(&["--label", "airgap.accept=host-exit"])
        .run();
    await_ports(&label, &json!(["5060/tcp"]));
    let report = airgap(&["--config", &world.config, "status", "--json", &label.id]);
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    assert_eq!(exits(&report), [format!("{a}/tcp")]);
    let ignored = report["labels_ignored"].to_string();
    assert!(
        [&b, &near].iter().all(|to| ignored.contains(*to)) && ignored.contains("ceiling"),
        "{ignored}"
    );
    let mut reach = Reach::new(&label);
    reach.does(&format!("tcp a {a}"));
    reach.is_refused(&format!("tcp b {b}"));
    drop(watch);
    // A file, whether it is checked, put in force, or followed by attach.
    let web = world.outside.container("web").run();
    let name = &web.name;
    let text = |to: &str| format!("[[seal]]\ncontainer = \"{name}\"\nto = [\"{to}\"]\n");
    let path = world.write(&text(&b));
    for args in [
        &["apply", "--check"][..],
        &["apply", "--diff"],
        &["apply"],
        &["attach", "-d", name],
    ] {
        refused(&world, args, "line 1: to");
        let out = airgap(&[&["--config", &world.config], args].concat());
        assert!(out.stderr.contains(&path), "{args:?}: {}", out.describe());
    }
    airgap(&["status", &web.id]).expect_code(3);
    // The control.
    world.write(&text(&a));
    world.apply(&["--check"]).expect_code(0);
    world.apply(&[]);
    assert_eq!(exits(&status(&web)), [format!("{a}/tcp")]);
    // What an operator allowed before there was a ceiling stands beside the file no more.
    airgap(&["allow", name, "--to", &b]);
    assert_eq!(exits(&status(&web)).len(), 2);
    let out = world.apply(&[]);
    assert!(out.stderr.contains("not renewed"), "{}", out.describe());
    assert_eq!(exits(&status(&web)), [format!("{a}/tcp")]);
    airgap_ok(&["detach", "--all"]);
}

#[test]
fn what_was_asked_for_before_is_named_and_not_renewed() {
    let world = World::new();
    let (a, b) = (world.to(0), world.to(1));
    let web = world.outside.container("web").run();
    let name = &web.name;
    let args = |args: &[&str]| airgap(&[&["--config", &world.config], args].concat());
    seal(name, &["--to", &a, "--to", &b, "--accept", "log-driver"]);
    let mut reach = Reach::new(&web);
    // The control: nothing is above what is not there.
    let out = args(&["status", name]);
    assert!(!out.stdout.contains("ceiling"), "{}", out.describe());
    world
        .files
        .write("ceiling.toml", &format!("to = [\"{a}\"]\n"));
    let before = airgap(&["status", name]).code;
    for command in [&["status", name][..], &["list"], &["doctor"]] {
        let out = args(command);
        assert!(
            out.stdout.contains(&format!("to {b}/tcp")) && out.stdout.contains("ceiling.toml"),
            "{command:?}: {}",
            out.describe()
        );
        assert!(
            !out.stdout.contains(&format!("to {a}/tcp (")),
            "{}",
            out.describe()
        );
    }
    // It is no other state: told in words, and it still is in force.
    assert_eq!(args(&["status", name]).code, before);
    reach.does(&format!("tcp b {b}"));
    let out = args(&["--host", "unix:///var/run/docker.sock", "config"]).expect_code(0);
    assert!(out.stdout.contains("ceiling.to"), "{}", out.describe());
    // The next attach does not renew it, and says so.
    let out = seal(name, &["--config", &world.config]);
    assert!(out.stderr.contains("not renewed"), "{}", out.describe());
    let report = status(&web);
    assert_eq!(exits(&report), [format!("{a}/tcp")]);
    assert_eq!(report["accepted"], json!([]));
    reach.does(&format!("tcp a {a}"));
    reach.is_refused(&format!("tcp b {b}"));
    let out = args(&["status", name]);
    assert!(!out.stdout.contains("ceiling"), "{}", out.describe());
    airgap_ok(&["detach", name]);
}

#[test]
fn a_ceiling_that_cannot_be_followed_gives_nothing_and_takes_nothing() {
    let world = World::new();
    let a = world.to(0);
    let web = world.outside.container("web").run();
    let other = world.outside.container("other").run();
    seal(&web.name, &["--to", &a]);
    let path = world
        .files
        .write("ceiling.toml", &format!("to = [\"{a}\"]\n"));
    let open = || {
        let mode = fs::Permissions::from_mode(0o666);
        fs::set_permissions(&path, mode).expect("chmod");
    };
    for (text, word) in [
        (format!("to = [\"{a}\"]\n"), "others than root"),
        ("to = [".to_owned(), "line 1"),
        ("too = []".to_owned(), "unknown field"),
    ] {
        world.files.write("ceiling.toml", &text);
        match word {
            "others than root" => open(),
            _ => fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod"),
        }
        let attach = ["attach", "-d", "--to", &a, &other.name];
        refused(&world, &attach, word);
        refused(&world, &["allow", &web.name, "--to", &a], word);
        // Nor is what stands taken back by a typing error.
        refused(&world, &["attach", "-d", &web.name], word);
        let doctor = airgap(&["--config", &world.config, "doctor"]).expect_code(1);
        assert!(doctor.stdout.contains(word), "{}", doctor.describe());
    }
    // A link that leads nowhere is a file that is wrong, and none that is not there.
    fs::remove_file(&path).expect("remove");
    std::os::unix::fs::symlink("/airgap-none", &path).expect("symlink");
    let attach = ["attach", "-d", "--to", &a, &other.name];
    refused(&world, &attach, "cannot be followed");
    // A seal without exceptions is made.
    seal(&other.name, &["--config", &world.config]);
    assert_eq!(exits(&status(&other)), [""; 0]);
    // The control: mended, it gives what it holds.
    fs::remove_file(&path).expect("remove");
    world
        .files
        .write("ceiling.toml", &format!("to = [\"{a}\"]\n"));
    seal(&other.name, &["--config", &world.config, "--to", &a]);
    assert_eq!(exits(&status(&web)), [format!("{a}/tcp")]);
    airgap_ok(&["detach", "--all"]);
}

/// What a label had is cut by whoever looks after labels once the ceiling does not hold it: the
/// place, or the risk that it has.
#[test]
fn a_later_ceiling_takes_from_a_label_what_it_does_not_hold() {
    let world = World::new();
    let (a, b) = (world.to(0), world.to(1));
    let near = format!("{}:443", world.outside.plan.gateway4);
    let args = ["--config", &world.config, "--allow-accept", "host-exit"];
    let watch = Watch::start(&args);
    let asks = format!("airgap.to={a},{b},{near}");
    let web = world.outside.container("label");
    let web = web
        .options(&["--label", "airgap.seal=true", "--label", &asks])
        .options(&["--label", "airgap.accept=host-exit"])
        .run();
    await_ports(&web, &json!(["5060/tcp"]));
    // The control: all of it is in force, and used.
    let all = [&a, &b, &near].map(|to| format!("{to}/tcp"));
    assert_eq!(exits(&status(&web)), all);
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {a}"));
    reach.does(&format!("tcp b {b}"));
    drop(watch);
    let ceiling = format!("to = [\"{a}\", \"{near}\"]\n");
    world.files.write("ceiling.toml", &ceiling);
    let log = world.files.path("watch.log");
    let _watch = Watch::logged(&args, log.as_ref());
    let left = [format!("{a}/tcp")];
    wait::until("what is above it is cut", wait::SOON, || {
        (exits(&status(&web)) == left).then_some(())
    });
    reach.does("send a hello");
    assert_eq!(reach.does("receive a"), "hello");
    assert!(reach.say("send b x").is_err(), "it is cut");
    reach.is_refused(&format!("tcp c {b}"));
    reach.is_refused(&format!("tcp d {near}"));
    let said = fs::read_to_string(&log).expect("what it said");
    assert!(said.contains("above this host's ceiling"), "{said}");
}

#[test]
fn what_was_tried_and_is_above_the_ceiling_is_said_so() {
    let world = World::new();
    let (a, b) = (world.to(0), world.to(1));
    let web = world.outside.container("web").run();
    seal(&web.name, &[]);
    let mut reach = Reach::new(&web);
    reach.is_refused(&format!("tcp a {a}"));
    reach.is_refused(&format!("tcp b {b}"));
    let learn = ["--config", &world.config, "learn", &web.name];
    let out = airgap(&learn).expect_code(0);
    assert!(!out.stderr.contains("ceiling"), "{}", out.describe());
    world
        .files
        .write("ceiling.toml", &format!("to = [\"{a}\"]\n"));
    let out = airgap(&learn).expect_code(0);
    let above: Vec<_> = out
        .stderr
        .lines()
        .filter(|l| l.contains("ceiling"))
        .collect();
    assert!(
        above.len() == 1 && above[0].contains(&b) && out.stdout.contains(&b),
        "{}",
        out.describe()
    );
    airgap_ok(&["detach", &web.name]);
}
