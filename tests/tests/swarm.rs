//! Promise: each task of a service whose containers are labelled is sealed before its first
//! instruction, however Swarm comes to make it.

use airgap_tests::beacon::{self, assert_refused, assert_sent, is_refused};
use airgap_tests::nodes::Nodes;
use airgap_tests::service::{Service, Task};
use airgap_tests::swarm::{BRIDGE, Swarm};
use airgap_tests::watch::Watch;
use airgap_tests::{Frame, Outside, SERVICE_PORT, airgap, cmd, http, wait};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Overlay networks of this age have no IPv6.
const V4: [&str; 2] = ["udp4", "tcp4"];
const SEAL: [&str; 2] = ["--container-label", "airgap.seal=true"];

fn command(words: &str) -> Vec<String> {
    words.split(' ').map(str::to_owned).collect()
}

#[track_caller]
fn status(task: &Task) -> Value {
    let ask = || airgap(&["status", "--json", &task.id]);
    let sealed = wait::within(wait::SOON, || {
        let out = ask();
        let json: Option<Value> = serde_json::from_str(&out.stdout).ok();
        json.filter(|_| matches!(out.code, 0 | 4))
    });
    sealed.unwrap_or_else(|| panic!("{}", ask().describe()))
}

#[track_caller]
fn silence(outside: &Outside) {
    let arrivals = outside.arrivals();
    assert!(arrivals.is_empty(), "{arrivals:?}");
}

/// A service of so many runs, refused each, and nothing has left; then each answers, by its own
/// address and as it is published.
#[track_caller]
fn assert_sealed(outside: &Outside, swarm: &Swarm, service: &Service, count: usize) {
    let tasks = service.running();
    assert_eq!(tasks.len(), count, "{tasks:?}");
    for task in &tasks {
        assert_refused(&task.tried());
        status(task);
    }
    silence(outside);
    for task in &tasks {
        for address in task.addresses(&swarm.near) {
            let body = outside.get(address, SERVICE_PORT, "/");
            body.unwrap_or_else(|e| panic!("{address}: {e:#}"));
        }
        let port = task.published(SERVICE_PORT);
        let body = outside.get(outside.plan.host4, port, "/");
        body.unwrap_or_else(|e| panic!("published at {port}: {e:#}"));
    }
    outside.clear();
}

/// Ids of all that is sealed, and the whole text.
#[track_caller]
fn listed(options: &[&str]) -> String {
    airgap(&[&["list"], options].concat()).stdout
}

#[test]
fn tasks_are_born_sealed_however_swarm_makes_them() {
    let outside = Outside::new();
    let swarm = Swarm::init(&outside);
    // Its bridge is no way for IPv6 yet while it comes up.
    let anchor = ["--network", &swarm.near];
    let anchor = swarm.service("anchor", &anchor, &command("airgap-probe serve"));
    let bridge = format!("{}i", outside.plan.bridge);
    wait::until("its bridge is usable", wait::SOON, || {
        let tentative = cmd::ok(&format!("ip -6 addr show dev {bridge} tentative"));
        tentative.is_empty().then_some(())
    });
    let control = swarm.beacons(&outside, "control", &["--network", &swarm.near]);
    assert_sent(&control.running()[0].tried());
    assert!(!outside.arrivals().is_empty(), "the control is heard");
    control.remove();
    anchor.remove();
    outside.clear();

    let _watch = Watch::start(&["--quarantine"]);

    let publish = format!("target={SERVICE_PORT},mode=host");
    let options = [
        "--replicas",
        "3",
        "--network",
        &swarm.near,
        "--publish",
        &publish,
    ];
    let web = swarm.beacons(&outside, "web", &[&options[..], &SEAL].concat());
    assert_sealed(&outside, &swarm, &web, 3);
    web.scale(5);
    assert_sealed(&outside, &swarm, &web, 5);
    web.scale(3);
    let before = web.running();
    web.update(&["--env-add", "ROUND=2"]);
    assert_sealed(&outside, &swarm, &web, 3);
    let updated = web.running();
    assert!(
        updated.iter().all(|task| !before.contains(task)),
        "none is new"
    );
    web.roll_back();
    assert_sealed(&outside, &swarm, &web, 3);
    let back = web.running();
    assert!(
        back.iter().all(|task| !updated.contains(task)),
        "none is new"
    );
    cmd::ok(&format!("docker kill {}", back[0].id));
    wait::until("another task takes its place", wait::SOON, || {
        let now = web.running();
        (now.len() == 3 && !now.contains(&back[0])).then_some(())
    });
    assert_sealed(&outside, &swarm, &web, 3);

    // What has ended is sealed while it is there, and not in the way.
    let (all, running) = (web.all(), web.running());
    let ended = all.len() - running.len();
    assert!(ended >= 6, "{all:?}");
    let list = listed(&[]);
    let rows = |list: &str| {
        all.iter()
            .filter(|task| list.contains(&task.id[..12]))
            .count()
    };
    assert_eq!(rows(&list), running.len(), "{list}");
    let counted = format!("and {ended} ended tasks of Swarm");
    assert!(list.contains(&counted), "{list}");
    assert_eq!(rows(&listed(&["--all"])), all.len());
    assert_eq!(rows(&listed(&["--json"])), all.len());
    let json: Value = serde_json::from_str(&listed(&["--json"])).expect("JSON");
    for row in json["containers"].as_array().expect("rows") {
        assert_eq!(row["gone"], false, "{row}");
        assert_eq!(row["problems"], Value::Array(vec![]), "{row}");
    }
    web.remove();
    wait::until("all seals go", wait::SOON, || {
        listed(&[]).contains("no container is sealed").then_some(())
    });
    silence(&outside);
}

/// Tasks on overlay networks: their way out is a bridge that the engine does not name, and each
/// of several interfaces is one.
#[test]
fn overlay_networks_are_ways_out_and_in_like_others() {
    let outside = Outside::new();
    let swarm = Swarm::init(&outside);
    let Some(overlay) = swarm.overlay("wide") else {
        return;
    };
    let on = ["--network", overlay.as_str()];
    let control = swarm.beacons(&outside, "control", &on);
    let tried = control.running()[0].tried();
    for way in V4 {
        let sent = tried
            .iter()
            .any(|r| r["technique"] == way && r["outcome"] == "sent");
        assert!(sent, "{way}: {tried:?}");
    }
    assert!(!outside.arrivals().is_empty(), "the control is heard");
    outside.clear();

    // In quarantine from its first instruction on, the control would not be.
    let watch = Watch::start(&["--quarantine"]);
    let mesh = free_port(&outside);
    let meshed = format!("published={mesh},target={SERVICE_PORT}");
    let by_mesh = [&on[..], &["--publish", &meshed], &SEAL].concat();
    let by_mesh = swarm.beacons(&outside, "mesh", &by_mesh);
    let hosted = format!("target={SERVICE_PORT},mode=host");
    let by_host = [&on[..], &["--publish", &hosted], &SEAL].concat();
    let by_host = swarm.beacons(&outside, "host", &by_host);
    let tasks = [by_mesh.running(), by_host.running()].concat();
    assert_eq!(tasks.len(), 2);
    for task in &tasks {
        let tried = task.tried();
        for way in V4 {
            let record = tried.iter().find(|r| r["technique"] == way);
            assert!(is_refused(way, record), "{way}: {tried:?}");
        }
        status(task);
    }
    silence(&outside);

    // Each answers its neighbours on the overlay network, and as it is published.
    let client = &control.running()[0];
    for task in &tasks {
        for address in task.addresses(&overlay) {
            client.fetch(SocketAddr::new(address, SERVICE_PORT));
        }
    }
    let port = by_host.running()[0].published(SERVICE_PORT);
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    for (who, body) in [
        ("outside", outside.get(outside.plan.host4, port, "/")),
        ("this host", http::get(SocketAddr::new(here, port), "/")),
    ] {
        body.unwrap_or_else(|e| panic!("{who}, mode=host: {e:#}"));
    }
    if swarm.has_mesh() {
        let body = outside.get(outside.plan.host4, mesh, "/");
        body.unwrap_or_else(|e| panic!("by the mesh: {e:#}"));
    }
    // By its label a task is sealed all the same, and it is told what that is worth.
    let bridge = subnet(BRIDGE);
    let from = format!("airgap.from={bridge}");
    let labelled = [
        &on[..],
        &["--publish", &hosted, "--container-label", &from],
        &SEAL,
    ]
    .concat();
    let labelled = swarm.beacons(&outside, "from", &labelled);
    let said = status(&labelled.running()[0]);
    assert_eq!(said["state"], "opened", "{said}");
    let said = said.to_string();
    assert!(
        said.contains("proxied-clients") && said.contains(BRIDGE),
        "{said}"
    );
    labelled.remove();

    // By hand nothing is sealed that admits whoever comes by somebody else.
    drop(watch);
    for task in &tasks {
        airgap(&["detach", &task.id]).expect_code(0);
    }
    let [by_mesh, by_host] = [&tasks[0], &tasks[1]];
    let within = by_mesh.addresses(&overlay)[0].to_string();
    for (task, from, by) in [
        (by_mesh, subnet("ingress"), "ingress"),
        (by_mesh, bridge.clone(), BRIDGE),
        (by_mesh, within.clone(), overlay.as_str()),
        (by_host, bridge, BRIDGE),
        (by_host, within, overlay.as_str()),
    ] {
        let out = airgap(&["attach", "-d", "--from", &from, &task.id]).expect_code(1);
        let said = out.stderr.contains("proxied-clients") && out.stderr.contains(by);
        assert!(said, "{from}: {}", out.describe());
    }
    let out = airgap(&["attach", "-d", "--from", "198.51.100.0/24", &by_host.id]);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    assert!(
        out.stderr.contains("--container-label-add"),
        "{}",
        out.describe()
    );
    let body = outside.get(outside.plan.host4, port, "/");
    body.unwrap_or_else(|e| panic!("mode=host keeps the client's address: {e:#}"));
    let other = http::get(SocketAddr::new(here, port), "/");
    assert!(other.is_err(), "one that comes by the bridge is no client");
    airgap(&["detach", &by_host.id]).expect_code(0);
}

/// Two engines, each in namespaces of its own; one airgap looks after both here, as each kernel has
/// one.
#[test]
fn each_task_of_both_nodes_is_sealed() {
    let outside = Outside::new();
    let Some(nodes) = Nodes::start(&outside) else {
        return;
    };
    let command = beacon::command(&outside).split_off(1);
    let spread = ["--replicas", "2", "--replicas-max-per-node", "1"];
    let control = nodes.service("control", &spread, &command);
    for task in control.running() {
        let tried = task.tried();
        for way in V4 {
            let sent = tried
                .iter()
                .any(|r| r["technique"] == way && r["outcome"] == "sent");
            assert!(sent, "{way}: {tried:?}");
        }
    }
    let heard = outside.arrivals();
    for address in nodes.addresses() {
        let from = |frame: &Frame| frame.ip().is_some_and(|ip| ip.source == address);
        assert!(
            heard.iter().any(from),
            "the control is heard from {address}"
        );
    }
    outside.clear();

    let hosts = nodes.hosts();
    let both = ["--host", hosts[0].as_str(), "--host", hosts[1].as_str()];
    let _watch = Watch::start(&[&both[..], &["--quarantine"]].concat());
    let publish = format!("target={SERVICE_PORT},mode=host");
    let options = [
        "--replicas",
        "4",
        "--replicas-max-per-node",
        "3",
        "--publish",
        &publish,
    ];
    let web = nodes.service("web", &[&options[..], &SEAL].concat(), &command);
    let hold = |count: usize| {
        let tasks = web.running();
        assert_eq!(tasks.len(), count, "{tasks:?}");
        for (host, address) in hosts.iter().zip(nodes.addresses()) {
            let here: Vec<_> = tasks.iter().filter(|task| task.is_on(host)).collect();
            assert!(!here.is_empty(), "none is on {host}");
            for task in here {
                let tried = task.tried();
                for way in V4 {
                    let record = tried.iter().find(|r| r["technique"] == way);
                    assert!(is_refused(way, record), "{way}: {tried:?}");
                }
                let sealed = || {
                    let out = airgap(&[&both[..], &["status", &task.id]].concat());
                    matches!(out.code, 0 | 4).then_some(())
                };
                wait::until("it is sealed by its label", wait::SOON, sealed);
                silence(&outside);
                let port = task.published(SERVICE_PORT);
                let body = outside.get(address, port, "/");
                body.unwrap_or_else(|e| panic!("published at {address}:{port}: {e:#}"));
                // Over the network that spans nodes, from either.
                for client in control.running() {
                    for address in task.addresses(&nodes.network) {
                        client.fetch(SocketAddr::new(address, SERVICE_PORT));
                    }
                }
                outside.clear();
            }
        }
        tasks
    };
    let before = hold(4);
    web.scale(6);
    hold(6);
    web.update(&["--env-add", "ROUND=2"]);
    let after = hold(6);
    assert!(
        after.iter().all(|task| !before.contains(task)),
        "none is new"
    );
    web.remove();
    wait::until("all seals go", wait::SOON, || {
        let list = airgap(&[&both[..], &["list"]].concat()).stdout;
        list.contains("no container is sealed").then_some(())
    });
    silence(&outside);
}

#[track_caller]
fn subnet(network: &str) -> String {
    let format = "{{(index .IPAM.Config 0).Subnet}}";
    let out = cmd::run(
        "docker",
        &["network", "inspect", "--format", format, network],
    );
    out.expect_code(0).stdout.trim().to_owned()
}

/// One that nobody listens on.
fn free_port(outside: &Outside) -> u16 {
    let any = std::net::TcpListener::bind((outside.plan.host4, 0)).expect("bind");
    any.local_addr().expect("an address").port()
}
