//! Promise: `--to` opens what it names, for the sockets that ask for it, and nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use airgap_tests::airgap::{airgap, seal};
use airgap_tests::bench::Bench;
use airgap_tests::image::Labelled;
use airgap_tests::kernel;
use airgap_tests::reach::{Echo, Reach};
use airgap_tests::session::Session;
use airgap_tests::watch::Watch;
use airgap_tests::{Container, Outside, SERVICE_PORT, Seen, techniques, wait};
use serde_json::Value;

/// Answers; allowed in most tests.
const PORT: u16 = 7443;
/// Recorded by the outside, and never allowed unless a test says so.
const OTHER: u16 = 20_000;

struct World {
    outside: Outside,
    _echo: Echo,
}

impl World {
    fn new() -> Self {
        let outside = Outside::new();
        let _echo = Echo::on(&outside.netns, PORT);
        Self { outside, _echo }
    }

    fn v4(&self, port: u16) -> String {
        SocketAddr::new(self.outside.plan.outside4.into(), port).to_string()
    }

    fn v6(&self, port: u16) -> String {
        SocketAddr::new(self.outside.plan.outside6.into(), port).to_string()
    }

    /// Runs a container, sealed with these options and whatever comes with them.
    #[track_caller]
    fn sealed(&self, name: &str, options: &[&str]) -> Container {
        let container = self.outside.container(name).run();
        seal(&container.name, options);
        container
    }

    /// Connections of the far side, on its port, in a state by the kernel's number.
    fn connections(&self, state: &str) -> usize {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        let text = self.outside.netns.run(|| ["tcp", "tcp6"].map(read));
        let text = text.map(|text| text.expect("a list")).join("");
        let port = format!(":{PORT:04X}");
        let there = |line: &&str| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|own| own.ends_with(&port))
                && fields.nth(1).is_some_and(|found| found == state)
        };
        text.lines().filter(there).count()
    }

    /// Those that it has closed, and whose end was not acknowledged.
    fn waiting_for_the_last_ack(&self) -> usize {
        self.connections("09")
    }

    /// Those that it believes to be open.
    fn established(&self) -> usize {
        self.connections("01")
    }

    /// Nothing of the container is on the wire but answers of the service, and what goes
    /// to a port that was allowed.
    #[track_caller]
    fn nothing_else_left(&self, allowed: &[u16]) {
        let left = self.outside.arrivals();
        let strange = left.iter().find(|frame| {
            let fine = |(from, to)| from == SERVICE_PORT || allowed.contains(&to);
            !frame.ports().is_some_and(fine)
        });
        assert!(strange.is_none(), "{strange:?}");
    }
}

#[track_caller]
fn status(container: &Container) -> Value {
    let out = airgap(&["status", "--json", &container.id]);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
}

#[track_caller]
fn refused(container: &Container, reason: &str) -> u64 {
    let report = status(container);
    let reasons = report["denials"]["by_reason"].as_array().cloned();
    let found = reasons.into_iter().flatten().find(|r| r[0] == reason);
    found.and_then(|r| r[1].as_u64()).unwrap_or(0)
}

/// Sends and gets it back.
#[track_caller]
fn echoes(reach: &mut Reach, name: &str, text: &str) {
    reach.does(&format!("send {name} {text}"));
    assert_eq!(reach.does(&format!("receive {name}")), text);
}

#[test]
fn an_address_and_port_open_and_nothing_beside_them() {
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let web = world.sealed("web", &["--to", &v4, "--to", &v6]);
    let other = world.sealed("other", &[]);
    world.outside.clear();
    let mut reach = Reach::new(&web);
    for (name, to) in [
        ("a", &v4),
        ("b", &v6),
        (
            "c",
            &format!("[::ffff:{}]:{PORT}", world.outside.plan.outside4),
        ),
    ] {
        reach.does(&format!("tcp {name} {to}"));
        echoes(&mut reach, name, "hello");
    }
    for to in [world.v4(OTHER), world.v6(OTHER), world.v4(80), world.v4(53)] {
        reach.is_refused(&format!("tcp x {to}"));
    }
    reach.does("udp d 4");
    reach.does("udp e 6");
    reach.is_refused(&format!("to d {v4} datagram"));
    reach.is_refused(&format!("to e {v6} datagram"));
    reach.is_refused(&format!("peer d {v4}"));
    let near = format!("{}:{PORT}", world.outside.plan.host4);
    reach.is_refused(&format!("tcp x {near}"));
    assert_eq!(refused(&web, "exit-port"), 7, "{}", status(&web));
    assert_eq!(refused(&web, "egress"), 1);
    // Another container has none of it.
    let mut others = Reach::new(&other);
    others.is_refused(&format!("tcp x {v4}"));
    assert_eq!(refused(&other, "egress"), 1);
    // The service answers all the while.
    for address in [std::net::IpAddr::from(web.ip4()), web.ip6().into()] {
        let got = world.outside.get(address, SERVICE_PORT, "/still");
        assert_eq!(got.expect("served"), b"/still");
    }
    // Closed by both sides: nothing is left over to be refused.
    for name in ["a", "b", "c"] {
        reach.does(&format!("close {name}"));
    }
    // The last ACK is the kernel's, of a connection that has no socket any more.
    wait::until("the far side is done, too", wait::SOON, || {
        (world.waiting_for_the_last_ack() == 0).then_some(())
    });
    world.nothing_else_left(&[PORT]);
    assert!(
        world.outside.seen().is_empty(),
        "{:?}",
        world.outside.seen()
    );
}

#[test]
fn datagrams_go_where_the_exception_leads_and_answers_come_back() {
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let web = world.sealed(
        "web",
        &["--to", &format!("{v4}/udp"), "--to", &format!("{v6}/udp")],
    );
    world.outside.clear();
    let mut reach = Reach::new(&web);
    for (version, to) in [("4", &v4), ("6", &v6)] {
        reach.does(&format!("udp free {version}"));
        reach.does(&format!("to free {to} hello"));
        assert_eq!(reach.does("receive free"), "hello", "{to}");
        let elsewhere = if version == "4" {
            world.v4(OTHER)
        } else {
            world.v6(OTHER)
        };
        reach.is_refused(&format!("to free {elsewhere} elsewhere"));
        reach.does(&format!("udp tied {version}"));
        reach.does(&format!("peer tied {to}"));
        echoes(&mut reach, "tied", "again");
        reach.is_refused(&format!("to tied {elsewhere} elsewhere"));
        echoes(&mut reach, "tied", "still");
        reach.is_refused(&format!("tcp x {to}"));
    }
    // What does not fit into one packet stays at the veth.
    reach.does("udp large 4");
    reach.does(&format!("to large {v4} {}", "x".repeat(2000)));
    assert_eq!(reach.say("receive large"), Err(libc::EAGAIN));
    assert!(refused(&web, "header") > 0, "{}", status(&web));
    // A datagram of the far side's own accord reaches nobody.
    let port = reach.does("udp waits 4").as_u64().expect("a port");
    let at = SocketAddr::new(web.ip4().into(), u16::try_from(port).expect("a port"));
    world.outside.netns.run(|| {
        let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).expect("bind");
        socket.send_to(b"uninvited", at).expect("send");
    });
    assert_eq!(reach.say("receive waits"), Err(libc::EAGAIN));
    assert!(refused(&web, "inbound") > 0, "{}", status(&web));
    world.nothing_else_left(&[PORT]);
    assert!(
        world.outside.seen().is_empty(),
        "{:?}",
        world.outside.seen()
    );
}

#[test]
fn nothing_carries_an_exception_further() {
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let both = [
        v4.clone(),
        v6.clone(),
        format!("{v4}/udp"),
        format!("{v6}/udp"),
    ];
    let options: Vec<&str> = both.iter().flat_map(|to| ["--to", to.as_str()]).collect();
    let web = world.sealed("web", &options);
    let mut reach = Reach::new(&web);
    // Control: the same, without tricks, arrives.
    reach.does(&format!("tcp control {v4}"));
    echoes(&mut reach, "control", "control");
    world.outside.clear();
    // Disconnected, then a listener on a port that is not served.
    reach.does("bare turned 4");
    reach.does(&format!("connect turned {v4}"));
    reach.does("disconnect turned");
    reach.does("listen turned 6000");
    let at = SocketAddr::new(web.ip4().into(), 6000);
    let took = world
        .outside
        .netns
        .run(|| std::net::TcpStream::connect_timeout(&at, Duration::from_millis(1500)).is_ok());
    assert!(!took, "a turned listener answered a stranger");
    // The tag goes with the next connect.
    reach.does("bare again 4");
    reach.does(&format!("connect again {v4}"));
    reach.does("disconnect again");
    reach.is_refused(&format!("connect again {}", world.v4(OTHER)));
    // MPTCP is refused where it is asked for; raw sockets are, too.
    assert!(reach.say(&format!("mptcp m {v4}")).is_err());
    // Over loopback's device nothing comes out.
    assert!(reach.say(&format!("device lo lo {v4}")).is_err());
    reach.does(&format!("device eth eth0 {v4}"));
    echoes(&mut reach, "eth", "bound");
    // Under another's address the far side would answer to him.
    let stranger6 = "[2001:db8:ffff::66]:4000";
    assert!(reach.say(&format!("as s {stranger6} {v6}")).is_err());
    assert!(
        reach
            .say("as t 198.51.100.250:4000 {}".replace("{}", &v4).as_str())
            .is_err()
    );
    reach.is_refused(&format!("spoof {stranger6} {v6} spoofed"));
    assert!(
        reach
            .say(&format!("spoof 198.51.100.250:4000 {v4} spoofed"))
            .is_err()
    );
    let arrivals = world.outside.arrivals();
    let own = [std::net::IpAddr::from(web.ip4()), web.ip6().into()];
    let forged = arrivals.iter().find(|frame| {
        !frame.ip().is_some_and(|ip| own.contains(&ip.source))
            && frame.ports().is_some_and(|(_, to)| to == PORT)
    });
    assert!(forged.is_none(), "{forged:?}");
    // Out of the service port: the service goes on.
    reach.does(&format!("from own {SERVICE_PORT} {v4}"));
    echoes(&mut reach, "own", "from");
    world
        .outside
        .get(web.ip4(), SERVICE_PORT, "/")
        .expect("served");
    world.nothing_else_left(&[PORT]);
}

#[test]
fn what_is_removed_is_cut_and_what_stays_goes_on() {
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let web = world.sealed("web", &["--to", &v4, "--to", &v6]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp four {v4}"));
    reach.does(&format!("tcp six {v6}"));
    // One more, and the same again: nothing is cut.
    seal(
        &web.name,
        &["--to", &v4, "--to", &v6, "--to", &world.v4(OTHER)],
    );
    seal(&web.name, &[]);
    echoes(&mut reach, "four", "on");
    echoes(&mut reach, "six", "on");
    reach.does(&format!("tcp more {}", world.v4(OTHER)));
    seal(&web.name, &["--to", &v6]);
    let cut = wait::within(wait::SOON, || reach.say("send four gone").err());
    assert!(cut.is_some(), "a connection outlived its exception");
    assert!(reach.say("send more gone").is_err());
    echoes(&mut reach, "six", "on");
    reach.is_refused(&format!("tcp x {v4}"));
    let streams = world.outside.seen();
    let leak = streams
        .iter()
        .find(|seen| matches!(seen, Seen::Stream { .. }));
    assert!(leak.is_none(), "{leak:?}");
}

#[test]
fn what_is_allowed_for_a_time_ends_by_itself() {
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let udp = format!("{v4}/udp");
    let web = world.sealed("web", &["--to", &v6]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp stays {v6}"));
    reach.is_refused(&format!("tcp x {v4}"));
    let allowed = airgap(&[
        "allow",
        &web.name,
        "--to",
        &v4,
        "--to",
        &udp,
        "--for",
        "6s",
        "--reason",
        "ticket 42",
    ]);
    assert!(matches!(allowed.code, 0 | 4), "{}", allowed.describe());
    assert!(
        allowed.stdout.contains("ticket 42"),
        "{}",
        allowed.describe()
    );
    reach.does(&format!("tcp open {v4}"));
    reach.does("udp datagrams 4");
    reach.does(&format!("peer datagrams {v4}"));
    echoes(&mut reach, "datagrams", "one");
    let record = std::fs::read_to_string(format!(
        "{}/seals/{}.json",
        airgap_tests::airgap::STATE,
        web.id
    ));
    let record = record.expect("a record");
    assert!(
        record.contains("boottime") && record.contains("ticket 42"),
        "{record}"
    );
    // Nobody is there to end it.
    wait::until("the exception is over", wait::SOON, || {
        (reach.say(&format!("tcp new {v4}")) == Err(kernel::refused())).then_some(())
    });
    echoes(&mut reach, "open", "goes-on");
    reach.is_refused("send datagrams late");
    echoes(&mut reach, "stays", "goes-on");
    assert_eq!(refused(&web, "exit-lapsed"), 2, "{}", status(&web));
    let report = status(&web);
    let exits = report["exits"].as_array().cloned().unwrap_or_default();
    let states: Vec<_> = exits.iter().map(|exit| exit["state"].clone()).collect();
    assert_eq!(states, ["in-force", "ended", "ended"], "{report:#}");
    assert_eq!(exits[1]["refused_after_end"], 1, "{report:#}");
    assert_eq!(exits[2]["refused_after_end"], 1, "{report:#}");
    // Over as it was written: nothing is wrong.
    let text = airgap(&["status", &web.name]);
    assert!(
        !text.stdout.contains("EXCEPTION CLOSED"),
        "{}",
        text.describe()
    );
    assert!(text.stdout.contains("ENDED"), "{}", text.describe());
    // Allowed anew, with another time, it is in force again; taken back, it cuts.
    airgap(&["allow", &web.name, "--to", &v4]);
    reach.does(&format!("tcp again {v4}"));
    let gone = airgap(&["disallow", &web.name, "--to", &v4]);
    assert!(matches!(gone.code, 0 | 4), "{}", gone.describe());
    for name in ["open", "again"] {
        let cut = wait::within(wait::SOON, || reach.say(&format!("send {name} x")).err());
        assert!(cut.is_some(), "{name} outlived its exception");
    }
    reach.is_refused(&format!("tcp x {v4}"));
    echoes(&mut reach, "stays", "goes-on");
    let unknown = airgap(&["disallow", &web.name, "--to", &v4]).expect_code(2);
    assert!(unknown.stderr.contains(&v6), "{}", unknown.describe());
    wait::until("the far side hears of the end", wait::SOON, || {
        (world.established() == 1).then_some(())
    });
    airgap(&["disallow", &web.name, "--all"]);
    reach.is_refused(&format!("tcp x {v6}"));
    wait::until("the far side hears of the end", wait::SOON, || {
        (world.established() == 0).then_some(())
    });
    // The seal's own work is no attempt of the container's.
    assert_eq!(refused(&web, "stale-provenance"), 0, "{}", status(&web));
}

#[test]
fn every_use_is_counted_exactly() {
    const COUNT: u64 = 20_000;
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(OTHER));
    let web = world.sealed("web", &["--to", &v4, "--to", &format!("{v6}/udp")]);
    let mut reach = Reach::new(&web);
    for n in 0..25 {
        reach.does(&format!("tcp c{n} {v4}"));
        echoes(&mut reach, &format!("c{n}"), "12345");
        reach.does(&format!("close c{n}"));
    }
    // Questions go where an exception for port 53 leads.
    let dns = format!("{}/udp", world.v4(53));
    airgap(&["allow", &web.name, "--to", &dns]);
    reach.does("udp asks 4");
    reach.does(&format!("to asks {} question", world.v4(53)));
    airgap(&["disallow", &web.name, "--to", &dns]);
    reach.is_refused(&format!("to asks {} question", world.v4(53)));
    assert!(refused(&web, "dns") > 0, "{}", status(&web));
    reach.does("udp many 6");
    reach.does(&format!("many many {v6} {COUNT}"));
    let report = status(&web);
    let exits = &report["exits"];
    assert_eq!(exits[0]["connections"], 25, "{report:#}");
    assert_eq!(exits[0]["bytes_out"], 125, "{report:#}");
    assert_eq!(exits[0]["bytes_in"], 125, "{report:#}");
    assert_eq!(exits[1]["packets_out"], COUNT, "{report:#}");
    assert_eq!(exits[1]["bytes_out"], 10 * COUNT, "{report:#}");
    assert_eq!(exits[1]["packets_in"], 0, "{report:#}");
    assert_eq!(exits[1]["connections"], 0, "{report:#}");
    assert!(exits[1]["last_used"].as_u64() > Some(0), "{report:#}");
    // The same for an auditor and a scraper.
    let document = airgap(&["report", "--json", &web.name]);
    let document: Value = serde_json::from_str(&document.stdout).expect("JSON");
    assert_eq!(document["status"]["exits"], *exits, "{document:#}");
    let schema = airgap_tests::airgap_ok(&["schema", "report"]).stdout;
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let violations = airgap_tests::schema::violations(&schema, &document);
    assert!(violations.is_empty(), "{violations:#?}");
    // A renewal counts on.
    seal(&web.name, &[]);
    assert_eq!(status(&web)["exits"][1]["packets_out"], COUNT);
    // What is counted is what left.
    let sent = wait::within(wait::SOON, || {
        let seen = world.outside.seen();
        let came = seen
            .iter()
            .filter(|s| matches!(s, Seen::Datagram { port: OTHER, .. }));
        (came.count() as u64 == COUNT).then_some(())
    });
    if sent.is_none() {
        // The receiver's own buffer may be full: never more than were counted.
        let seen = world.outside.seen();
        assert!((seen.len() as u64) < COUNT);
    }
}

/// From two processes at once, so that processors meet in one count.
#[test]
fn a_million_datagrams_are_a_million() {
    const EACH: u64 = 500_000;
    /// Nobody listens there.
    const NOBODY: u16 = 7444;
    let outside = Outside::unrecorded();
    let to = [outside.plan.outside4.into(), outside.plan.outside6.into()];
    let to = to.map(|ip| SocketAddr::new(ip, NOBODY).to_string());
    let web = outside.container("web").run();
    let exits = to.clone().map(|to| format!("{to}/udp"));
    seal(&web.name, &["--to", &exits[0], "--to", &exits[1]]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut reach = Reach::new(&web);
                for (version, to) in [("4", &to[0]), ("6", &to[1])] {
                    reach.does(&format!("udp {version} {version}"));
                    reach.does(&format!("many {version} {to} {}", EACH / 2));
                }
            });
        }
    });
    let report = status(&web);
    for exit in [0, 1] {
        let used = &report["exits"][exit];
        assert_eq!(used["packets_out"], EACH, "{report:#}");
        assert_eq!(used["bytes_out"], 10 * EACH, "{report:#}");
    }
}

#[test]
fn an_exception_outlives_processes_restarts_and_the_kernel_side() {
    let world = World::new();
    let v4 = world.v4(PORT);
    let web = world.sealed("web", &["--to", &v4]);
    airgap(&["allow", &web.name, "--to", &world.v6(PORT), "--for", "1h"]);
    web.restart();
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {v4}"));
    echoes(&mut reach, "a", "restarted");
    reach.does(&format!("tcp b {}", world.v6(PORT)));
    reach.is_refused(&format!("tcp x {}", world.v4(OTHER)));
    // As a reboot leaves it: the record alone, of another boot.
    let path = format!("{}/seals/{}.json", airgap_tests::airgap::STATE, web.id);
    let text = std::fs::read_to_string(&path).expect("a record");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot_id");
    let other = text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
    assert_ne!(text, other, "the boot is recorded");
    std::fs::write(&path, other).expect("write");
    airgap_tests::cmd::ok(&format!(
        "rm -r /sys/fs/bpf/airgap/v{}",
        airgap_common::ABI_VERSION
    ));
    wait::until("the kernel side is gone", wait::SOON, || {
        reach.say(&format!("tcp open {}", world.v4(OTHER))).ok()
    });
    airgap_tests::airgap_ok(&["restore"]);
    reach.does(&format!("tcp c {v4}"));
    echoes(&mut reach, "c", "restored");
    reach.is_refused(&format!("tcp x {}", world.v6(PORT)));
    reach.is_refused(&format!("tcp x {}", world.v4(OTHER)));
    let report = status(&web);
    assert_eq!(
        report["exits"].as_array().map(Vec::len),
        Some(1),
        "{report:#}"
    );
    // One that is recorded and not in force is told, until it is.
    let text = std::fs::read_to_string(&path).expect("a record");
    let more = format!("\"to\":[{{\"to\":\"{}/tcp\"}},", world.v4(OTHER));
    std::fs::write(&path, text.replace("\"to\":[", &more)).expect("write");
    let out = airgap(&["status", &web.name]).expect_code(4);
    assert!(
        out.stdout.contains("EXCEPTION CLOSED"),
        "{}",
        out.describe()
    );
    assert_eq!(status(&web)["exits"][1]["state"], "closed");
    airgap_tests::airgap_ok(&["restore"]);
    reach.does(&format!("tcp d {}", world.v4(OTHER)));
    assert_eq!(status(&web)["exits"][1]["state"], "in-force");
}

#[test]
fn overlapping_prefixes_hide_nothing_and_families_are_apart() {
    let world = World::new();
    let out = world.outside.plan.outside4;
    let wide = format!("{out}/31:{OTHER}");
    let (v6, four) = (world.v6(PORT), world.v4(PORT));
    let web = world.sealed("web", &["--to", &wide, "--to", &four]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {four}"));
    reach.does(&format!("tcp b {}", world.v4(OTHER)));
    reach.is_refused(&format!("tcp x {v6}"));
    // All of IPv6 is none of IPv4.
    let all = format!("[::/0]:{PORT}");
    let refusal = airgap(&["attach", "-d", "--to", &all, &web.name]).expect_code(1);
    assert!(
        refusal.stderr.contains("wide-exception"),
        "{}",
        refusal.describe()
    );
    reach.does(&format!("tcp c {four}"));
    seal(
        &web.name,
        &[
            "--to",
            &all,
            "--accept",
            "wide-exception",
            "--accept",
            "host-exit",
        ],
    );
    reach.does(&format!("tcp d {v6}"));
    reach.is_refused(&format!("tcp x {four}"));
}

#[test]
fn what_is_near_is_accepted_by_name_and_what_is_wrong_changes_nothing() {
    let world = World::new();
    let plan = world.outside.plan.clone();
    let web = world.outside.container("web").run();
    for (to, what) in [
        (format!("{}:80", plan.gateway4), "host-exit"),
        (format!("{}:80", plan.host4), "host-exit"),
        (format!("{}:80", plan.net4), "host-exit"),
        ("169.254.169.254:80".to_owned(), "host-exit"),
        ("10.0.0.0/8:80".to_owned(), "wide-exception"),
    ] {
        let out = airgap(&["attach", "-d", "--to", &to, &web.name]).expect_code(1);
        assert!(out.stderr.contains(what), "{to}: {}", out.describe());
    }
    for (to, hint) in [
        ("198.51.100.10/32", ":443"),
        ("198.51.100.10/24:443", "198.51.100.0/24"),
        ("198.51.100.10:0", "port 0"),
        ("198.51.100.10:443-80", "80-443"),
        ("198.51.100.10:443/icmp", "PORT/udp"),
        ("", "198.51.100.10:443"),
        ("a b", "blank"),
        ("https://x", "URL"),
        ("127.0.0.0/8:80", "loopback"),
        ("224.0.0.0/4:80/udp", "multicast"),
    ] {
        let out = airgap(&["attach", "-d", "--to", to, &web.name]).expect_code(2);
        assert!(out.stderr.contains(hint), "{to}: {}", out.describe());
    }
    let allow = ["allow", web.name.as_str(), "--to", "198.51.100.10:443"];
    let out = airgap(&allow).expect_code(3);
    assert!(out.stderr.contains("not sealed"), "{}", out.describe());
    assert!(
        airgap(&["list", "--json"])
            .stdout
            .contains("\"containers\":[]")
    );
    // One neighbour is nobody else.
    let neighbour = format!("{}:{PORT}", world.outside.container("db").run().ip4());
    seal(&web.name, &["--to", &neighbour]);
    assert_eq!(status(&web)["accepted"], serde_json::json!([]));
}

#[test]
fn verify_tries_what_no_exception_leads_to() {
    let world = World::new();
    let web = world.sealed(
        "web",
        &["--to", &world.v4(PORT), "--to", "198.51.100.240/28:*"],
    );
    let out = airgap(&["verify", "--json", &web.name]).expect_code(0);
    let proof: Value = serde_json::from_str(&out.stdout).expect("JSON");
    assert_eq!(proof["verdict"], "PROVEN", "{proof:#}");
    let accept = ["--accept", "wide-exception", "--accept", "host-exit"];
    seal(
        &web.name,
        &[&["--to", "[2001:db8::/32]:*"], &accept[..]].concat(),
    );
    let out = airgap(&["verify", "--json", &web.name]).expect_code(4);
    assert!(out.stderr.contains("UNKNOWN"), "{}", out.describe());
}

/// The whole corpus, from a container that has exceptions for other ports of the target.
#[test]
fn no_way_out_beside_an_exception() {
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let both = [
        v4.clone(),
        v6.clone(),
        format!("{v4}/udp"),
        format!("{v6}/udp"),
    ];
    let options: Vec<&str> = both.iter().flat_map(|to| ["--to", to.as_str()]).collect();
    let web = world.sealed("web", &options);
    let mut reach = Reach::new(&web);
    // Control: the exceptions are in force.
    reach.does(&format!("tcp a {v4}"));
    reach.does(&format!("tcp b {v6}"));
    let mut bench = Bench::new(&world.outside, &web);
    bench.clear();
    let mut leaks = Vec::new();
    for way in techniques::cgroup_level().chain(techniques::frame_level()) {
        let attempt = bench.reach(way.name, way.reach, Duration::from_millis(100));
        if attempt.reach.is_some() {
            leaks.push(format!("{}: {attempt:?}", way.name));
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
    echoes(&mut reach, "a", "still");
}

/// What merely looks like what an exception allows: frames and packets that no socket of the
/// container's own sends to the far side, and datagrams where connections are allowed.
#[test]
fn what_looks_like_an_exception_is_none() {
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let web = world.sealed("web", &["--to", &v4, "--to", &v6]);
    let mut session = Session::new(&web);
    // Control: a connection that asks for it carries its marker out.
    let order = web.order("tcp4", PORT, "agxcontrol");
    session.attempt(&order);
    let left = world.outside.arrivals();
    assert!(left.iter().any(|frame| frame.contains("agxcontrol")));
    world.outside.clear();
    let forged = techniques::all().filter(|way| {
        let name = way.name;
        let other = [
            "raw",
            "packet",
            "udp",
            "xdp",
            "uring-raw",
            "uring-udp",
            "lo-",
            "ping",
        ];
        other.iter().any(|start| name.starts_with(start)) && !name.ends_with("tcp4")
    });
    let mut tried = 0;
    for way in forged {
        session.attempt(&web.order(way.name, PORT, "agxforged"));
        tried += 1;
    }
    assert!(tried > 60, "{tried}");
    let left = world.outside.arrivals();
    let leak = left
        .iter()
        .find(|frame| frame.contains("agxforged") || frame.ip().is_some_and(|ip| ip.protocol != 6));
    assert!(leak.is_none(), "{leak:?}");
}

/// Only the operator's words are an exception; what a label must have accepted and has not is
/// none either.
#[test]
fn labels_open_what_the_operator_said_and_no_image_does() {
    let world = World::new();
    let to = format!("airgap.to={}", world.v4(PORT));
    let image = Labelled::new(&[&to]);
    let seal = ["--label", "airgap.seal=true"];
    let by_image = world.outside.container("image").image(&image.reference);
    let by_image = by_image.options(&seal).run();
    let more = format!("{to},{},169.254.169.254:80", world.v6(PORT));
    let caller = world.outside.container("caller").options(&seal);
    let caller = caller.options(&["--label", &more]).run();
    let watch = Watch::start(&[]);
    let sealed = |container: &Container| {
        wait::until("it is sealed by its label", wait::SOON, || {
            let out = airgap(&["status", "--json", &container.id]);
            let json: Option<Value> = serde_json::from_str(&out.stdout).ok();
            json.filter(|_| matches!(out.code, 0 | 4))
        })
    };
    let report = sealed(&by_image);
    assert!(report["exits"].is_null(), "{report:#}");
    assert!(
        report["labels_ignored"].to_string().contains(&to),
        "{report:#}"
    );
    let mut reach = Reach::new(&by_image);
    reach.is_refused(&format!("tcp a {}", world.v4(PORT)));
    let report = sealed(&caller);
    assert_eq!(
        report["exits"].as_array().map(Vec::len),
        Some(2),
        "{report:#}"
    );
    assert!(
        report["labels_ignored"].to_string().contains("host-exit"),
        "{report:#}"
    );
    let mut reach = Reach::new(&caller);
    reach.does(&format!("tcp a {}", world.v4(PORT)));
    reach.does(&format!("tcp b {}", world.v6(PORT)));
    // By hand, beside the label: neither watch nor a restart takes it back.
    airgap(&["allow", &caller.name, "--to", &world.v4(OTHER)]);
    caller.restart();
    drop(watch);
    let _watch = Watch::start(&[]);
    let report = sealed(&caller);
    assert_eq!(
        report["exits"].as_array().map(Vec::len),
        Some(3),
        "{report:#}"
    );
    let mut reach = Reach::new(&caller);
    reach.does(&format!("tcp a {}", world.v4(OTHER)));
    airgap_tests::airgap_ok(&["detach", "--all"]);
}
