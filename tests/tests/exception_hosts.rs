//! Promise: `--to NAME:PORT` leads to the addresses that a server gives for that name, asked by
//! airgap alone, and for as long as it does.

#[path = "exception_hosts/lives.rs"]
mod lives;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use airgap_tests::airgap::{airgap, airgap_ok, seal};
use airgap_tests::reach::Reach;
use airgap_tests::upstream::{Says, Upstream};
use airgap_tests::watch::Watch;
use airgap_tests::{Container, Outside, wait};
use serde_json::Value;

const PORT: u16 = 7443;
const NAME: &str = "api.example.com";
/// A server is asked again after half a minute at the soonest, whenever somebody looks.
const ASKED_AGAIN: Duration = Duration::from_secs(75);
/// Longer than the shortest hold.
const PAST_THE_HOLD: Duration = Duration::from_secs(90);

struct World {
    // First: it is undone before what it is beside.
    upstream: Upstream,
    outside: Outside,
}

impl World {
    fn new() -> Self {
        let outside = Outside::new();
        let upstream = Upstream::beside(&outside.plan, PORT);
        Self { upstream, outside }
    }

    /// A container whose server is the one beside the outside.
    fn container(&self, name: &str) -> Container {
        let server = self.upstream.server.to_string();
        let options = [
            "--dns",
            &server,
            "--sysctl",
            "net.ipv6.conf.all.disable_ipv6=0",
        ];
        self.outside.container(name).options(&options).run()
    }

    fn both(&self) -> Vec<IpAddr> {
        vec![self.upstream.one.into(), self.upstream.six.into()]
    }
}

fn at(address: impl Into<IpAddr>) -> String {
    SocketAddr::new(address.into(), PORT).to_string()
}

fn to(name: &str) -> String {
    format!("{name}:{PORT}")
}

#[track_caller]
fn exit(container: &Container) -> Value {
    let out = airgap(&["status", "--json", &container.id]);
    let report: Value =
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()));
    report["exits"][0].clone()
}

/// Addresses of the only exception, sorted.
#[track_caller]
fn addresses(container: &Container) -> Vec<String> {
    let row = exit(container);
    let all = row["addresses"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<_> = all
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    all.sort_unstable();
    all
}

fn texts(list: &[IpAddr]) -> Vec<String> {
    let mut texts: Vec<_> = list.iter().map(ToString::to_string).collect();
    texts.sort_unstable();
    texts
}

#[track_caller]
fn hosts(container: &Container) -> String {
    container.exec(&["cat", "/etc/hosts"]).stdout
}

#[test]
fn a_name_opens_its_addresses_and_no_question_leaves_the_container() {
    let world = World::new();
    let (web, other) = (world.container("web"), world.container("other"));
    let upstream = &world.upstream;
    upstream.says(NAME, Says::Addresses(world.both(), 60));
    let refused = airgap(&["attach", "-d", "--to", &to(NAME), &web.name]).expect_code(2);
    assert!(
        refused.stderr.contains("airgap keep"),
        "{}",
        refused.describe()
    );
    assert!(upstream.asked().is_empty(), "nobody was sealed");
    let _keeper = Watch::keeping();
    let sealed = seal(&web.name, &["--to", &to("API.example.com.")]);
    let line =
        format!("{NAME}:{PORT}/tcp  IN FORCE: anything over TCP on that port at the addresses");
    assert!(sealed.stdout.contains(&line), "{}", sealed.describe());
    assert!(sealed.stdout.contains("whoever else is served there"));
    airgap(&["status", &web.name]).expect_code(0);
    assert_eq!(addresses(&web), texts(&world.both()));
    // By both families, and by its name.
    let mut reach = Reach::new(&web);
    assert_eq!(
        reach.does(&format!("look {NAME}")),
        serde_json::json!(texts(&world.both()))
    );
    for (name, address) in [("a", at(upstream.one)), ("b", at(upstream.six))] {
        reach.does(&format!("tcp {name} {address}"));
        reach.does(&format!("send {name} hello"));
        assert_eq!(reach.does(&format!("receive {name}")), "hello");
    }
    reach.is_refused(&format!("tcp x {}", at(upstream.two)));
    reach.is_refused(&format!(
        "tcp x {}",
        SocketAddr::new(upstream.one.into(), PORT + 1)
    ));
    // What the container asks gets nowhere; what came upstream is ours.
    assert_eq!(reach.say("look www.example.com"), Err(libc::ENOENT));
    reach.is_refused(&format!(
        "tcp x {}",
        SocketAddr::new(upstream.server.into(), 53)
    ));
    let asked = upstream.asked();
    assert!(asked.len() >= 2, "{asked:?}");
    let own = [IpAddr::from(web.ip4()), other.ip4().into()];
    for one in &asked {
        assert!(one.name == NAME && !own.contains(&one.from.ip()), "{one:?}");
        // A header, the question, and EDNS without an option.
        assert_eq!(one.wire.len(), 12 + NAME.len() + 2 + 4 + 11, "{one:?}");
        assert_eq!(one.wire[2..12], [1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    }
    assert_ne!(asked[0].wire[..2], asked[1].wire[..2]);
    assert_ne!(asked[0].from.port(), asked[1].from.port());
    // Another seal has its own port of the same address.
    let udp = format!("{NAME}:{PORT}/udp");
    seal(&other.name, &["--to", &udp]);
    let mut others = Reach::new(&other);
    others.is_refused(&format!("tcp x {}", at(upstream.one)));
    others.does("udp d 4");
    others.does(&format!("to d {} datagram", at(upstream.one)));
    assert_eq!(others.does("receive d"), "datagram");
    // It goes as a whole.
    airgap_ok(&["disallow", "--to", &to(NAME), &web.name]);
    reach.is_refused(&format!("tcp x {}", at(upstream.one)));
    assert!(reach.say("send a x").is_err());
    assert!(!hosts(&web).contains(NAME));
    airgap_ok(&["detach", &other.name]);
    assert!(!hosts(&other).contains(NAME));
}

#[test]
fn what_a_server_says_is_taken_for_the_name_alone() {
    let world = World::new();
    let upstream = &world.upstream;
    let _keeper = Watch::keeping();
    let (one, two): (IpAddr, IpAddr) = (upstream.one.into(), upstream.two.into());
    let inside: IpAddr = world.outside.plan.gateway4.into();
    let bad = [
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "::1",
        "fe80::1",
        "64:ff9b::a00:1",
    ];
    let bad: Vec<IpAddr> = bad
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    upstream.says(
        "mixed.example.com",
        Says::Addresses([&bad[..], &[one, inside]].concat(), 60),
    );
    upstream.says("cdn.example.com", Says::Addresses(vec![two], 5));
    upstream.says(
        "whole.example.com",
        Says::Other {
            name: "cdn.example.com",
            whole: true,
        },
    );
    upstream.says(
        "part.example.com",
        Says::Other {
            name: "cdn.example.com",
            whole: false,
        },
    );
    upstream.says(
        "round.example.com",
        Says::Other {
            name: "round2.example.com",
            whole: false,
        },
    );
    upstream.says(
        "round2.example.com",
        Says::Other {
            name: "round.example.com",
            whole: false,
        },
    );
    upstream.says("long.example.com", Says::Long(vec![one, two]));
    upstream.says("failing.example.com", Says::Code(2));
    upstream.says("broken.example.com", Says::Broken);
    upstream.says("silent.example.com", Says::Silent);
    for (n, (name, wanted, told)) in [
        (
            "mixed.example.com",
            vec![one],
            "10.0.0.1 is in its answer, and is not let out to: private",
        ),
        ("whole.example.com", vec![two], ""),
        ("part.example.com", vec![two], ""),
        ("long.example.com", vec![one, two], ""),
        ("round.example.com", vec![], "one name after the other"),
        (
            "none.example.com",
            vec![],
            "says that there is no such name",
        ),
        ("failing.example.com", vec![], "failed, code 2"),
        ("broken.example.com", vec![], "broken.example.com"),
        ("silent.example.com", vec![], "silent.example.com"),
    ]
    .into_iter()
    .enumerate()
    {
        let web = world.container(&format!("web{n}"));
        let out = airgap(&["attach", "-d", "--to", &to(name), &web.name]);
        let code = if wanted.is_empty() { 4 } else { 0 };
        let out = out.expect_code(code);
        assert!(out.stderr.contains(told), "{}", out.describe());
        assert_eq!(addresses(&web), texts(&wanted), "{}", out.describe());
        let lines = hosts(&web);
        for address in &bad {
            let theirs = format!("{address} ");
            assert!(!lines.contains(&theirs) || address.is_loopback(), "{lines}");
        }
        assert_eq!(
            lines.matches(&format!(" {name}\n")).count(),
            wanted.len(),
            "{lines}"
        );
        // What the name stands for is none that it may look up, and sealed it is anyhow.
        let mut reach = Reach::new(&web);
        assert_eq!(reach.say("look cdn.example.com"), Err(libc::ENOENT));
        if wanted.is_empty() {
            reach.is_refused(&format!("tcp x {}", at(one)));
        }
    }
    // No server: sealed, said, and nobody else is asked.
    let nobody = world.outside.plan.outside4.octets();
    let nobody =
        std::net::Ipv4Addr::new(nobody[0], nobody[1], nobody[2], nobody[3] + 24).to_string();
    let web = world
        .outside
        .container("alone")
        .options(&["--dns", &nobody])
        .run();
    let before = upstream.asked().len();
    let out = airgap(&["attach", "-d", "--to", &to(NAME), &web.name]).expect_code(4);
    assert!(
        out.stdout.contains("no server has named an address"),
        "{}",
        out.describe()
    );
    assert!(out.stderr.contains(&nobody), "{}", out.describe());
    assert_eq!(upstream.asked().len(), before);
    // A wildcard is refused, and says why.
    let out = airgap(&["attach", "-d", "--to", "*.example.com:443", &web.name]).expect_code(2);
    assert!(out.stderr.contains("is a wildcard"), "{}", out.describe());
}

#[test]
fn an_address_that_left_its_name_holds_for_a_while() {
    let world = World::new();
    let upstream = &world.upstream;
    let web = world.container("web");
    let mut keeper = Watch::keeping();
    // It does not resolve yet: sealed first.
    let out = airgap(&["attach", "-d", "--to", &to(NAME), "--hold", "1m", &web.name]);
    out.expect_code(4);
    let (one, two): (IpAddr, IpAddr) = (upstream.one.into(), upstream.two.into());
    upstream.says(NAME, Says::Addresses(vec![one], 0));
    wait::until("it is asked for again", ASKED_AGAIN, || {
        (addresses(&web) == texts(&[one])).then_some(())
    });
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {}", at(one)));
    // It moves: the file has the new one alone, the old one still connects.
    upstream.says(NAME, Says::Addresses(vec![two], u32::MAX));
    wait::until("the new address is in the file", ASKED_AGAIN, || {
        hosts(&web).contains(&format!("{two} ")).then_some(())
    });
    assert_eq!(
        reach.does(&format!("look {NAME}")),
        serde_json::json!(texts(&[two]))
    );
    assert_eq!(addresses(&web), texts(&[one, two]));
    reach.does(&format!("tcp b {}", at(one)));
    reach.does(&format!("tcp c {}", at(two)));
    assert_eq!(exit(&web)["open_after_end"], Value::Null);
    wait::until("the old address is over", PAST_THE_HOLD, || {
        (addresses(&web) == texts(&[two])).then_some(())
    });
    reach.is_refused(&format!("tcp d {}", at(one)));
    // What is connected goes on, and is named.
    reach.does("send a hello");
    assert_eq!(reach.does("receive a"), "hello");
    assert_eq!(exit(&web)["open_after_end"], serde_json::json!([at(one)]));
    let status = airgap(&["status", &web.name]);
    let line = format!("still connected to {}: that goes on", at(one));
    assert!(status.stdout.contains(&line), "{}", status.describe());
    reach.does(&format!("tcp e {}", at(two)));
    // The keeper dies: all of it ends with its hold, and is open again without an attach.
    keeper.kill();
    wait::until("all is over", PAST_THE_HOLD, || {
        addresses(&web).is_empty().then_some(())
    });
    reach.is_refused(&format!("tcp f {}", at(two)));
    let row = exit(&web);
    assert_eq!(row["state"], "closed", "{row}");
    let why = row["why"].as_str().unwrap_or_default();
    assert!(why.contains("no server has named"), "{row}");
    airgap(&["status", &web.name]).expect_code(4);
    drop(keeper);
    let _keeper = Watch::keeping();
    wait::until("it is in force again", ASKED_AGAIN, || {
        (addresses(&web) == texts(&[two])).then_some(())
    });
    reach.does(&format!("tcp g {}", at(two)));
}
