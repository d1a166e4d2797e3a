//! Promise: the same seal for containers of Podman, through its Docker-compatible socket.

use airgap_tests::beacon::{self, assert_refused, assert_sent, await_boot};
use airgap_tests::podman::Podman;
use airgap_tests::watch::Watch;
use airgap_tests::{Outside, SERVICE_PORT, airgap, wait};
use serde_json::Value;
use std::net::IpAddr;

/// Creates a beacon; its id.
#[track_caller]
fn create(podman: &Podman, outside: &Outside, name: &str, options: &[&str]) -> String {
    let fixed = ["create", "--name", name, "--network", Podman::NETWORK];
    let words = fixed
        .iter()
        .chain(&["--cap-drop", "NET_RAW", "--stop-timeout", "0"]);
    let words = words.chain(options).map(|&word| word.to_owned());
    let words: Vec<_> = words.chain(beacon::command(outside)).collect();
    let out = podman.docker(&words).expect_code(0);
    out.stdout.trim().to_owned()
}

fn log(podman: &Podman, id: &str) -> String {
    podman.docker(&["logs", id]).stdout
}

#[track_caller]
fn address(podman: &Podman, id: &str) -> IpAddr {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let out = podman.docker(&["inspect", "-f", format, id]);
    let text = out.stdout.trim();
    text.parse()
        .unwrap_or_else(|e| panic!("no address ({e})\n{}", out.describe()))
}

/// What one way out of a running container comes to.
fn outcome(podman: &Podman, outside: &Outside, id: &str) -> String {
    let (v4, v6) = (outside.plan.outside4, outside.plan.outside6);
    let line =
        format!("exec {id} airgap-probe try udp4 --v4 {v4} --v6 {v6} --port 20001 --marker podman");
    let out = podman.docker(&line.split(' ').collect::<Vec<_>>());
    let report: Value = serde_json::from_str(out.stdout.lines().last().unwrap_or_default())
        .unwrap_or_else(|e| panic!("{e}\n{}", out.describe()));
    report["outcome"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_created_container_is_sealed_from_its_first_instruction() {
    let outside = Outside::new();
    // A bridge that just came up is no way for IPv6 yet.
    let _anchor = outside.container("anchor").run();
    let podman = Podman::start(&outside);
    let host = podman.host();
    let ours = |args: &[&str]| airgap(&[&["--host", host.as_str()], args].concat());

    let control = create(&podman, &outside, "control", &[]);
    podman.docker(&["start", &control]).expect_code(0);
    assert_sent(&await_boot(1, || log(&podman, &control)));
    let from = address(&podman, &control);
    let heard = |frame: &airgap_tests::Frame| frame.ip().is_some_and(|ip| ip.source == from);
    let arrivals = outside.arrivals();
    assert!(arrivals.iter().any(heard), "the control: {arrivals:?}");
    podman.docker(&["rm", "-f", &control]).expect_code(0);
    outside.clear();

    let id = create(&podman, &outside, "web", &[]);
    let attach = ours(&["attach", "-d", "web"]);
    assert!(matches!(attach.code, 0 | 4), "{}", attach.describe());
    podman.docker(&["start", &id]).expect_code(0);
    assert_refused(&await_boot(1, || log(&podman, &id)));
    podman.docker(&["restart", "-t", "0", &id]).expect_code(0);
    assert_refused(&await_boot(2, || log(&podman, &id)));
    let arrivals = outside.arrivals();
    assert!(arrivals.is_empty(), "{arrivals:?}");
    let body = outside.get(address(&podman, &id), SERVICE_PORT, "/");
    body.expect("the sealed service answers");

    let status = ours(&["status", "--json", "web"]);
    let json: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert!(matches!(status.code, 0 | 4), "{}", status.describe());
    let group = json["cgroups"].to_string();
    assert!(
        group.contains(&format!("libpod-{id}")),
        "{}",
        status.describe()
    );
    let tail = ours(&["tail", "--json", "--since", "1h", "--no-follow", "web"]);
    let told = tail
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let told: Vec<Value> = told.collect();
    let named = |event: &Value| {
        event["container"]["name"] == "web" && event["process"]["name"] == "airgap-probe"
    };
    assert!(told.iter().any(named), "{}", tail.describe());

    // Each engine knows its own containers only: neither may call the other's gone.
    let docker = outside.container("docker").create();
    airgap(&["attach", "-d", &docker.id]);
    for list in [airgap(&["list"]), ours(&["list"])] {
        assert!(!list.stdout.contains("gone"), "{}", list.describe());
        assert!(list.stdout.contains("web"), "{}", list.describe());
    }
    ours(&["detach", "web"]).expect_code(0);
    assert_eq!(outcome(&podman, &outside, &id), "sent");
}

#[test]
fn a_running_container_is_sealed_and_let_go() {
    let outside = Outside::new();
    // A bridge that just came up is no way for IPv6 yet.
    let _anchor = outside.container("anchor").run();
    let podman = Podman::start(&outside);
    let host = podman.host();
    let ours = |args: &[&str]| airgap(&[&["--host", host.as_str()], args].concat());
    let id = create(&podman, &outside, "web", &[]);
    podman.docker(&["start", &id]).expect_code(0);
    assert_sent(&await_boot(1, || log(&podman, &id)));
    assert_eq!(outcome(&podman, &outside, &id), "sent");
    let attach = ours(&["attach", "-d", &id[..12]]);
    assert!(matches!(attach.code, 0 | 4), "{}", attach.describe());
    assert_eq!(outcome(&podman, &outside, &id), "refused");
    outside.clear();
    podman.docker(&["restart", "-t", "0", &id]).expect_code(0);
    assert_refused(&await_boot(2, || log(&podman, &id)));
    let arrivals = outside.arrivals();
    assert!(arrivals.is_empty(), "{arrivals:?}");
    ours(&["detach", "web"]).expect_code(0);
    assert_eq!(outcome(&podman, &outside, &id), "sent");
}

#[test]
fn what_podman_says_of_namespaces_and_sockets_is_refused() {
    let outside = Outside::new();
    let podman = Podman::start(&outside);
    let host = podman.host();
    let socket = host.trim_start_matches("unix://");
    for (options, risk) in [
        (vec!["--network", "host"], "host-network"),
        (vec!["--pid", "host"], "host-pid"),
        (vec!["--privileged"], "privileged"),
        (vec!["-v", &format!("{socket}:/p.sock")], "engine-socket"),
    ] {
        let mut words = vec!["create".to_owned(), "--name".to_owned(), "risky".to_owned()];
        words.extend(options.iter().map(|&word| word.to_owned()));
        words.extend(beacon::command(&outside));
        podman.docker(&words).expect_code(0);
        let refused = airgap(&["--host", &host, "attach", "-d", "risky"]).expect_code(1);
        assert!(refused.stderr.contains(risk), "{}", refused.describe());
        podman.docker(&["rm", "-f", "risky"]).expect_code(0);
    }
}

/// Podman's events are read, and quarantine holds what they come too late for.
#[test]
fn a_label_seals_and_its_seal_goes_with_the_container() {
    let outside = Outside::new();
    let podman = Podman::start(&outside);
    let host = podman.host();
    let _watch = Watch::start(&["--quarantine", "--host", &host]);
    let label = ["--label", "airgap.seal=true"];
    let id = create(&podman, &outside, "web", &label);
    podman.docker(&["start", &id]).expect_code(0);
    assert_refused(&await_boot(1, || log(&podman, &id)));
    wait::until("it is sealed by its label", wait::SOON, || {
        let status = airgap(&["--host", &host, "status", &id]);
        matches!(status.code, 0 | 4).then_some(())
    });
    let body = outside.get(address(&podman, &id), SERVICE_PORT, "/");
    body.expect("the labelled service answers");
    let arrivals = outside.arrivals();
    let from = address(&podman, &id);
    let left = |frame: &&airgap_tests::Frame| {
        frame.ip().is_some_and(|ip| ip.source == from)
            && frame.ports().is_none_or(|p| p.0 != SERVICE_PORT)
    };
    assert_eq!(arrivals.iter().filter(left).count(), 0, "{arrivals:?}");
    podman.docker(&["rm", "-f", &id]).expect_code(0);
    wait::until("the seal goes with the container", wait::SOON, || {
        let list = airgap(&["--host", &host, "list"]);
        (!list.stdout.contains("web")).then_some(())
    });
}
