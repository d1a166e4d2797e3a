//! Promise: `airgap apply` makes seals what the operator's files say, shows first what becomes
//! reachable, and changes nothing where a file is wrong. Files win over labels.

#[path = "policies/ceilings.rs"]
mod ceilings;
#[path = "policies/watched.rs"]
mod watched;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use airgap_tests::airgap::seal;
use airgap_tests::files::Files;
use airgap_tests::image::Labelled;
use airgap_tests::reach::{Echo, Reach};
use airgap_tests::watch::Watch;
use airgap_tests::{Container, Outside, airgap, airgap_ok, kernel_state, wait};
use serde_json::{Value, json};

const PORT: u16 = 7600;

struct World {
    outside: Outside,
    files: Files,
    config: String,
    _echoes: Vec<Echo>,
}

impl World {
    fn new() -> Self {
        let (outside, files) = (Outside::new(), Files::new());
        fs::create_dir(files.path("policy.d")).expect("mkdir");
        let config = files.write("airgap.toml", "");
        let echoes = (PORT..PORT + 3).map(|port| Echo::on(&outside.netns, port));
        Self {
            _echoes: echoes.collect(),
            outside,
            files,
            config,
        }
    }

    fn to(&self, n: u16) -> String {
        SocketAddr::new(self.outside.plan.outside4.into(), PORT + n).to_string()
    }

    fn write(&self, text: &str) -> String {
        self.files.write("policy.d/web.toml", text)
    }

    fn apply(&self, args: &[&str]) -> airgap_tests::cmd::Output {
        airgap(&[&["--config", &self.config, "apply"], args].concat())
    }
}

/// What `apply --json` prints, as its schema has it.
#[track_caller]
fn outcome(world: &World, args: &[&str]) -> Value {
    let out = world.apply(&[&["--json"], args].concat());
    let outcome: Value =
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()));
    let schema = airgap_ok(&["schema", "apply"]).stdout;
    let schema: Value = serde_json::from_str(&schema).expect("a schema");
    let violations = airgap_tests::schema::violations(&schema, &outcome);
    assert_eq!(violations, [""; 0], "{outcome:#}");
    assert_eq!(outcome["exit"], json!(out.code));
    outcome
}

#[track_caller]
fn status(container: &Container) -> Value {
    let out = airgap(&["status", "--json", &container.id]);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
}

#[track_caller]
fn await_ports(container: &Container, ports: &Value) -> Value {
    wait::until("it is sealed as written", wait::SOON, || {
        let out = airgap(&["status", "--json", &container.id]);
        let json: Option<Value> = serde_json::from_str(&out.stdout).ok();
        json.filter(|json| json["ports"] == *ports)
    })
}

#[test]
fn a_file_seals_and_changes_what_runs() {
    let world = World::new();
    let (a, b, c) = (world.to(0), world.to(1), world.to(2));
    let web = world.outside.container("web").run();
    let bystander = world.outside.container("bystander").run();
    let mut reach = Reach::new(&web);
    let text = |to: &str| {
        let name = &web.name;
        format!("[[seal]]\ncontainer = \"{name}\"\nports = [\"8080\"]\nto = [\"{to}\"]\n")
    };
    world.write(&text(&a));
    // The control: without a seal all of it is reached.
    reach.does(&format!("tcp before {b}"));
    let out = world.apply(&["--diff"]).expect_code(0);
    assert!(
        out.stdout.contains("is not sealed now"),
        "{}",
        out.describe()
    );
    assert!(
        out.stdout.contains(&format!("+ to {a}/tcp")),
        "{}",
        out.describe()
    );
    airgap(&["status", &web.id]).expect_code(3);
    let out = world.apply(&[]);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    reach.does(&format!("tcp a {a}"));
    reach.is_refused(&format!("tcp b {b}"));
    assert_eq!(status(&web)["ports"], json!(["8080/tcp"]));
    airgap(&["status", &bystander.id]).expect_code(3);
    // What an operator allows stands beside the file; what the file drops is cut.
    airgap(&["allow", &web.name, "--to", &c, "--for", "1h"]);
    world.write(&text(&b));
    let before = kernel_state();
    let out = world.apply(&["--diff"]).expect_code(0);
    for line in [format!("+ to {b}/tcp"), format!("- to {a}/tcp")] {
        assert!(out.stdout.contains(&line), "{line}: {}", out.describe());
    }
    assert_eq!(before, kernel_state(), "a difference changes nothing");
    reach.is_refused(&format!("tcp b {b}"));
    world.apply(&[]);
    reach.does(&format!("tcp b {b}"));
    reach.does(&format!("tcp c {c}"));
    reach.is_refused(&format!("tcp x {a}"));
    let out = world.apply(&["--diff"]).expect_code(0);
    assert!(out.stdout.contains("as written"), "{}", out.describe());
    airgap_ok(&["detach", &web.name]);
}

#[test]
fn what_is_wrong_changes_nothing_and_is_told_with_file_and_line() {
    let world = World::new();
    let web = world.outside.container("web").run();
    seal(&web.name, &[]);
    let good = format!(
        "[[seal]]\ncontainer = \"{}\"\nports = [\"8080\"]\n",
        web.name
    );
    world.write(&good);
    let before = kernel_state();
    let refused = |code: i32, words: &[&str], args: &[&str]| {
        let out = world.apply(args).expect_code(code);
        for word in words {
            assert!(out.stderr.contains(word), "{word}: {}", out.describe());
        }
        assert_eq!(before, kernel_state());
        assert_eq!(status(&web)["ports"], json!(["5060/tcp"]));
    };
    let other = world
        .files
        .write("policy.d/z.toml", "\n[[seal]]\nport = []\n");
    for args in [&["--check"][..], &["--diff"], &[]] {
        refused(2, &[&format!("{other}: line 3"), "unknown field"], args);
    }
    // attach without options would need them, and with options does not.
    airgap(&["--config", &world.config, "attach", "-d", &web.name]).expect_code(2);
    // Two for one container.
    world.files.write("policy.d/z.toml", &good);
    refused(2, &["is written already"], &["--check"]);
    // What may be others' to write.
    fs::remove_file(&other).expect("remove");
    let mode = |mode| {
        let dir = world.files.path("policy.d");
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    mode(0o777);
    refused(2, &["others than root may write there"], &[]);
    mode(0o755);
    // A risk that nothing accepts: the host is behind that address.
    let host = world
        .outside
        .container("gone")
        .create()
        .plan()
        .gateway4
        .to_string();
    world.write(&format!("{good}to = [\"{host}:443\"]\n"));
    refused(1, &["host-exit"], &[]);
    // The control: what was refused for them is done without them.
    world.write(&good);
    world.apply(&["--check"]).expect_code(0);
    world.apply(&[]);
    assert_eq!(status(&web)["ports"], json!(["8080/tcp"]));
    airgap_ok(&["detach", &web.name]);
}

#[test]
fn a_file_wins_over_labels_and_an_image_chooses_none() {
    let world = World::new();
    let (a, b) = (world.to(0), world.to(1));
    world.write(&format!(
        "[[seal]]\nlabel = \"tier=front\"\nports = [\"8080\"]\nto = [\"{a}\"]\n"
    ));
    let watch = Watch::start(&["--config", &world.config]);
    let asks = format!("airgap.to={b}");
    let front = world.outside.container("front");
    let front = front.options(&["--label", "tier=front", "--label", "airgap.seal=true"]);
    let front = front.options(&["--label", &asks]).run();
    let report = await_ports(&front, &json!(["8080/tcp"]));
    let exits = report["exits"].as_array().expect("a list");
    assert_eq!(exits.len(), 1, "{report:#}");
    let mut reach = Reach::new(&front);
    reach.does(&format!("tcp a {a}"));
    reach.is_refused(&format!("tcp b {b}"));
    // Without a label of airgap's it is sealed as well.
    let plain = world.outside.container("plain");
    let plain = plain.options(&["--label", "tier=front"]).run();
    await_ports(&plain, &json!(["8080/tcp"]));
    // What the image says of itself chooses no file: its label alone is followed.
    let image = Labelled::new(&["tier=front"]);
    let image = world.outside.container("image").image(&image.reference);
    let image = image.options(&["--label", "airgap.seal=true"]).run();
    let report = await_ports(&image, &json!(["5060/tcp"]));
    assert_eq!(report["exits"], Value::Null);
    drop(watch);
    airgap_ok(&["detach", "--all"]);
}

#[test]
fn attach_follows_the_file_and_options_do_not() {
    let world = World::new();
    let a = world.to(0);
    let web = world.outside.container("web").run();
    let name = &web.name;
    world.write(&format!(
        "[[seal]]\ncontainer = \"{name}\"\nports = [\"8080\"]\nto = [\"{a}\"]\n"
    ));
    let out = seal(name, &["--config", &world.config, "-p", "5060"]);
    assert!(out.stderr.contains("does not count"), "{}", out.describe());
    let report = status(&web);
    assert_eq!(report["ports"], json!(["5060/tcp"]));
    assert_eq!(report["exits"], Value::Null);
    let out = seal(name, &["--config", &world.config]);
    assert!(out.stderr.contains("+ to "), "{}", out.describe());
    let report = status(&web);
    assert_eq!(report["ports"], json!(["8080/tcp"]));
    assert_eq!(report["exits"].as_array().map(Vec::len), Some(1));
    let out = airgap_ok(&["--config", &world.config, "config"]);
    assert!(
        out.stdout.contains(&format!("container {name}")),
        "{}",
        out.describe()
    );
    airgap_ok(&["detach", name]);
}

#[test]
fn a_script_is_told_what_became_of_each() {
    let world = World::new();
    let a = world.to(0);
    let web = world.outside.container("web").run();
    let name = &web.name;
    let path = world.write(&format!(
        "[[seal]]\ncontainer = \"{name}\"\nto = [\"{a}\"]\n\n[[seal]]\ncontainer = \"airgap-none\"\n"
    ));
    let check = outcome(&world, &["--check"]);
    assert_eq!(
        (&check["did"], &check["exit"]),
        (&json!("check"), &json!(0))
    );
    let seals = check["seals"].as_array().expect("a list");
    assert_eq!(seals.len(), 2, "{check:#}");
    assert_eq!(seals[0]["file"], json!(path));
    assert_eq!(seals[1]["line"], json!(5));
    let of = |outcome: &Value| outcome["seals"][0]["containers"][0].clone();
    let diff = of(&outcome(&world, &["--diff"]));
    assert_eq!(diff["result"], json!("would-change"));
    assert!(
        diff["changes"]
            .to_string()
            .contains(&format!("+ to {a}/tcp"))
    );
    airgap(&["status", &web.id]).expect_code(3);
    let all = outcome(&world, &[]);
    let made = of(&all);
    assert_eq!(
        (&made["result"], &made["id"]),
        (&json!("changed"), &json!(web.id))
    );
    assert_eq!(made["state"], status(&web)["state"]);
    assert_eq!(all["seals"][1]["containers"], json!([]));
    let again = of(&outcome(&world, &[]));
    assert_eq!(
        (&again["result"], &again["changes"]),
        (&json!("as-written"), &json!([]))
    );
    // What refuses all of it prints no object.
    world.files.write("policy.d/z.toml", "[[seal]]\n");
    let out = world.apply(&["--json"]).expect_code(2);
    assert_eq!(out.stdout, "", "{}", out.describe());
    airgap_ok(&["detach", name]);
}
