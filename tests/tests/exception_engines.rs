//! Promise: exceptions by name are for containers of Podman, too, and outlive the engine: a
//! neighbour and a host are reached by their names, over restarts of both, and what is not
//! written into a hosts file is said.

use std::net::SocketAddr;
use std::time::Duration;

use airgap_tests::podman::Podman;
use airgap_tests::private::PrivateEngine;
use airgap_tests::upstream::{Says, Upstream};
use airgap_tests::watch::Watch;
use airgap_tests::{Outside, SERVICE_PORT, airgap, image, wait};
use serde_json::{Value, json};

const PORT: u16 = 7443;
const NAME: &str = "api.example.com";
const ASKED_AGAIN: Duration = Duration::from_secs(75);

/// Runs `airgap-probe serve`.
#[track_caller]
fn run(podman: &Podman, name: &str, options: &[&str]) {
    let fixed = ["run", "-d", "--name", name, "--network", Podman::NETWORK];
    let fixed = fixed.iter().chain(&["--stop-timeout", "0"]);
    let command = [image::ensure(), "airgap-probe", "serve"];
    let words: Vec<_> = fixed.chain(options).chain(&command).copied().collect();
    podman.docker(&words).expect_code(0);
}

#[track_caller]
fn exits(podman: &Podman, name: &str) -> Vec<Value> {
    let out = podman.airgap(&["status", "--json", name]);
    let report: Value =
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()));
    report["exits"].as_array().cloned().unwrap_or_default()
}

fn hosts(podman: &Podman, name: &str) -> String {
    podman.docker(&["exec", name, "cat", "/etc/hosts"]).stdout
}

#[test]
fn a_neighbour_and_a_host_are_reached_by_name() {
    let outside = Outside::new();
    // A bridge that just came up is no way for IPv6 yet.
    let _anchor = outside.container("anchor").run();
    let upstream = Upstream::beside(&outside.plan, PORT);
    upstream.says(NAME, Says::Addresses(vec![upstream.one.into()], 60));
    let podman = Podman::start(&outside);
    let host = podman.host();
    let _watch = Watch::start(&["--host", &host]);
    let dns = upstream.server.to_string();
    run(&podman, "web", &["--dns", &dns]);
    run(&podman, "db", &[]);
    let to = [
        format!("container:db:{SERVICE_PORT}"),
        format!("{NAME}:{PORT}"),
    ];
    let args = ["attach", "-d", "--to", &to[0], "--to", &to[1], "web"];
    let out = podman.airgap(&args);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    let open = || {
        let all = exits(&podman, "web");
        (all.len() == 2 && all.iter().all(|one| one["state"] == "in-force")).then_some(all)
    };
    wait::until("both are in force", ASKED_AGAIN, open);
    let far = SocketAddr::new(upstream.one.into(), PORT).to_string();
    let other = SocketAddr::new(upstream.two.into(), PORT).to_string();
    let by_name = |reach: &mut airgap_tests::reach::Reach| {
        assert_eq!(
            reach.does(&format!("look {NAME}")),
            json!([upstream.one.to_string()])
        );
        let db = reach.does("look db");
        let db = db[0]
            .as_str()
            .expect("an address of the neighbour")
            .to_owned();
        let db = SocketAddr::new(db.parse().expect("an address"), SERVICE_PORT);
        reach.does(&format!("tcp a {db}"));
        reach.does(&format!("tcp b {far}"));
        reach.is_refused(&format!("tcp c {other}"));
    };
    by_name(&mut podman.reach("web"));
    // Both start again; a restarted neighbour may have another address.
    podman.docker(&["restart", "-t", "0", "db"]).expect_code(0);
    podman.docker(&["restart", "-t", "0", "web"]).expect_code(0);
    wait::until("both are in force again", ASKED_AGAIN, || {
        let text = hosts(&podman, "web");
        let named = text.contains(&format!(" {NAME}\n")) && text.contains(" db\n");
        open().filter(|_| named)
    });
    by_name(&mut podman.reach("web"));
    // It ends, and whoever gets its address next gets nothing.
    podman.remove("db");
    let all = exits(&podman, "web");
    assert_eq!(all[0]["state"], "closed", "{all:?}");
    podman.airgap(&["detach", "web"]).expect_code(0);
    let left = hosts(&podman, "web");
    assert!(!left.contains(NAME) && !left.contains(" db\n"), "{left}");
}

#[test]
fn a_container_without_a_hosts_file_of_its_own_is_told() {
    let outside = Outside::new();
    let upstream = Upstream::beside(&outside.plan, PORT);
    upstream.says(NAME, Says::Addresses(vec![upstream.one.into()], 60));
    let podman = Podman::start(&outside);
    let host = podman.host();
    let _watch = Watch::start(&["--host", &host]);
    let dns = upstream.server.to_string();
    let fixed = ["run", "-d", "--name", "web", "--network", Podman::NETWORK];
    let options = ["--no-hosts", "--dns", &dns, "--stop-timeout", "0"];
    let command = [image::ensure(), "airgap-probe", "serve"];
    let words = [&fixed[..], &options, &command].concat();
    podman.podman(&words).expect_code(0);
    let to = format!("{NAME}:{PORT}");
    let out = podman.airgap(&["attach", "-d", "--to", &to, "web"]);
    assert!(
        out.stderr.contains("hosts") && out.stderr.contains("web"),
        "{}",
        out.describe()
    );
    // Its addresses are open all the same.
    let far = SocketAddr::new(upstream.one.into(), PORT).to_string();
    let mut reach = podman.reach("web");
    reach.does(&format!("tcp b {far}"));
    podman.airgap(&["detach", "web"]).expect_code(0);
}

/// An engine that ends and comes back: its containers with it, or, with live-restore, without.
fn over_the_death_of_an_engine(live_restore: bool) {
    let outside = Outside::new();
    let upstream = Upstream::beside(&outside.plan, PORT);
    upstream.says(NAME, Says::Addresses(vec![upstream.one.into()], 0));
    let mut engine = PrivateEngine::start(live_restore);
    let host = engine.host();
    let _watch = Watch::start(&["--host", &host]);
    let ours = |args: &[&str]| airgap(&[&["--host", host.as_str()], args].concat());
    let dns = upstream.server.to_string();
    let fixed = [
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "none",
        "--dns",
        &dns,
    ];
    let command = [image::ensure(), "airgap-probe", "serve"];
    let restart = ["--restart", "always"];
    let out = engine.docker(&[&fixed[..], &restart, &command].concat());
    let id = out.expect_code(0).stdout.trim().to_owned();
    let hosts = |engine: &PrivateEngine| {
        let text = engine.docker(&["exec", "web", "cat", "/etc/hosts"]).stdout;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let (named, mut others): (Vec<_>, Vec<_>) = lines
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .partition(|line| line.contains(NAME));
        others.sort_unstable();
        (named, others)
    };
    let (none, before) = hosts(&engine);
    assert!(none.is_empty() && !before.is_empty(), "{none:?} {before:?}");
    let to = format!("{NAME}:{PORT}");
    let out = ours(&["attach", "-d", "--to", &to, &id]);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    let named = |address: std::net::Ipv4Addr, named: &[String]| {
        named.len() == 1 && named[0].starts_with(&format!("{address} "))
    };
    let shown = |engine: &PrivateEngine, address| {
        wait::until("its line is there, once", ASKED_AGAIN, || {
            let (lines, others) = hosts(engine);
            (named(address, &lines) && others == before).then_some(())
        });
    };
    shown(&engine, upstream.one);
    engine.kill();
    let (old, new) = (upstream.one, upstream.two);
    // Nobody can ask the engine whose file it is: the address holds, and the seal with it.
    let status = ours(&["status", "--json", &id]);
    assert!(
        status.stdout.contains(&old.to_string()),
        "{}",
        status.describe()
    );
    engine.run();
    shown(&engine, old);
    // Whoever looks after names is back with it.
    upstream.says(NAME, Says::Addresses(vec![new.into()], 0));
    shown(&engine, new);
    ours(&["detach", &id]).expect_code(0);
    assert_eq!(hosts(&engine), (vec![], before));
}

#[test]
fn a_name_is_followed_over_the_death_of_its_engine() {
    over_the_death_of_an_engine(false);
}

#[test]
fn a_name_is_followed_over_the_death_of_an_engine_with_live_restore() {
    over_the_death_of_an_engine(true);
}
