//! Promise: no unprotected instant, from a container's first start on.

use airgap_tests::beacon::is_refused;
use airgap_tests::{LABEL, Outside, PREFIX, airgap, airgap_ok, cmd, image, wait};
use serde_json::Value;

/// What `docker run` is told to start something on the test's network.
fn docker_args(outside: &Outside, name: &str, options: &[&str], command: &[&str]) -> Vec<String> {
    let plan = &outside.plan;
    let name = format!("{PREFIX}{name}-{}", plan.suffix);
    let label = format!("{LABEL}={}", plan.suffix);
    let fixed = ["--label", &label, "--network", &plan.name, "--name", &name];
    let words = options.iter().copied().chain(fixed);
    let words = words.chain(["--stop-timeout", "0", image::ensure()]);
    let words = words.chain(command.iter().copied());
    words.map(str::to_owned).collect()
}

fn run(ours: &[&str], docker: &[String]) -> cmd::Output {
    let docker = docker.iter().map(String::as_str);
    let words: Vec<_> = ["run"]
        .into_iter()
        .chain(ours.iter().copied())
        .chain(["--"])
        .chain(docker)
        .collect();
    airgap(&words)
}

fn exists(outside: &Outside, name: &str) -> bool {
    let name = format!("{PREFIX}{name}-{}", outside.plan.suffix);
    cmd::attempt(&format!("docker inspect {name}")).code == 0
}

#[test]
fn run_starts_it_sealed() {
    let outside = Outside::new();
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let beacon = [
        "airgap-probe",
        "beacon",
        "--v4",
        &v4,
        "--v6",
        &v6,
        "--port",
        "20000",
    ];
    let options = ["-d", "--cap-drop", "NET_RAW"];
    let args = docker_args(&outside, "born", &options, &beacon);
    let out = run(&[], &args).expect_code(0);
    let id = out.stdout.trim();
    assert_eq!(
        id.len(),
        64,
        "as docker run -d prints it\n{}",
        out.describe()
    );
    let records = wait::until("it has tried everything", wait::SOON, || {
        let logs = cmd::attempt(&format!("docker logs {id}")).stdout;
        let records = logs.lines().filter_map(|l| serde_json::from_str(l).ok());
        let records: Vec<Value> = records.collect();
        let done = records.iter().any(|r| r["technique"] == "beacon-done");
        done.then_some(records)
    });
    let refused = |name: &str| {
        let record = records.iter().find(|r| r["technique"] == name);
        is_refused(name, record)
    };
    for name in ["udp4", "udp6", "tcp4", "tcp6"] {
        assert!(refused(name), "{name}: {records:?}");
    }
    let arrivals = outside.arrivals();
    assert!(arrivals.is_empty(), "{arrivals:?}");
    let status = airgap(&["status", "--json", id]);
    let json: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert!(
        json["denials"]["total"].as_u64() > Some(0),
        "{}",
        status.describe()
    );
    airgap_ok(&["detach", id]);
}

#[test]
fn run_ends_like_docker_run() {
    let outside = Outside::new();
    let script = ["sh", "-c", "echo out; echo err >&2; exit 7"];
    let args = docker_args(&outside, "ends", &["--rm"], &script);
    let out = run(&["-p", "80"], &args).expect_code(7);
    assert_eq!(out.stdout, "out\n", "{}", out.describe());
    assert!(
        out.stderr.contains("err\n") && out.stderr.contains("80/tcp"),
        "{}",
        out.describe()
    );
    wait::until("--rm removes it", wait::SOON, || {
        (!exists(&outside, "ends")).then_some(())
    });
    airgap_ok(&["detach", "--all"]);
}

#[test]
fn what_run_cannot_seal_never_starts() {
    let outside = Outside::new();
    let says = ["sh", "-c", "echo started"];
    for (ours, option) in [
        (&[][..], "--privileged"),
        (&["--require", "full"], "--init"),
    ] {
        let args = docker_args(&outside, "never", &[option], &says);
        let out = run(ours, &args).expect_code(1);
        assert!(!out.stdout.contains("started"), "{}", out.describe());
        assert!(!exists(&outside, "never"), "{}", out.describe());
        assert_eq!(
            airgap_ok(&["list"]).stdout,
            "no container is sealed on this host\n"
        );
    }
    let bad = run(&[], &["--no-such-option".to_owned(), "x".to_owned()]);
    assert_eq!(
        bad.code,
        2,
        "an option without an image\n{}",
        bad.describe()
    );
}
