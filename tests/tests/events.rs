//! Promise: told live. Each refused attempt is an event that says who, where and how, safely.

use airgap_tests::airgap::seal;
use airgap_tests::collector::{Collector, attribute};
use airgap_tests::{Container, Outcome, Outside, Tail, airgap, airgap_ok, wait};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

const PORT: u16 = 20_000;
/// A process name that would ring, colour and clear a careless terminal.
const NASTY: &str = "ev\u{1b}[31mil\n\u{7}";

/// Copies the probe to a file whose name is `name` and runs one technique with it.
fn attempt_named(outside: &Outside, container: &Container, name: &str, technique: &str) {
    let path = format!("/tmp/{name}");
    container
        .exec(&["cp", "/bin/airgap-probe", &path])
        .expect_code(0);
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let port = PORT.to_string();
    container
        .exec(&[
            &path, "try", technique, "--v4", &v4, "--v6", &v6, "--port", &port,
        ])
        .expect_code(0);
}

fn denied(event: &Value, ip: &str) -> bool {
    event["event"]["action"] == "denied" && event["destination"]["ip"] == ip
}

#[test]
fn refusals_are_told_with_who_where_and_how() {
    let outside = Outside::new();
    let container = outside.container("talker").run();
    seal(&container.name, &[]);
    let tail = Tail::json(&[&container.name]);
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let rows = [
        ("tcp4", &v4, "tcp", "ipv4", "connect4"),
        ("tcp6", &v6, "tcp", "ipv6", "connect6"),
        ("udp4", &v4, "udp", "ipv4", "sendmsg4"),
        ("udp6", &v6, "udp", "ipv6", "sendmsg6"),
    ];
    for (technique, ip, transport, kind, hook) in rows {
        let attempt = container.attempt(technique, PORT, "told");
        assert_eq!(attempt.outcome, Outcome::Refused, "{attempt:?}");
        let event = tail.await_event(technique, wait::SOON, |event| {
            denied(event, ip) && event["network"]["transport"] == transport
        });
        assert_eq!(event["schema"], 1, "{event}");
        assert_eq!(event["event"]["kind"], "event", "{event}");
        assert_eq!(event["network"]["type"], kind, "{event}");
        assert_eq!(event["destination"]["port"], PORT, "{event}");
        assert_eq!(event["container"]["id"], container.id.as_str(), "{event}");
        assert_eq!(
            event["container"]["name"],
            container.name.as_str(),
            "{event}"
        );
        assert_eq!(event["process"]["name"], "airgap-probe", "{event}");
        assert_eq!(event["process"]["user"]["id"], "0", "{event}");
        assert_eq!(event["airgap"]["hook"], hook, "{event}");
        assert!(
            event["process"]["pid"].as_u64().is_some_and(|pid| pid > 1),
            "{event}"
        );
        assert!(
            event["@timestamp"]
                .as_str()
                .is_some_and(|t| t.ends_with('Z')),
            "{event}"
        );
    }
}

#[test]
fn dns_questions_are_told_by_name() {
    let outside = Outside::new();
    let container = outside.container("asker").run();
    seal(&container.name, &[]);
    let tail = Tail::json(&[&container.name]);
    for technique in ["dns-direct", "dns-embedded"] {
        container.attempt(technique, PORT, technique);
        let name = format!("{technique}.leak.example");
        let event = tail.await_event(&name, wait::SOON, |event| {
            event["dns"]["question"]["name"] == name.as_str()
        });
        assert_eq!(event["dns"]["question"]["type"], "A", "{event}");
    }
    assert_eq!(outside.seen(), [], "a question got out");
}

#[test]
fn hostile_names_are_escaped() {
    let outside = Outside::new();
    let container = outside.container("nasty").run();
    seal(&container.name, &[]);
    let json = Tail::json(&[&container.name]);
    let text = Tail::start(&["tail", &container.name]);
    attempt_named(&outside, &container, NASTY, "tcp4");
    let v4 = outside.plan.outside4.to_string();
    let event = json.await_event("the nasty process", wait::SOON, |event| denied(event, &v4));
    // The kernel keeps the first 15 bytes of a name.
    assert_eq!(
        event["process"]["name"], NASTY,
        "JSON carries the exact name: {event}"
    );
    let line = text.await_line("the nasty process", wait::SOON, |line| line.contains(&v4));
    assert!(
        line.contains("il"),
        "the name is cut at its newline: {line:?}"
    );
    for line in text.lines() {
        assert!(
            !line.chars().any(char::is_control),
            "raw control characters: {line:?}"
        );
    }
}

/// A display that nothing can come to any more says so and ends.
#[test]
fn a_tail_ends_with_the_seal() {
    let outside = Outside::new();
    let container = outside.container("ended").run();
    seal(&container.name, &[]);
    let mut tail = std::process::Command::new(airgap::binary())
        .args(["tail", &container.name])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("start airgap tail");
    let mut started = String::new();
    let mut stderr = BufReader::new(tail.stderr.take().expect("stderr"));
    stderr.read_line(&mut started).expect("read stderr");
    assert!(started.contains("showing refused attempts"), "{started}");
    airgap_ok(&["detach", &container.name]);
    let ended = wait::within(Duration::from_secs(10), || tail.try_wait().expect("wait"));
    drop(tail.kill());
    drop(tail.wait());
    assert_eq!(ended.and_then(|status| status.code()), Some(3));
}

#[test]
fn two_tails_see_the_same_and_a_burst_is_counted() {
    let outside = Outside::new();
    let container = outside.container("pair").run();
    seal(&container.name, &[]);
    let (first, second) = (Tail::json(&[&container.name]), Tail::json(&[]));
    first.await_start();
    second.await_start();
    let ports: Vec<u16> = (PORT..PORT + 20).collect();
    for &port in &ports {
        container.attempt("tcp4", port, "pair");
    }
    let told = |tail: &Tail| -> Vec<u64> {
        let events = tail.events();
        let ports = events
            .iter()
            .filter_map(|event| event["destination"]["port"].as_u64());
        ports.collect()
    };
    let all: Vec<u64> = ports.iter().map(|&port| port.into()).collect();
    for (name, tail) in [("first", &first), ("second", &second)] {
        wait::within(Duration::from_secs(10), || {
            (told(tail) == all).then_some(())
        });
        assert_eq!(told(tail), all, "the {name} tail");
    }
}

/// Whoever reads the events can rely on their schema, hostile names and floods included.
#[test]
fn every_event_fits_the_published_schema() {
    let schema: Value =
        serde_json::from_str(&airgap_ok(&["schema", "event"]).stdout).expect("a schema");
    let outside = Outside::new();
    let container = outside
        .container("contract")
        .options(&["--label", "com.docker.compose.project=shop"])
        .options(&["--label", "com.docker.compose.service=web"])
        .run();
    seal(&container.name, &[]);
    let tail = Tail::json(&[&container.name]);
    tail.await_start();
    for technique in ["tcp4", "udp6", "raw4-icmp", "dns-embedded", "dns-direct"] {
        container.attempt(technique, PORT, "contract");
    }
    attempt_named(&outside, &container, NASTY, "tcp6");
    let v4 = outside.plan.outside4.to_string();
    let scan = ["airgap-probe", "phone", "scan", "1500", "--v4", &v4];
    container.exec(&scan).expect_code(0);
    let action = |wanted: &str| {
        tail.await_event(wanted, wait::SOON, |e| e["event"]["action"] == wanted);
    };
    ["denied", "suppressed", "lost"]
        .into_iter()
        .for_each(action);
    for event in tail.events() {
        let violations = airgap_tests::schema::violations(&schema, &event);
        assert_eq!(violations, Vec::<String>::new(), "{event:#}");
        assert_eq!(
            event["container"]["labels"]["com_docker_compose_project"],
            "shop"
        );
        assert_eq!(
            event["container"]["labels"]["com_docker_compose_service"],
            "web"
        );
        let image = event["container"]["image"]["name"].as_str().unwrap_or("");
        assert!(image.starts_with("airgap-test:"), "{event:#}");
    }
}

/// Both views of the process, its program, its arguments and its parent.
#[test]
fn a_process_is_told_with_program_arguments_and_parent() {
    let outside = Outside::new();
    let container = outside.container("who").run();
    seal(&container.name, &[]);
    let tail = Tail::json(&[&container.name]);
    tail.await_start();
    let v4 = outside.plan.outside4.to_string();
    let script = format!(
        "airgap-probe phone tcp 500 --v4 {v4} --port {PORT} & wait $!; \
         airgap-probe phone udp 500 --v4 {v4} --port {PORT} & echo $!; wait $!"
    );
    let out = container.exec(&["sh", "-c", &script]).expect_code(0);
    let event = tail.await_event("tcp", wait::SOON, |e| e["network"]["transport"] == "tcp");
    assert_eq!(
        event["process"]["executable"], "/bin/airgap-probe",
        "{event:#}"
    );
    let command = event["process"]["command_line"].as_str().unwrap_or("");
    assert!(
        command.starts_with("airgap-probe phone tcp 500 --v4"),
        "{event:#}"
    );
    assert_eq!(event["process"]["parent"]["name"], "sh", "{event:#}");
    assert_eq!(event["airgap"]["unknown"], Value::Null, "{event:#}");
    let event = tail.await_event("udp", wait::SOON, |e| e["network"]["transport"] == "udp");
    let inner = event["process"]["vpid"].as_u64().expect("vpid").to_string();
    assert!(
        out.stdout.lines().any(|line| line == inner),
        "{inner}: {}",
        out.stdout
    );
    assert_ne!(
        event["process"]["pid"], event["process"]["vpid"],
        "{event:#}"
    );
}

/// A process that is gone before anybody looked is named as far as the kernel knew it.
#[test]
fn what_is_not_known_any_more_is_marked_unknown() {
    let outside = Outside::new();
    let container = outside.container("gone").run();
    seal(&container.name, &[]);
    container.attempt("tcp4", PORT, "gone");
    let out = airgap_ok(&["tail", "--json", "--no-follow", &container.name]);
    let event: Value =
        serde_json::from_str(out.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!(event["process"]["name"], "airgap-probe", "{event:#}");
    assert_eq!(event["process"]["executable"], Value::Null, "{event:#}");
    let unknown = &event["airgap"]["unknown"];
    assert_eq!(
        *unknown,
        serde_json::json!(["process.executable", "process.command_line"])
    );
}

/// Whoever scrapes gets the kernel's counts, and the socket is gone afterwards.
#[test]
fn metrics_are_served_beside_the_display() {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    let outside = Outside::new();
    let container = outside.container("metrics").run();
    seal(&container.name, &[]);
    let dir = std::env::temp_dir();
    let path = dir.join(format!("airgap-metrics-{}", std::process::id()));
    let address = format!("unix:{}", path.display());
    let mut tail = Tail::json(&["--metrics", &address, &container.name]);
    tail.await_start();
    for _ in 0..3 {
        container.attempt("tcp4", PORT, "metrics");
    }
    let mut stream = UnixStream::connect(&path).expect("connect");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (name, id) = (&container.name, &container.id);
    let who = format!("container=\"{name}\",id=\"{id}\"");
    let v4 = outside.plan.outside4;
    for line in [
        format!("airgap_refused_total{{{who},reason=\"egress\"}} 3\n"),
        format!("airgap_refused_destination_total{{{who},address=\"{v4}\",port=\"{PORT}\"}} 3\n"),
    ] {
        assert!(answer.contains(&line), "{line}: {answer}");
    }
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    let pid = libc::pid_t::try_from(tail.pid()).expect("a pid");
    // SAFETY: integers only; the pid is a child's that is not reaped yet.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    wait::until("tail ends", wait::SOON, || {
        (!tail.is_running()).then_some(())
    });
    assert!(!path.exists(), "the socket file is left");
}

/// An event says what it means.
#[test]
fn an_event_is_explained() {
    let outside = Outside::new();
    let container = outside.container("why").run();
    seal(&container.name, &[]);
    container.attempt("dns-embedded", PORT, "why");
    let out = airgap_ok(&["tail", "--json", "--no-follow", &container.name]);
    let line = out.stdout.lines().next().expect("an event");
    let text = airgap_ok(&["explain", line]).stdout;
    for part in ["airgap-probe", "To:   127.0.0.11 port 53", "look a name up"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(airgap(&["explain", "nothing"]).code, 2);
}

#[test]
fn a_collector_of_opentelemetry_gets_each_event() {
    let outside = Outside::new();
    let container = outside.container("exported").run();
    seal(&container.name, &[]);
    let collector = Collector::start();
    let url = collector.url();
    let tail = Tail::start(&["tail", "--output", "otlp", "--otlp", &url, &container.name]);
    let ip = outside.plan.outside4.to_string();
    let attempt = container.attempt("tcp4", PORT, "exported");
    assert_eq!(attempt.outcome, Outcome::Refused, "{attempt:?}");
    let record = collector.await_record("the attempt", wait::SOON, |record| {
        attribute(record, "destination.ip")["stringValue"] == ip.as_str()
    });
    assert_eq!(record["eventName"], "airgap.denied", "{record}");
    let name = &attribute(&record, "container.name")["stringValue"];
    assert_eq!(name, container.name.as_str(), "{record}");
    let port = &attribute(&record, "destination.port")["intValue"];
    assert_eq!(port, PORT.to_string().as_str(), "{record}");
    drop(tail);
    // What the kernel remembers, to a collector that comes later.
    let later = Collector::start();
    let url = later.url();
    airgap_ok(&[
        "tail",
        "--no-follow",
        "--output",
        "otlp",
        "--otlp",
        &url,
        &container.name,
    ]);
    let told = later.records();
    assert!(!told.is_empty());
    drop(later);
    // Nobody listens there; and a place for another output.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}", closed.local_addr().expect("an address"));
    drop(closed);
    let out = airgap(&[
        "tail",
        "--output",
        "otlp",
        "--otlp",
        &nobody,
        &container.name,
    ]);
    assert_eq!(out.code, 1, "{}", out.describe());
    assert!(
        out.stderr.contains("no collector listens"),
        "{}",
        out.describe()
    );
    let out = airgap(&["tail", "--otlp", &url, &container.name]);
    assert_eq!(out.code, 2, "{}", out.describe());
}
