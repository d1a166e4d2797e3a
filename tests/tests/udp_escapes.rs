//! Promise: UDP service ports open no way out: not for what the corpus of escapes has, and not to
//! where a service port would be lent to.

use airgap::technique::vector;
use airgap_tests::airgap::airgap;
use airgap_tests::bench::Bench;
use airgap_tests::reach::Reach;
use airgap_tests::techniques::{cgroup_level, frame_level};
use airgap_tests::udp::{PORT, World, refused};
use std::time::Duration;

/// As the service and the target of every technique: 5060, over both protocols.
const PORTS: [&str; 2] = ["-p", "5060,5060/udp,10000-10100/udp"];
const SHORT: Duration = Duration::from_millis(100);
/// The kernel delays reports of joins at random.
const JOIN: Duration = Duration::from_millis(1200);

/// The controls are those of `escape.rs`, which tries the same from an unsealed container. Here
/// the target is even a client that may ask, and has not.
#[test]
fn no_way_out_with_udp_ports() {
    let world = World::new();
    let web = world.sealed("sealed", &PORTS, &[]);
    let mut bench = Bench::new(&world.outside, &web);
    bench.clear();
    for way in cgroup_level() {
        let window = if way.vector == vector::JOINS {
            JOIN
        } else {
            SHORT
        };
        let attempt = bench.reach(way.name, way.reach, window);
        bench.no_frames(&format!("{} ({:?})", way.name, attempt.report));
        bench.ended_as(&attempt.report, way.sealed);
    }
    for way in frame_level() {
        let window = if way.vector == vector::JOINS {
            JOIN
        } else {
            SHORT
        };
        let attempt = bench.reach(way.name, way.reach, window);
        if let Some(reach) = attempt.reach {
            let leak = format!("LEAK {}: {reach:?} ({:?})", way.name, attempt.report);
            bench.problems.push(leak);
        }
    }
    bench.judge();
    assert!(refused(&web, "unasked") > 0, "a service port was tried");
}

#[test]
fn verify_proves_a_seal_with_udp_ports() {
    let world = World::new();
    for ports in [&PORTS[..], &["-p", "5060/udp"]] {
        let web = world.sealed("web", ports, &[]);
        let proof = airgap(&["verify", "--json", &web.name]);
        assert_eq!(proof.code, 0, "{}", proof.describe());
        let proof: serde_json::Value = serde_json::from_str(&proof.stdout).expect("JSON");
        assert_eq!(proof["verdict"], "PROVEN");
        let all = proof["techniques"].as_array().expect("a list");
        let by = |name: &str| {
            let found = all.iter().find(|tried| tried["technique"] == name);
            found.map(|tried| tried["by"].as_str().unwrap_or("?").to_owned())
        };
        // The target is no client.
        let expected = Some("sendmsg4: client".to_owned());
        assert_eq!(by("udp4-sport5060"), expected);
        assert_eq!(
            by("udp4-sport5060-connected"),
            Some("connect4: client".to_owned())
        );
    }
}

/// Who has asked one port lends it to nobody: not to where metadata are, not to a group, not to
/// a name server, nor by another socket of another kind.
#[test]
fn a_peer_lends_the_port_to_nobody_else() {
    let world = World::new();
    let web = world.sealed("web", &PORTS, &[]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("serve sip 4 {PORT}"));
    reach.does(&format!("serve six 6 {PORT}"));
    let asks = world.client("4");
    asks.say(&web, PORT, "hello");
    reach.does("hear sip");
    let plan = &world.outside.plan;
    for to in [
        "169.254.169.254:80".to_owned(),
        format!("169.254.169.254:{}", asks.at.port()),
        format!("{}:{}", plan.gateway4, asks.at.port()),
        format!("{}:{}", plan.host4, asks.at.port()),
        format!("{}:20000", plan.outside4),
        format!("{}:53", plan.outside4),
        format!("224.0.0.1:{}", asks.at.port()),
        format!("255.255.255.255:{}", asks.at.port()),
        "127.0.0.11:53".to_owned(),
    ] {
        reach.is_refused(&format!("to sip {to} lent"));
    }
    for to in [
        format!("[{}]:{}", plan.outside6, asks.at.port()),
        format!("[::ffff:{}]:20000", plan.outside4),
        format!("[ff02::1]:{}", asks.at.port()),
    ] {
        reach.is_refused(&format!("to six {to} lent"));
    }
    // TCP from the same port and to the same peer is none of it.
    reach.is_refused(&format!("from tcp {PORT} {}", asks.at));
    assert_eq!(asks.heard_nothing(), None);
    assert_eq!(world.outside.seen(), [], "nothing reached a server");
    reach.does(&format!("to sip {} answer", asks.at));
    assert_eq!(asks.hears(), Some(("answer".to_owned(), PORT)));
    world.nothing_else_left(&web, &[PORT]);
}
