//! A sealed cgroup's exceptions come and go alone, and what holds is proven from inside.

use super::*;
use airgap_tests::airgap::hooks_refuse;

const NEAR: &str = "import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.connect(('127.0.0.1',int(sys.argv[1])))
try: s.send(b'x'); print('sent')
except OSError: print('no')";

/// A process of it that goes on.
fn idle(subtrees: &Subtrees) -> Running {
    let running = Running::start(subtrees.confined("web", &["sleep", "1000"]));
    wait::until("it is inside", wait::SOON, || {
        let procs = fs::read_to_string(subtrees.0.join("web/cgroup.procs")).ok()?;
        let comm = fs::read_to_string(format!("/proc/{}/comm", procs.trim())).ok()?;
        (comm == "sleep\n").then_some(())
    });
    running
}

#[test]
fn exceptions_come_and_go() {
    let outside = Outside::new();
    let far = outside.plan.outside4.to_string();
    let subtrees = Subtrees::new();
    subtrees.make("web");
    subtrees.make("other");
    let name = path("web");
    let beacon = || {
        let words = ["/usr/bin/python3", "-c", BEACON, &far];
        cmd::run_command(&mut subtrees.confined("web", &words)).stdout
    };
    let refused = format!("{}\n", airgap_tests::kernel::refused());
    attach("web", &[]).expect_code(0);
    assert_eq!(beacon(), refused);
    let to = format!("{far}:20000/udp");
    // What would let it out is said.
    let learned = airgap_ok(&["learn", &name]).stdout;
    assert!(learned.contains(&format!("--to {to}")), "{learned}");
    let events = airgap_ok(&["tail", "--no-follow", "--json", &name]).stdout;
    let event = events.lines().find(|line| line.contains("20000"));
    let told = airgap_ok(&["explain", event.expect("the event")]).stdout;
    assert!(
        told.contains(&format!("Open: airgap allow {name} --to '{to}'")),
        "{told}"
    );
    let near = [
        "allow", "--to", &to, "--for", "15m", "--reason", "a test", &name,
    ];
    airgap_ok(&near);
    assert_eq!(beacon(), "sent\n", "it is let out");
    wait::until("it arrives", wait::SOON, || {
        (!outside.seen().is_empty()).then_some(())
    });
    let status: Value =
        serde_json::from_str(&airgap(&["status", "--json", &name]).stdout).expect("JSON");
    let exit = &status["exits"][0];
    assert_eq!(
        (&exit["to"], &exit["reason"]),
        (&Value::from(&*to), &Value::from("a test")),
        "{status:#}"
    );
    assert!(exit["ends"].is_u64(), "it has an end: {exit}");
    assert_eq!(status["problems"], serde_json::json!([]), "{status:#}");
    // What cannot be changes nothing.
    let before = airgap_ok(&["status", "--json", &name]).stdout;
    let exits = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["exits"].clone();
    for (words, code, said) in [
        (
            vec!["allow", "--to", "198.51.100.9:9", "NAME"],
            3,
            "unit:nope.service is not sealed",
        ),
        (
            vec!["allow", "--to", "db.example.com:5432", &name],
            2,
            "by its name",
        ),
        (
            vec!["allow", "--to", "127.0.0.1:53/udp", &name],
            1,
            "host-exit",
        ),
        (
            vec!["disallow", "--to", "198.51.100.9:9", &name],
            2,
            "has no exception",
        ),
        (
            vec!["disallow", "--all", &path("other")],
            3,
            "is not sealed",
        ),
    ] {
        let words: Vec<_> = words
            .into_iter()
            .map(|word| {
                if word == "NAME" {
                    "unit:nope.service"
                } else {
                    word
                }
            })
            .collect();
        let out = airgap(&words).expect_code(code);
        assert!(out.stderr.contains(said), "{said}: {}", out.describe());
        let after = airgap(&["status", "--json", &name]).stdout;
        assert_eq!(exits(&after), exits(&before), "{words:?}");
    }
    // A listener of another on loopback, named and accepted.
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = other.local_addr().expect("bound").port().to_string();
    let words = ["/usr/bin/python3", "-c", NEAR, &port];
    let near = || cmd::run_command(&mut subtrees.confined("web", &words)).stdout;
    assert_eq!(near(), "no\n");
    let place = format!("127.0.0.1:{port}/udp");
    // By its id, as `top` does it.
    let id = status["container"]["id"].as_str().expect("an id");
    let host = ["allow", "--to", &place, "--accept", "host-exit", id];
    airgap_ok(&host);
    assert_eq!(near(), "sent\n");
    airgap_ok(&["disallow", "--to", &place, &name]);
    assert_eq!(near(), "no\n");
    // One that goes on connecting: what an exception let out ends with it.
    let stream = "import socket,sys,time
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.connect((sys.argv[1],20000))
while 1: s.send(b'GET'); time.sleep(.01)";
    let mut going = subtrees.confined("web", &["/usr/bin/python3", "-c", stream, &far]);
    going.stderr(Stdio::null());
    let mut going = Running::start(going);
    outside.clear();
    wait::until("it sends", wait::SOON, || {
        (!outside.seen().is_empty()).then_some(())
    });
    // While something runs there, the host answers pings for it: 4, unless it has ended by then.
    let taken = airgap(&["disallow", "--to", &to, &name]);
    assert!(matches!(taken.code, 0 | 4), "{}", taken.describe());
    wait::until("it is ended", wait::SOON, || {
        going.0.try_wait().expect("wait")
    });
    outside.clear();
    assert_eq!(beacon(), refused, "it is taken back");
    assert!(outside.arrivals().is_empty(), "{:?}", outside.arrivals());
    // Nothing of that is left in the record.
    airgap_ok(&["restore"]);
    assert_eq!(beacon(), refused);
    airgap_ok(&["detach", &name]);
}

#[test]
fn what_holds_is_proven_from_inside() {
    let outside = Outside::new();
    let subtrees = Subtrees::new();
    subtrees.make("web");
    let name = path("web");
    let running = idle(&subtrees);
    let client = format!("{}/32", outside.plan.outside4);
    attach("web", &["-p", "18086", "--from", &client]).expect_code(4);
    outside.clear();
    // A join is announced by the kernel: only security hooks refuse the call.
    let (code, joins) = if hooks_refuse() {
        (0, "PROVEN")
    } else {
        (3, "LEAK")
    };
    let out = airgap(&["verify", "--json", &name]).expect_code(code);
    let proof: Value = serde_json::from_str(&out.stdout).expect("JSON");
    assert_eq!(proof["container"], name.as_str());
    let tried = proof["techniques"].as_array().expect("a list");
    assert!(tried.len() >= 70, "{} were tried", tried.len());
    for one in tried {
        let is_join = one["vector"] == "multicast joins (IGMP, MLD)";
        let wanted = if is_join { joins } else { "PROVEN" };
        assert_eq!(one["verdict"], wanted, "{one}");
        assert_eq!(one["control"], true, "{one}");
    }
    assert!(outside.arrivals().is_empty(), "{:?}", outside.arrivals());
    assert!(
        !fs::exists("/sys/class/net/airgap0").expect("stat"),
        "no link is left on the host"
    );
    let status: Value =
        serde_json::from_str(&airgap(&["status", "--json", &name]).stdout).expect("JSON");
    assert_eq!(
        status["denials"]["total"], 0,
        "none of it is the service's: {status:#}"
    );
    drop(running);
    let idle = airgap(&["verify", &name]).expect_code(3);
    assert!(idle.stderr.contains("does not run"), "{}", idle.describe());
    airgap_ok(&["detach", &name]);
    let gone = airgap(&["verify", &name]).expect_code(3);
    assert!(gone.stderr.contains("is not sealed"), "{}", gone.describe());
}
