//! Promise: `--to` opens what it names, for the sockets that ask for it, and nothing else.

#[path = "exceptions/beside.rs"]
mod beside;
#[path = "exceptions/counts.rs"]
mod counts;
#[path = "exceptions/paths.rs"]
mod paths;

use std::net::SocketAddr;
use std::time::Duration;

use airgap_tests::airgap::{airgap, seal};
use airgap_tests::reach::{Echo, Reach};
use airgap_tests::{Container, Outside, SERVICE_PORT, Seen, wait};
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
