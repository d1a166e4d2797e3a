//! Promise: what has the annotation `airgap.seal` is sealed before its first instruction, by the
//! runtime itself, with no quarantine and nobody watching; or it does not start.

use airgap_tests::airgap::{STATE, binary, with_input};
use airgap_tests::beacon::{self, assert_refused, assert_sent, await_boot};
use airgap_tests::podman::Podman;
use airgap_tests::{Outside, SERVICE_PORT, airgap, cmd::Output, wait};
use serde_json::{Value, json};
use std::net::IpAddr;

struct World {
    outside: Outside,
    podman: Podman,
}

impl World {
    fn new() -> Self {
        let outside = Outside::new();
        let podman = Podman::start(&outside);
        let world = Self { outside, podman };
        world.hook(STATE);
        world
    }

    /// As `airgap install` writes it, with another engine, binary and state.
    fn hook(&self, state: &str) {
        let host = self.podman.host();
        self.podman.hook(&json!({
            "version": "1.0.0",
            "hook": {
                "path": binary(),
                "args": ["airgap", "--host", host, "--state-dir", state, "hook"],
            },
            "when": { "annotations": { "(?i)^airgap.?seal$": "" } },
            "stages": ["createRuntime", "poststop"],
        }));
    }

    /// `podman VERB --name NAME OPTIONS` of a first-instruction sender.
    #[track_caller]
    fn sender(&self, verb: &[&str], name: &str, options: &[&str]) -> Output {
        let fixed = [
            "--pull",
            "never",
            "--name",
            name,
            "--network",
            Podman::NETWORK,
        ];
        let words = verb.iter().chain(&fixed).chain(options);
        let words = words.map(|&word| word.to_owned());
        let line: Vec<_> = words.chain(beacon::command(&self.outside)).collect();
        self.podman.podman(&line)
    }

    #[track_caller]
    fn status(&self, name: &str) -> Value {
        let out = self.podman.airgap(&["status", "--json", name]);
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
    }
}

const SEAL: [&str; 2] = ["--annotation", "airgap.seal=true"];

#[test]
fn the_annotation_seals_from_the_first_instruction() {
    let world = World::new();
    // A bridge that just came up is no way for IPv6 yet.
    let _anchor = world.outside.container("anchor").run();
    let control = world.sender(&["run", "-d"], "control", &["--stop-timeout", "0"]);
    control.expect_code(0);
    assert_sent(&await_boot(1, || world.podman.log("control")));
    world.podman.remove("control");
    world.outside.clear();

    let options = [&SEAL[..], &["--stop-timeout", "0", "--cap-add", "NET_RAW"]].concat();
    world.sender(&["run", "-d"], "web", &options).expect_code(0);
    assert_refused(&await_boot(1, || world.podman.log("web")));
    // Guarded before it spoke, too: nobody has looked at it since.
    let status = world.status("web");
    assert_ne!(status["state"], "opened", "{status:#}");
    assert_eq!(status["ports"], json!([]), "nothing was named: {status:#}");
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = || -> IpAddr {
        let out = world.podman.docker(&["inspect", "-f", format, "web"]);
        out.stdout.trim().parse().expect("an address")
    };
    assert!(world.outside.get(address(), SERVICE_PORT, "/").is_err());
    let attach = world.podman.airgap(&["attach", "-d", "-p", "5060", "web"]);
    assert!(matches!(attach.code, 0 | 4), "{}", attach.describe());
    let body = world.outside.get(address(), SERVICE_PORT, "/");
    body.expect("it answers where attach says so");
    // What was said since stays, and each new interface is guarded in time.
    world
        .podman
        .podman(&["restart", "-t", "0", "web"])
        .expect_code(0);
    assert_refused(&await_boot(2, || world.podman.log("web")));
    let status = world.status("web");
    assert_ne!(status["state"], "opened", "{status:#}");
    assert_eq!(status["ports"], json!(["5060/tcp"]), "{status:#}");
    let answers = world.outside.arrivals();
    let sent =
        |frame: &&airgap_tests::Frame| frame.ports().is_none_or(|(from, _)| from != SERVICE_PORT);
    let sent: Vec<_> = answers.iter().filter(sent).collect();
    assert!(sent.is_empty(), "{sent:?}");
    world.podman.remove("web");
    world.podman.airgap(&["detach", "--all"]);
}

#[test]
fn what_is_removed_as_it_stops_leaves_no_seal() {
    let world = World::new();
    let options = [&SEAL[..], &["--rm", "--stop-timeout", "0"]].concat();
    world
        .sender(&["run", "-d"], "brief", &options)
        .expect_code(0);
    assert_refused(&await_boot(1, || world.podman.log("brief")));
    assert!(
        world.podman.airgap(&["list"]).stdout.contains("brief"),
        "the control"
    );
    world
        .podman
        .podman(&["stop", "-t", "0", "brief"])
        .expect_code(0);
    wait::until("its seal goes with it", wait::SOON, || {
        let list = world.podman.airgap(&["list"]);
        list.stdout.contains("no container is sealed").then_some(())
    });
}

#[test]
fn what_cannot_be_sealed_does_not_start() {
    let world = World::new();
    // A file is no place for records.
    world.hook("/proc/version");
    let out = world.sender(&["run", "-d"], "web", &SEAL);
    assert_ne!(out.code, 0, "{}", out.describe());
    assert_eq!(world.podman.log("web"), "", "nothing of it ran");
    world.hook(STATE);
    world.podman.podman(&["start", "web"]).expect_code(0);
    assert_refused(&await_boot(1, || world.podman.log("web")));
    world.podman.remove("web");
    world.podman.airgap(&["detach", "--all"]);
}

/// What is not its alone is not shut by it, nor guarded for it; a typing error asks for a seal, as
/// with labels, and "false" for none.
#[test]
fn a_shared_network_is_refused_and_what_is_meant_counts() {
    let world = World::new();
    let _anchor = world.outside.container("anchor").run();
    world
        .sender(&["run", "-d"], "first", &["--stop-timeout", "0"])
        .expect_code(0);
    assert_sent(&await_boot(1, || world.podman.log("first")));
    let image = beacon::command(&world.outside);
    let words = [
        "run",
        "-d",
        "--pull",
        "never",
        "--name",
        "second",
        "--network",
        "container:first",
    ];
    let words = words.iter().chain(&SEAL).map(|&word| word.to_owned());
    let line: Vec<_> = words.chain(image).collect();
    let second = world.podman.podman(&line);
    assert_ne!(second.code, 0, "{}", second.describe());
    assert_eq!(world.podman.log("second"), "", "it did not start");
    world.outside.clear();
    world
        .podman
        .podman(&["restart", "-t", "0", "first"])
        .expect_code(0);
    assert_sent(&await_boot(2, || world.podman.log("first")));
    for name in ["second", "first"] {
        world.podman.remove(name);
    }
    for (annotation, sealed) in [("Airgap.Seal=True", true), ("airgap.seal=false", false)] {
        let options = ["--annotation", annotation, "--stop-timeout", "0"];
        world.sender(&["run", "-d"], "web", &options).expect_code(0);
        let records = await_boot(1, || world.podman.log("web"));
        match sealed {
            true => assert_refused(&records),
            false => assert_sent(&records),
        }
        world.podman.remove("web");
    }
    world.podman.airgap(&["detach", "--all"]);
}

#[test]
fn what_no_runtime_says_is_refused() {
    let _outside = Outside::new();
    for wrong in [
        "",
        "{}",
        "{\"id\":\"../x\",\"status\":\"creating\",\"pid\":1,\"annotations\":{\"airgap.seal\":\"true\"}}",
    ] {
        let out = with_input(&["hook"], wrong);
        assert_eq!(out.code, 1, "{}", out.describe());
        assert!(out.stderr.contains("hint: "), "{}", out.describe());
    }
    let list = airgap(&["list"]);
    assert!(
        list.stdout.contains("no container is sealed"),
        "{}",
        list.describe()
    );
}
