//! The whole product on other kernels: attach, verify, serve, detach, on a container-like process
//! and a stand-in engine. Needs a machine of its own (`cargo xtask kernels`), which has
//! `AIRGAP_HOOKS`; elsewhere the other tests do this with a real engine.

#[path = "product/container.rs"]
mod container;
#[path = "product/elsewhere.rs"]
mod elsewhere;
#[path = "product/silence.rs"]
mod silence;
#[path = "product/taken.rs"]
mod taken;

use self::{
    container::{Container, HOST4, HOST6, cgroup_of},
    silence::{hooks_fall_silent_and_return, hooks_that_came_in_silence_come_to_life},
    taken::what_takes_the_place_of_a_guard_is_named,
};
use airgap::host::netns::Netns;
use airgap_tests::{
    airgap::expected_mechanism,
    engine::Engine,
    ftrace::release,
    preempt,
    reach::Echo,
    scratch::{Network, probe_in, try_in},
};
use serde_json::Value;
use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

fn airgap(engine: &Engine, args: &[&str]) -> (i32, String, Value) {
    let binary = std::env::var("AIRGAP_BIN").expect("AIRGAP_BIN is not set");
    let out = Command::new(binary)
        .args(["--host", &engine.host()])
        .args(args)
        .output()
        .expect("run airgap");
    let text = String::from_utf8_lossy(&out.stdout);
    let line = text.lines().last().unwrap_or_default();
    (
        out.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&out.stderr).into_owned(),
        serde_json::from_str(line).unwrap_or_default(),
    )
}

/// Major and minor version of the running kernel.
fn names(list: &Value, keep: impl Fn(&Value) -> bool) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.filter(|entry| keep(entry))
        .filter_map(|entry| entry["vector"].as_str())
        .collect()
}

/// Neither verdicts nor counts nor `--since` go by the clock that can be set.
fn the_clock_jumps(engine: &Engine, container: &Container, sealed: i32) {
    const YEAR: i64 = 365 * 86_400;
    let cgroup = cgroup_of(container);
    let refused = |report: &Value| report["denials"]["total"].as_u64().expect("a count");
    let (_, stderr, before) = airgap(engine, &["status", "--json", "web"]);
    let mut counted = refused(&before);
    for years in [10, -20, 10] {
        jump(years * YEAR);
        let tried = try_in(&cgroup, Network::Own, "udp4", "jump");
        assert_eq!(tried.errno, libc::EPERM, "{years} years: {tried:?}");
        container.serves(2);
        let (code, stderr, now) = airgap(engine, &["status", "--json", "web"]);
        assert_eq!(code, sealed, "{years} years: {stderr}");
        assert!(refused(&now) > counted, "{years} years: {now:#}");
        assert_eq!(now["since"], before["since"], "{years} years");
        counted = refused(&now);
        let late = ["tail", "--no-follow", "--json", "--since", "1h", "web"];
        let (code, stderr, last) = airgap(engine, &late);
        assert_eq!(code, 0, "{years} years: {stderr}");
        assert_eq!(last["event"]["action"], "denied", "{years} years: {last:#}");
        let (code, stderr, _) = airgap(
            engine,
            &["attach", "-d", "--errno", "eperm", "--json", "web"],
        );
        assert_eq!(code, sealed, "{years} years: {stderr}");
    }
    println!("\nclock: refused, counted and told after 10 years on, 20 back and 10 on\n{stderr}");
}

/// What `airgap-probe reach` answers in the container, a line each.
fn reach(container: &Container, orders: &str) -> Vec<Value> {
    let netns = Netns::of(container.described.pid).expect("its network namespace");
    let mut probe = probe_in(&cgroup_of(container), Network::Shared, &["reach"]);
    let out = netns.run(|| {
        let mut child = probe.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(orders.as_bytes())?;
        drop(stdin);
        Ok(child.wait_with_output()?)
    });
    let out = out.expect("run the probe");
    let text = String::from_utf8_lossy(&out.stdout);
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Refused attempts for a reason.
fn count_of(status: &Value, reason: &str) -> u64 {
    let pairs = status["denials"]["by_reason"].as_array().into_iter();
    let pair = pairs.flatten().find(|pair| pair[0] == reason);
    pair.and_then(|pair| pair[1].as_u64()).unwrap_or(0)
}

/// Connections and datagrams of both versions, their counts, and what is beside them.
fn exceptions_open_what_they_name(engine: &Engine, container: &Container, sealed: i32) {
    const PORT: u16 = 7443;
    let own = airgap_tests::netns::Netns::of_pid(std::process::id());
    let _echo = Echo::on(&own, PORT);
    let (v4, v6) = (format!("{HOST4}:{PORT}"), format!("[{HOST6}]:{PORT}"));
    let orders = format!(
        "tcp a {v4}\nsend a hello\nreceive a\ntcp b {v6}\nsend b hello\nreceive b\n\
         udp c 4\nto c {v4} hello\nreceive c\nudp d 6\nto d {v6} hello\nreceive d\n\
         close a\nclose b\n"
    );
    let beside = format!("tcp x {HOST4}:7444\nudp y 4\nto y {HOST4}:7444 no\n");
    let refused = |lines: &[Value]| lines.iter().filter(|l| l["errno"] == libc::EPERM).count();
    assert_eq!(refused(&reach(container, &orders)), 4, "nothing before");
    let (_, _, before) = airgap(engine, &["status", "--json", "web"]);
    let mut allow = vec!["allow", "--json", "--accept", "host-exit"];
    let to = [
        v4.clone(),
        v6.clone(),
        format!("{v4}/udp"),
        format!("{v6}/udp"),
    ];
    to.iter().for_each(|to| allow.extend(["--to", to]));
    allow.push("web");
    let (code, stderr, _) = airgap(engine, &allow);
    assert_eq!(code, sealed, "{stderr}");
    let got = reach(container, &orders);
    for line in [2, 5, 8, 11] {
        assert_eq!(got[line]["ok"], "hello", "{line}: {got:#?}");
    }
    assert_eq!(refused(&reach(container, &beside)), 2);
    let (code, stderr, status) = airgap(engine, &["status", "--json", "web"]);
    assert_eq!(code, sealed, "{stderr}");
    let exits = status["exits"].as_array().cloned().unwrap_or_default();
    let counted = |what: &str| -> Vec<_> { exits.iter().map(|e| e[what].clone()).collect() };
    assert_eq!(counted("connections"), [1, 1, 0, 0], "{status:#}");
    assert_eq!(counted("bytes_out"), [5, 5, 5, 5], "{status:#}");
    assert_eq!(counted("bytes_in"), [5, 5, 5, 5], "{status:#}");
    assert_eq!(count_of(&status, "exit-port"), 2, "{status:#}");
    // Nothing was left over of the connections that were closed. Frames are refused now and
    // then that are none of theirs.
    for reason in ["no-provenance", "stale-provenance"] {
        let (then, now) = (count_of(&before, reason), count_of(&status, reason));
        assert_eq!(then, now, "{reason}: {status:#}");
    }
    let (code, stderr, _) = airgap(engine, &["disallow", "--json", "--all", "web"]);
    assert_eq!(code, sealed, "{stderr}");
    assert_eq!(refused(&reach(container, &orders)), 4, "nothing after");
    container.serves(2);
    println!("\nexceptions: both versions, connections and datagrams");
}

/// Sets the clock forward, or back.
fn jump(seconds: i64) {
    // SAFETY: plain data, and whole structures to read from and write to.
    unsafe {
        let mut now = std::mem::zeroed::<libc::timespec>();
        assert_eq!(libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now), 0);
        now.tv_sec += seconds;
        assert_eq!(
            libc::clock_settime(libc::CLOCK_REALTIME, &raw const now),
            0,
            "{}",
            std::io::Error::last_os_error()
        );
    }
}

#[test]
fn the_whole_product_on_this_kernel() {
    if std::env::var_os("AIRGAP_HOOKS").is_none() {
        eprintln!("SKIPPED: this needs a machine of its own, see cargo xtask kernels");
        return;
    }
    let frames = std::env::var("AIRGAP_FRAMES").as_deref() == Ok("required");
    let container = Container::start(&"5ea1".repeat(16));
    let engine = Engine::start(container.described.clone());
    container.serves(2);

    let (code, stderr, report) = airgap(
        &engine,
        &["attach", "-d", "--errno", "eperm", "--json", "web"],
    );
    // With the frame layer nothing can leave now; without it frames, joins or answers can.
    let (sealed, state) = if frames {
        (0, "limited")
    } else {
        (4, "opened")
    };
    assert_eq!(code, sealed, "{stderr}");
    assert_eq!(report["state"], state, "{report:#}");
    let open = names(&report["coverage"], |v| v["covered"] == false);
    // A kernel that preempts passes over fmod_ret programs at times.
    let hooked = expected_mechanism() == Some("BPF LSM") || !preempt::preempts();
    let mut expected = Vec::new();
    // A running container may have an AF_XDP socket that is older than the seal.
    expected.extend((!frames).then_some("raw frames (AF_PACKET, AF_XDP)"));
    expected.extend((!hooked).then_some("raw frames after a restart"));
    // … or have joined a group before.
    expected.extend((!frames).then_some("multicast joins (IGMP, MLD)"));
    expected.extend((!hooked).then_some("multicast joins after a restart"));
    expected.extend((!frames).then_some("answers to probes (echo replies, RSTs)"));
    expected.push("answers to probes after a restart");
    expected.extend((!hooked).then_some("host sockets (AF_VSOCK, netlink audit)"));
    // A state of the host: nothing is installed here.
    expected.push("host reboot");
    assert_eq!(open, expected, "{stderr}");

    // For the table of `cargo xtask kernels --table`.
    let vectors = report["coverage"].as_array().into_iter().flatten();
    for vector in vectors.filter(|vector| vector["vector"] != "host reboot") {
        let text = |key: &str| vector[key].as_str().unwrap_or_default().to_owned();
        println!(
            "\nvector: {}|{}|{}",
            vector["covered"],
            text("vector"),
            text("by")
        );
    }

    container.serves(1000);
    let (code, stderr, proof) = airgap(&engine, &["verify", "--json", "web"]);
    let bad = proof["techniques"].as_array().into_iter().flatten();
    let bad: Vec<_> = bad.filter(|t| t["verdict"] != "PROVEN").collect();
    println!("verify: exit {code}, not proven: {bad:#?}");
    let leaks = names(&proof["vectors"], |v| v["verdict"] == "LEAK");
    let unknown = names(&proof["vectors"], |v| v["verdict"] == "UNKNOWN");
    // Before 6.1 the sockets that answer for the kernel are the container's own, so reflection has
    // no control.
    let no_control: &[&str] = match release() < (6, 1) {
        true => &["reflection over loopback"],
        false => &[],
    };
    assert_eq!(unknown, no_control, "{stderr}");
    assert_eq!(leaks, [""; 0], "{stderr}");
    let expected = match no_control {
        [] => 0,
        _ => 4,
    };
    assert_eq!(code, expected, "{stderr}");
    assert!(
        proof["techniques"].as_array().is_some_and(|t| t.len() > 60),
        "{stderr}"
    );
    let tried = proof["techniques"].as_array().map_or(0, Vec::len);
    println!("\nproven: {} of {tried}", tried - bad.len());
    container.serves(10);

    exceptions_open_what_they_name(&engine, &container, sealed);
    elsewhere::is_denied_and_mended(&engine, &container, sealed, hooked);
    hooks_fall_silent_and_return(&engine, &container, sealed);
    the_clock_jumps(&engine, &container, sealed);

    let (code, stderr, _) = airgap(&engine, &["detach", "web"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(!fs::exists("/sys/fs/bpf/airgap").expect("bpffs"));
    container.serves(2);
    what_takes_the_place_of_a_guard_is_named(&engine, &container, sealed);
    hooks_that_came_in_silence_come_to_life(&engine, &container, sealed);
}
