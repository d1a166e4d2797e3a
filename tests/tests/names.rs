//! Promise: told live, with the name that was being looked up, for the resolvers that real
//! programs have. The programs are this machine's own, mounted into the container.

use airgap_tests::airgap::seal;
use airgap_tests::{Container, Outside, Tail, cmd, wait};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a dynamically linked program of this machine needs.
const HOST: [&str; 6] = [
    "--volume",
    "/usr:/usr:ro",
    "--volume",
    "/usr/lib:/lib:ro",
    "--volume",
    "/usr/lib64:/lib64:ro",
];
/// A refused look-up that fails at once takes less.
const AT_ONCE: Duration = Duration::from_secs(2);

fn question(event: &Value) -> (&str, &str) {
    let question = &event["dns"]["question"];
    (
        question["name"].as_str().unwrap_or(""),
        question["type"].as_str().unwrap_or(""),
    )
}

/// Runs a command of this machine in the container to its end; how long it took.
fn timed(container: &Container, command: &[&str]) -> Duration {
    let start = Instant::now();
    let out = container.exec(command);
    println!("{command:?}: exit {} after {:?}", out.code, start.elapsed());
    assert_ne!(out.code, 0, "it found a name: {}", out.describe());
    assert_ne!(out.code, 127, "it did not run: {}", out.describe());
    start.elapsed()
}

#[test]
fn record_types_are_told_for_embedded_and_direct_servers() {
    let outside = Outside::new();
    let container = outside.container("types").run();
    seal(&container.name, &[]);
    let tail = Tail::json(&[&container.name]);
    tail.await_start();
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let ask = ["airgap-probe", "ask", "--v4", &v4, "--v6", &v6];
    container.exec(&ask).expect_code(0);
    for server in [v4.as_str(), v6.as_str(), "127.0.0.11"] {
        for kind in ["A", "AAAA", "TXT", "MX", "SRV", "HTTPS", "TYPE65280"] {
            let name = format!("{}.ask.example", kind.to_lowercase());
            let event = tail.await_event(&name, wait::SOON, |event| {
                event["destination"]["ip"] == server && question(event) == (&name, kind)
            });
            assert_eq!(event["destination"]["port"], 53, "{event}");
            let translated = event["destination"]["nat"]["port"].as_u64();
            assert_eq!(translated.is_some(), server == "127.0.0.11", "{event}");
        }
    }
    assert_eq!(outside.seen(), [], "a question got out");
}

/// Tunnels have long names, and whoever chooses a name may choose a quote in it.
#[test]
fn long_and_odd_names_are_told() {
    let outside = Outside::new();
    let container = outside.container("long").run();
    seal(&container.name, &[]);
    let tail = Tail::json(&[&container.name]);
    let text = Tail::start(&["tail", &container.name]);
    tail.await_start();
    text.await_start();
    let v4 = outside.plan.outside4.to_string();
    let ask = |name: &str| {
        let ask = ["airgap-probe", "ask", "for", name, "--v4", &v4];
        container.exec(&ask).expect_code(0);
    };
    let label = "a".repeat(63);
    let named = |len: usize| {
        let end = ".evil.example";
        let mut name = [label.as_str(); 4].join(".");
        name.truncate(len - end.len());
        name + end
    };
    // 253 characters are the most that DNS has (RFC 1035 §2.3.4).
    for len in [119, 160, 200, 253] {
        let name = named(len);
        assert_eq!(name.len(), len);
        ask(&name);
        tail.await_event(&name, wait::SOON, |e| question(e) == (&name, "A"));
    }
    let shown = "…aaaaaaaaaa";
    text.await_line("both ends in text", wait::SOON, |line| {
        line.contains(shown) && line.contains(".evil.example\" (cut, 253 bytes) A")
    });
    // More than DNS has; whoever listens may read it all the same.
    let beyond = [label.as_str(); 6].join(".");
    ask(&beyond);
    tail.await_event("a name beyond the limit", wait::SOON, |e| {
        let (name, kind) = question(e);
        name.starts_with(&label) && name.len() > 240 && name.ends_with('…') && kind == "?"
    });
    ask("q\"uote.odd.example");
    tail.await_event("a quote", wait::SOON, |e| {
        question(e) == ("q\"uote.odd.example", "A")
    });
    text.await_line("an escaped quote", wait::SOON, |line| {
        line.contains("\"q\\\"uote.odd.example\" A")
    });
    assert_eq!(outside.seen(), [], "a question got out");
}

#[test]
fn glibc_and_go_fail_at_once_and_are_told_by_name() {
    let outside = Outside::new();
    let container = outside.container("glibc").options(&HOST).run();
    seal(&container.name, &[]);
    let tail = Tail::json(&[&container.name]);
    tail.await_start();
    let took = timed(
        &container,
        &["/usr/bin/getent", "ahosts", "glibc.phone.example"],
    );
    assert!(took < AT_ONCE, "glibc waited for {took:?}");
    // It asks for A first, and takes the refusal of that for an answer.
    tail.await_event("glibc", wait::SOON, |event| {
        question(event) == ("glibc.phone.example", "A")
    });
    // Docker's own client is written in Go.
    let client = ["/usr/bin/docker", "/usr/local/bin/docker"];
    let client = client.into_iter().find(|path| Path::new(path).exists());
    let client = client.expect("a docker client");
    let took = timed(
        &container,
        &[
            "/usr/bin/env",
            "GODEBUG=netdns=go",
            client,
            "-H",
            "tcp://go.phone.example:2375",
            "version",
        ],
    );
    assert!(took < AT_ONCE, "Go waited for {took:?}");
    let event = tail.await_event("Go", wait::SOON, |event| {
        question(event).0 == "go.phone.example"
    });
    assert_eq!(event["process"]["name"], "docker", "{event}");
    assert_eq!(outside.seen(), [], "a question got out");
}

/// Builds the Go program of the assets, static; once built, its cache makes it quick.
fn go_program() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/lookup.go");
    let program = dir.join("go-lookup");
    let mut build = Command::new("go");
    build
        .args(["build", "-o"])
        .args([&program, &source])
        .env("CGO_ENABLED", "0")
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        // Nothing is fetched: it needs no more than the standard library.
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("GOCACHE", dir.join("go-cache"));
    cmd::run_command(&mut build).expect_code(0);
    program
}

/// With its own resolver, in a container that has no C library; both addresses are asked for.
#[test]
fn a_static_go_program_fails_at_once_and_is_told_by_name() {
    let program = go_program();
    let outside = Outside::new();
    let container = outside.container("go").run();
    let copied = format!("{}:/bin/go-lookup", container.id);
    cmd::run("docker", &["cp", &program.display().to_string(), &copied]).expect_code(0);
    seal(&container.name, &[]);
    let tail = Tail::json(&[&container.name]);
    tail.await_start();
    let name = "static.phone.example";
    let out = container.exec(&["go-lookup", name]).expect_code(1);
    assert!(
        out.stdout.contains("operation not permitted"),
        "{}",
        out.describe()
    );
    let taken = out.stdout.split(' ').next().and_then(|ms| ms.parse().ok());
    let taken: u64 = taken.unwrap_or_else(|| panic!("{}", out.describe()));
    println!("Go gave up after {taken} ms");
    assert!(taken < 500, "Go waited for {taken} ms");
    for kind in ["A", "AAAA"] {
        let event = tail.await_event(kind, wait::SOON, |event| question(event) == (name, kind));
        assert_eq!(event["process"]["name"], "go-lookup", "{event}");
    }
    assert_eq!(outside.seen(), [], "a question got out");
}

/// musl takes no errno for an answer and waits: its questions are told all the same.
#[test]
fn musl_is_told_by_name_though_it_waits() {
    let outside = Outside::new();
    let container = outside.container("musl").run();
    seal(&container.name, &[]);
    let tail = Tail::json(&[&container.name]);
    tail.await_start();
    let start = Instant::now();
    let mut lookup = Command::new("docker")
        .args([
            "exec",
            &container.id,
            "airgap-probe",
            "lookup",
            "musl.phone.example",
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("start docker exec");
    for kind in ["A", "AAAA"] {
        tail.await_event("musl", wait::SOON, |event| {
            question(event) == ("musl.phone.example", kind)
        });
    }
    let told = start.elapsed();
    let status = lookup.wait().expect("wait");
    println!(
        "told after {told:?}, musl gave up after {:?}",
        start.elapsed()
    );
    assert!(!status.success(), "it found a name");
    assert_eq!(outside.seen(), [], "a question got out");
}

/// Programs that call home by default, as their distributions ship them.
#[test]
fn real_programs_that_phone_home_are_seen_by_name() {
    let outside = Outside::new();
    let mut seen = 0;
    let cases: [(&str, &str, &str); 3] = [
        (
            "/usr/bin/npm",
            "cd /tmp && exec env -u CI PATH=/usr/bin HOME=/tmp npm_config_cache=/tmp/npm /usr/bin/npm ls",
            "registry.npmjs.org",
        ),
        (
            "/usr/bin/apt-get",
            "mkdir -p /tmp/a/lists/partial /tmp/a/cache/archives/partial && \
             printf 'deb http://deb.debian.org/debian stable main\n' > /tmp/a/sources && \
             PATH=/usr/bin exec /usr/bin/apt-get -o Dir::Etc::SourceList=/tmp/a/sources \
             -o Dir::State::Lists=/tmp/a/lists -o Dir::Cache=/tmp/a/cache -o Dir::State::status=/dev/null \
             -o APT::Sandbox::User=root update",
            "deb.debian.org",
        ),
        (
            "/root/.pyenv/versions/3.11.7/bin/python3",
            "exec env HOME=/tmp /root/.pyenv/versions/3.11.7/bin/python3 -m pip list",
            "pypi.org",
        ),
    ];
    for (program, script, name) in cases {
        if !Path::new(program).exists() {
            println!("skipped: there is no {program} here");
            continue;
        }
        let container = outside
            .container("home")
            .options(&HOST)
            .options(&["--volume", "/root/.pyenv:/root/.pyenv:ro"])
            .run();
        seal(&container.name, &[]);
        let tail = Tail::json(&[&container.name]);
        tail.await_start();
        let out = container.exec(&["sh", "-c", script]);
        let event = wait::within(wait::SOON, || {
            let events = tail.events();
            events.into_iter().find(|event| question(event).0 == name)
        });
        let event =
            event.unwrap_or_else(|| panic!("{name}: {:#?}\n{}", tail.lines(), out.describe()));
        println!("{program}: {} asked for {name}", event["process"]["name"]);
        seen += 1;
    }
    assert!(seen > 0, "none of the programs is installed");
    assert_eq!(outside.seen(), [], "something got out");
}
