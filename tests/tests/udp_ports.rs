//! Promise: a UDP service port answers who has asked there a moment ago, and sends to nobody else.

#[path = "udp_ports/peers.rs"]
mod peers;

use airgap_common::map::{UDP_PEER_LIFE, UDP_PEERS_PER_PREFIX};
use airgap_tests::Outside;
use airgap_tests::airgap::{airgap, seal};
use airgap_tests::reach::Reach;
use airgap_tests::udp::{PORT, World, refused};
use peers::Peers;

/// Another service port, of the range.
const MEDIA: u16 = 10_050;
const RANGE: &str = "10000-10100/udp";

#[test]
fn who_has_asked_is_answered_by_that_port_alone() {
    let world = World::new();
    let web = world.sealed("web", &["-p", "5060/udp", "-p", RANGE], &[]);
    let mut reach = Reach::new(&web);
    for version in ["4", "6"] {
        reach.does(&format!("serve sip{version} {version} {PORT}"));
        reach.does(&format!("serve media{version} {version} {MEDIA}"));
        let asks = world.client(version);
        let stranger = world.client(version);
        let (me, other) = (asks.at, stranger.at);
        // Nobody has asked yet.
        reach.is_refused(&format!("to sip{version} {me} early"));
        asks.say(&web, PORT, "hello");
        let heard = reach.does(&format!("hear sip{version}"));
        assert_eq!(heard["text"], "hello");
        assert_eq!(heard["from"], me.to_string());
        reach.does(&format!("to sip{version} {me} answer"));
        assert_eq!(asks.hears(), Some(("answer".to_owned(), PORT)));
        // As often as the service likes.
        reach.does(&format!("to sip{version} {me} again"));
        assert_eq!(asks.hears(), Some(("again".to_owned(), PORT)));
        // Not from another service port, nor from a port of no service, nor to his neighbour.
        reach.is_refused(&format!("to media{version} {me} media"));
        reach.does(&format!("udp other{version} {version}"));
        reach.is_refused(&format!("to other{version} {me} other"));
        reach.is_refused(&format!("to sip{version} {other} stranger"));
        reach.is_refused(&format!("peer sip{version} {other}"));
        asks.say(&web, MEDIA, "media");
        assert_eq!(reach.does(&format!("hear media{version}"))["text"], "media");
        reach.does(&format!("to media{version} {me} media"));
        assert_eq!(asks.hears(), Some(("media".to_owned(), MEDIA)));
        // A server makes a socket of its own for a client.
        reach.does(&format!("serve child{version} {version} {PORT}"));
        reach.does(&format!("peer child{version} {me}"));
        reach.does(&format!("send child{version} connected"));
        assert_eq!(asks.hears(), Some(("connected".to_owned(), PORT)));
        asks.say(&web, PORT, "more");
        assert_eq!(reach.does(&format!("receive child{version}")), "more");
        assert_eq!(stranger.heard_nothing(), None);
    }
    // Per version: early, media, and two of the stranger; one from no service port.
    assert_eq!(refused(&web, "unasked"), 8);
    assert_eq!(refused(&web, "egress"), 2);
    assert_eq!(refused(&web, "client"), 0);
    world.nothing_else_left(&web, &[PORT, MEDIA]);
}

#[test]
fn an_ipv6_socket_serves_ipv4_too() {
    let world = World::new();
    let web = world.sealed("web", &["-p", "5060/udp"], &[]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("serve sip 6 {PORT}"));
    let asks = world.client("4");
    asks.say(&web, PORT, "hello");
    let heard = reach.does("hear sip");
    let from = heard["from"].as_str().expect("an address").to_owned();
    assert!(from.starts_with("[::ffff:"), "{from}");
    reach.does(&format!("to sip {from} answer"));
    assert_eq!(asks.hears(), Some(("answer".to_owned(), PORT)));
    let stranger = from.rsplit_once(':').expect("a port").0.to_owned() + ":9";
    reach.is_refused(&format!("to sip {stranger} no"));
    reach.does(&format!("peer sip {from}"));
    reach.does("send sip connected");
    assert_eq!(asks.hears(), Some(("connected".to_owned(), PORT)));
    assert_eq!(refused(&web, "unasked"), 1);
}

#[test]
fn long_answers_leave_in_fragments() {
    let world = World::new();
    let web = world.sealed("web", &["-p", "5060/udp"], &[]);
    let mut reach = Reach::new(&web);
    for version in ["4", "6"] {
        reach.does(&format!("serve sip{version} {version} {PORT}"));
        let asks = world.client(version);
        let me = asks.at;
        // A question that comes in fragments is one. Over IPv6 the host's side lets them in only
        // by an interface of the host's own, as they could be anything: the outside is a veth.
        let length = if version == "4" { 4_000 } else { 1_000 };
        asks.say_bytes(&web, PORT, &vec![b'?'; length]);
        let heard = reach.does(&format!("hear sip{version}"));
        assert_eq!(heard["from"], me.to_string());
        for length in [1_400, 1_600, 4_000, 60_000] {
            reach.does(&format!("fill sip{version} {me} {length}"));
            assert_eq!(asks.hears_bytes(), Some(length), "IPv{version}");
        }
        let stranger = world.client(version).at;
        reach.is_refused(&format!("fill sip{version} {stranger} 4000"));
    }
    assert_eq!(refused(&web, "header") + refused(&web, "frame"), 0);
    world.nothing_else_left(&web, &[PORT]);
}

#[test]
fn who_is_not_in_from_is_not_heard() {
    let outside = Outside::new();
    let world = World { outside };
    let web = world.outside.container("web").run();
    let far = "2001:db8:ffff::/48";
    seal(&web.name, &["-p", "5060/udp", "--from", far]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("serve sip 4 {PORT}"));
    let asks = world.client("4");
    let before = refused(&web, "inbound");
    asks.say(&web, PORT, "hello");
    assert_eq!(reach.say("hear sip"), Err(libc::EAGAIN));
    reach.is_refused(&format!("to sip {} answer", asks.at));
    assert_eq!(refused(&web, "client"), 1);
    assert_eq!(refused(&web, "inbound"), before + 1);
    assert_eq!(asks.heard_nothing(), None);
    // The control: the same one, once it is let in.
    let v4 = world.outside.plan.outside4.to_string();
    seal(&web.name, &["--from", &v4]);
    asks.say(&web, PORT, "hello");
    reach.does("hear sip");
    reach.does(&format!("to sip {} answer", asks.at));
    assert_eq!(asks.hears(), Some(("answer".to_owned(), PORT)));
    // What is taken back ends at once, whoever has asked.
    seal(&web.name, &["--from", far]);
    reach.is_refused(&format!("to sip {} late", asks.at));
    seal(&web.name, &["--from", &v4, "-p", "5061/udp"]);
    reach.is_refused(&format!("to sip {} late", asks.at));
    assert_eq!(asks.heard_nothing(), None);
}

#[test]
fn who_has_asked_too_long_ago_is_not_answered() {
    let world = World::new();
    let web = world.sealed("web", &["-p", "5060/udp"], &[]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("serve sip 4 {PORT}"));
    let asks = world.client("4");
    let me = asks.at;
    asks.say(&web, PORT, "hello");
    reach.does("hear sip");
    reach.does(&format!("peer sip {me}"));
    let peers = Peers::of(&web);
    // As if it were a minute later, but for a second; what is sent does not count.
    peers.age(UDP_PEER_LIFE - 1_000_000_000);
    reach.does("send sip almost");
    assert_eq!(asks.hears(), Some(("almost".to_owned(), PORT)));
    assert_eq!(peers.count(), 1);
    peers.age(2_000_000_000);
    reach.is_refused("send sip late");
    assert_eq!(peers.count(), 0, "who is over is forgotten");
    reach.is_refused("send sip late");
    assert_eq!(refused(&web, "unasked"), 2);
    asks.say(&web, PORT, "again");
    assert_eq!(reach.does("receive sip"), "again");
    reach.does("send sip answer");
    assert_eq!(asks.hears(), Some(("answer".to_owned(), PORT)));
}

#[test]
fn a_flood_from_one_prefix_leaves_room_to_others() {
    let world = World::new();
    let web = world.sealed("web", &["-p", "5060/udp"], &[]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("serve sip4 4 {PORT}"));
    reach.does(&format!("serve sip6 6 {PORT}"));
    let early = world.client("4");
    early.say(&web, PORT, "early");
    reach.does("hear sip4");
    let limit = UDP_PEERS_PER_PREFIX as usize;
    let dropped = refused(&web, "inbound");
    world.flood(&web, PORT, limit + 500);
    let peers = Peers::of(&web);
    assert_eq!(peers.count(), limit);
    assert_eq!(
        refused(&web, "inbound"),
        dropped + 501,
        "the early one counts"
    );
    // Who was there stays, and another prefix is not concerned.
    early.say(&web, PORT, "still");
    reach.does(&format!("to sip4 {} answer", early.at));
    assert_eq!(early.hears(), Some(("answer".to_owned(), PORT)));
    let other = world.client("6");
    other.say(&web, PORT, "other");
    assert_eq!(reach.does("hear sip6")["text"], "other");
    reach.does(&format!("to sip6 {} answer", other.at));
    assert_eq!(other.hears(), Some(("answer".to_owned(), PORT)));
    // A minute later there is room again.
    peers.age(UDP_PEER_LIFE + 1);
    let late = world.client("4");
    late.say(&web, PORT, "late");
    reach.does(&format!("to sip4 {} answer", late.at));
    assert_eq!(late.hears(), Some(("answer".to_owned(), PORT)));
}

/// What a container could send to itself in somebody's name makes nobody a peer.
#[test]
fn the_container_makes_no_peers() {
    let world = World::new();
    let web = world.sealed("web", &["-p", "5060/udp"], &[]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("serve sip 4 {PORT}"));
    reach.does(&format!("serve six 6 {PORT}"));
    let (v4, v6) = (world.client("4").at, world.client("6").at);
    let (own4, own6) = (web.ip4(), web.ip6());
    for order in [
        format!("spoof {v4} {own4}:{PORT} forged"),
        format!("spoof {v4} 127.0.0.1:{PORT} forged"),
        format!("spoof {v6} [{own6}]:{PORT} forged"),
        format!("spoof {v6} [::1]:{PORT} forged"),
        format!("spoof {v4} 224.0.0.1:{PORT} forged"),
        format!("spoof {v4} 255.255.255.255:{PORT} forged"),
        format!("spoof {v6} [ff02::1]:{PORT} forged"),
    ] {
        drop(reach.say(&order));
    }
    assert_eq!(Peers::of(&web).count(), 0);
    reach.is_refused(&format!("to sip {v4} no"));
    reach.is_refused(&format!("to six {v6} no"));
    // Own datagrams on loopback are no business of it, and make no peers either.
    reach.does("udp near 4");
    for to in [format!("127.0.0.1:{PORT}"), format!("{own4}:{PORT}")] {
        reach.does(&format!("to near {to} near"));
        assert_eq!(reach.does("hear sip")["text"], "near");
    }
    assert_eq!(Peers::of(&web).count(), 0);
    // Nor does a service port lend its name to another source address.
    let asks = world.client("4");
    asks.say(&web, PORT, "hello");
    reach.does("hear sip");
    let foreign = world.outside.plan.gateway4;
    assert!(
        reach
            .say(&format!("spoof {foreign}:{PORT} {} forged", asks.at))
            .is_err()
    );
    assert_eq!(asks.heard_nothing(), None);
    reach.does(&format!("to sip {} answer", asks.at));
    assert_eq!(asks.hears(), Some(("answer".to_owned(), PORT)));
    world.nothing_else_left(&web, &[PORT]);
}

#[test]
fn a_restart_comes_up_with_the_same_ports() {
    let world = World::new();
    let web = world.sealed("web", &["-p", "5060/udp", "-p", RANGE], &[]);
    web.restart();
    let mut reach = Reach::new(&web);
    reach.does(&format!("serve sip 4 {PORT}"));
    let asks = world.client("4");
    reach.is_refused(&format!("to sip {} early", asks.at));
    asks.say(&web, PORT, "hello");
    reach.does("hear sip");
    reach.does(&format!("to sip {} answer", asks.at));
    assert_eq!(asks.hears(), Some(("answer".to_owned(), PORT)));
    let shown = airgap(&["status", "--json", &web.name]);
    assert!(
        shown.stdout.contains("10000-10100/udp"),
        "{}",
        shown.describe()
    );
}

#[test]
fn an_open_socket_serves_on_when_it_is_sealed() {
    let world = World::new();
    let web = world.outside.container("web").run();
    let mut reach = Reach::new(&web);
    reach.does(&format!("serve sip 4 {PORT}"));
    reach.does("udp other 4");
    let asks = world.client("4");
    reach.does(&format!("to other {} open", asks.at));
    assert!(asks.hears().is_some(), "the control: it is open");
    asks.say(&web, PORT, "before");
    reach.does("hear sip");
    world.seal(&web, &["-p", "5060/udp"]);
    // Who asked before the seal asks again.
    reach.is_refused(&format!("to sip {} early", asks.at));
    asks.say(&web, PORT, "after");
    reach.does("hear sip");
    reach.does(&format!("to sip {} answer", asks.at));
    assert_eq!(asks.hears(), Some(("answer".to_owned(), PORT)));
    reach.is_refused(&format!("to other {} late", asks.at));
}

#[test]
fn udp_ports_need_clients() {
    let world = World::new();
    let web = world.outside.container("web").run();
    let bare = airgap(&["attach", "-d", "-p", "5060/udp,80", &web.name]);
    assert_eq!(bare.code, 2, "{}", bare.describe());
    let command = format!("airgap attach -p 80/tcp,5060/udp --from CIDR {}", web.name);
    assert!(bare.stderr.contains(&command), "{}", bare.describe());
    let any = [
        "attach",
        "-d",
        "-p",
        "5060/udp",
        "--from",
        "0.0.0.0/0",
        &web.name,
    ];
    let refused_any = airgap(&any);
    assert_eq!(refused_any.code, 1, "{}", refused_any.describe());
    assert!(
        refused_any.stderr.contains("udp-any"),
        "{}",
        refused_any.describe()
    );
    let mut accepted = any.to_vec();
    accepted.splice(1..1, ["--accept", "udp-any"]);
    let sealed = airgap(&accepted);
    assert!(matches!(sealed.code, 0 | 4), "{}", sealed.describe());
    assert!(sealed.stdout.contains("udp-any"), "{}", sealed.describe());
    // TCP ports of such a seal are served to the same clients.
    let get = world.outside.get(web.ip4(), 80, "/");
    assert!(get.is_err(), "port 80 is no service port any more");
    // A renewal keeps the clients, so it need not name them.
    let more = airgap(&["attach", "-d", "-p", "5060-5061/udp", &web.name]);
    assert!(matches!(more.code, 0 | 4), "{}", more.describe());
}
