//! Promise: real services over UDP work under a seal, and what else they say does not leave. They
//! are the host's own programs, in a container.

use airgap_tests::container::PROGRAMS;
use airgap_tests::udp::{Client, PORT, World, refused};
use airgap_tests::{Container, Frame, Seen, wait};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

const DNS: u16 = 53;
const MEDIA: u16 = 10_000;

#[track_caller]
fn runs(world: &World, name: &str, command: &[&str]) -> Container {
    let program = command[0];
    assert!(
        std::path::Path::new(program).exists(),
        "{program}: cargo xtask setup"
    );
    world
        .outside
        .container(name)
        .options(&PROGRAMS)
        .command(command)
        .run()
}

fn dnsmasq(world: &World, name: &str) -> Container {
    let upstream = format!("--server={}", world.outside.plan.outside4);
    // Together more than a link's MTU.
    let long = format!(
        "--txt-record=long.example{}",
        format!(",{}", "x".repeat(250)).repeat(12)
    );
    let command = [
        "/usr/sbin/dnsmasq",
        "--keep-in-foreground",
        "--user=root",
        "--group=root",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--log-facility=-",
        "--no-hosts",
        "--no-resolv",
        "--edns-packet-max=4096",
        "--address=/sealed.example/198.51.100.77",
        &upstream,
        &long,
    ];
    let container = runs(world, name, &command);
    wait::until("dnsmasq answers", wait::SOON, || {
        let asks = world.client("4");
        ask(&asks, &container, "sealed.example", 1).map(drop)
    });
    container
}

/// The answer to a question (RFC 1035 §4), with room for 4,096 bytes.
fn ask(client: &Client, server: &Container, name: &str, kind: u8) -> Option<Vec<u8>> {
    let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).expect("short"));
        question.extend(label.bytes());
    }
    question.extend([0, 0, kind, 0, 1]);
    // EDNS (RFC 6891).
    question.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    client.say_bytes(server, DNS, &question);
    let answer = client.hears_all_within(Duration::from_millis(500))?;
    // The same number, an answer, no error, one record.
    let good = answer[..2] == [7, 7] && answer[2] & 0x80 != 0 && answer[3] & 15 == 0;
    (good && answer[7] == 1).then_some(answer)
}

fn was_asked(world: &World, name: &str) -> bool {
    let seen = world.outside.seen();
    let asked = |seen: &Seen| matches!(seen, Seen::Question { name: asked, .. } if asked == name);
    seen.iter().any(asked)
}

#[test]
fn a_dns_server_answers_and_asks_nobody() {
    let world = World::new();
    let open = dnsmasq(&world, "open");
    let asks = world.client("4");
    drop(ask(&asks, &open, "control.example", 1));
    wait::until(
        "the control: unsealed, it asks upstream",
        wait::SOON,
        || was_asked(&world, "control.example").then_some(()),
    );
    drop(open);
    let dns = dnsmasq(&world, "dns");
    world.seal(&dns, &["-p", "53,53/udp"]);
    world.outside.clear();
    for version in ["4", "6"] {
        let asks = world.client(version);
        let answer = ask(&asks, &dns, "sealed.example", 1).expect("an answer");
        assert!(
            answer.ends_with(&[198, 51, 100, 77])
                || answer.windows(4).any(|w| w == [198, 51, 100, 77])
        );
        let long = ask(&asks, &dns, "long.example", 16).expect("a long answer");
        assert!(long.len() > 3_000, "{}", long.len());
        // It would have to ask upstream.
        assert_eq!(ask(&asks, &dns, "upstream.example", 1), None);
    }
    assert!(!was_asked(&world, "upstream.example"));
    assert!(refused(&dns, "dns") > 0);
    assert_eq!(refused(&dns, "unasked"), 0);
    world.nothing_else_left(&dns, &[DNS]);
}

/// Runs calls from outside; each sends eight seconds of speech, which comes back.
fn calls(world: &World, server: &Container, count: &str) -> std::process::Output {
    let dir = std::env::temp_dir().join(format!("airgap-test-sipp-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("mkdir");
    let speech = dir.join("pcap");
    drop(std::os::unix::fs::symlink("/usr/share/sip-tester", &speech));
    let plan = &world.outside.plan;
    let mut sipp = Command::new("ip");
    sipp.args(["netns", "exec", &plan.name])
        .args(["timeout", "60", "sipp", "-sn", "uac_pcap"])
        .args(["-i", &plan.outside4.to_string(), "-mp", "21000", "-nostdin"])
        .args(["-m", count, "-l", count, "-r", count])
        .arg(format!("{}:{PORT}", server.ip4()))
        .current_dir(&dir)
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    let out = sipp.output().expect("sipp: cargo xtask setup");
    drop(std::fs::remove_dir_all(&dir));
    out
}

#[test]
fn sip_calls_with_media_go_through() {
    let world = World::new();
    let command = [
        "/usr/bin/sipp",
        "-sn",
        "uas",
        "-rtp_echo",
        "-mp",
        "10000",
        "-nostdin",
    ];
    let sip = runs(&world, "sip", &command);
    world.seal(&sip, &["-p", "5060/udp,10000-10100/udp"]);
    world.outside.clear();
    let out = calls(&world, &sip, "2");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {said}", out.status);
    let own = IpAddr::from(sip.ip4());
    let left = world.outside.arrivals();
    let from = |port: u16| {
        let ours = |f: &&Frame| f.ip().is_some_and(|ip| ip.source == own);
        let all = left.iter().filter(ours);
        all.filter(|f| f.ports().is_some_and(|(from, _)| from == port))
            .count()
    };
    // Two calls: 180, 200, 200 each; two hundred packets of speech each, and more.
    assert!(from(PORT) >= 6, "{}", from(PORT));
    assert!(from(MEDIA) >= 400, "{}", from(MEDIA));
    assert_eq!(refused(&sip, "unasked") + refused(&sip, "egress"), 0);
    world.nothing_else_left(&sip, &[PORT, MEDIA]);
    // The control: without the ports of its media there are calls, and nobody hears a word.
    world.seal(&sip, &["-p", "5060/udp"]);
    world.outside.clear();
    assert!(calls(&world, &sip, "1").status.success());
    let left = world.outside.arrivals();
    let media = |f: &&Frame| f.ports().is_some_and(|(from, _)| from == MEDIA);
    assert_eq!(left.iter().filter(media).count(), 0);
}
