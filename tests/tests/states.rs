//! Promise: no pretend. A way out that opens turns the state of every command and metric, and
//! closing it turns them back: what is limited is told from what is open now.

use airgap_tests::airgap::{binary, hooks_refuse, seal};
use airgap_tests::{Container, Frame, Outside, Tail, Terminal, airgap, airgap_ok, wait};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PORT: &str = "20000";
const MARKER: &str = "held-packet";

/// A root process inside sends hand-made frames, if the kernel gives it the socket.
fn framer(outside: &Outside) -> Container {
    let path = format!("/sys/class/net/{}/address", outside.plan.bridge);
    let mac = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let line = [
        "airgap-probe",
        "hold",
        "packet?",
        "--v4",
        &v4,
        "--v6",
        &v6,
        "--port",
        PORT,
        "--gateway-mac",
        mac.trim(),
    ];
    outside.container("framer").command(&line).run()
}

fn heard(outside: &Outside, window: Duration) -> bool {
    let wanted = |frame: &Frame| frame.contains(MARKER);
    outside.tap.watch(window, wanted).is_some()
}

fn leaks(outside: &Outside) -> bool {
    outside.tap.barrier();
    outside.clear();
    heard(outside, Duration::from_millis(600))
}

/// A socket of metrics; its file goes with whoever serves it.
fn metrics_path() -> PathBuf {
    std::env::temp_dir().join(format!("airgap-states-{}", std::process::id()))
}

fn scrape(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).expect("connect");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn status(container: &Container) -> Value {
    let out = airgap(&["status", "--json", &container.name]);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
}

/// Every command and the metrics say this state, by word and exit code.
#[track_caller]
fn all_say(container: &Container, metrics: &Path, state: &str, code: i32) {
    let report = status(container);
    assert_eq!(report["state"], state, "{report:#}");
    let headline = format!("SEALED, {}", state.to_uppercase());
    for command in ["status", "report"] {
        let out = airgap(&[command, &container.name]).expect_code(code);
        let first = out.stdout.lines().next().unwrap_or_default();
        assert!(first.contains(&headline), "{}", out.describe());
    }
    let list = airgap(&["list", "--json"]).expect_code(code);
    let rows: Value = serde_json::from_str(&list.stdout).expect("JSON");
    assert_eq!(rows["containers"][0]["state"], state, "{rows:#}");
    let told = scrape(metrics);
    let line = format!(
        "airgap_state{{container=\"{}\",id=\"{}\",airgap_state=\"{state}\"}} 1\n",
        container.name, container.id
    );
    assert!(told.contains(&line), "{line}: {told}");
}

/// The word before a container's name on the screen.
fn is_shown(screen: &str, container: &Container, word: &str) -> bool {
    let line = screen.lines().find(|line| line.contains(&container.name));
    line.is_some_and(|line| line.split_whitespace().next() == Some(word))
}

#[test]
fn a_restart_that_opens_a_veth_turns_every_state_and_attach_turns_it_back() {
    let outside = Outside::new();
    let container = framer(&outside);
    assert!(
        heard(&outside, wait::SOON),
        "the control: unsealed, a frame is heard"
    );
    let attach = seal(&container.name, &[]).expect_code(0);
    assert!(attach.stdout.lines().count() <= 8, "{}", attach.describe());
    let metrics = metrics_path();
    let address = format!("unix:{}", metrics.display());
    let tail = Tail::start(&["tail", "--metrics", &address]);
    tail.await_start();
    let terminal = Terminal::new(100, 24, &[]);
    terminal.line(&format!("{} top", binary().display()));
    terminal.await_screen("limited", |screen| is_shown(screen, &container, "limited"));
    assert!(!leaks(&outside), "sealed, a frame is heard");
    all_say(&container, &metrics, "limited", 0);

    container.restart();
    if hooks_refuse() {
        assert!(!leaks(&outside), "a frame passed the security hooks");
    } else {
        // The control: the state turns because this leaves.
        assert!(
            heard(&outside, wait::SOON),
            "nothing is heard of a bare veth"
        );
        let since = status(&container)["opened_since"].as_u64();
        assert!(since.is_some(), "{:#}", status(&container));
    }
    all_say(&container, &metrics, "opened", 4);
    terminal.await_screen("opened", |screen| is_shown(screen, &container, "OPENED"));

    seal(&container.name, &[]).expect_code(0);
    assert!(!leaks(&outside), "attached again, a frame is heard");
    all_say(&container, &metrics, "limited", 0);
    terminal.await_screen("limited again", |screen| {
        is_shown(screen, &container, "limited")
    });
    terminal.key("q");
}

/// What is not covered says when it opens, what it means, and what to do.
#[test]
fn each_limit_is_told_in_full_where_it_is_asked_for() {
    let outside = Outside::new();
    let container = outside.container("limits").run();
    seal(&container.name, &[]).expect_code(0);
    let report = status(&container);
    let rows = report["coverage"].as_array().expect("coverage");
    let open: Vec<_> = rows.iter().filter(|row| row["covered"] == false).collect();
    assert!(!open.is_empty(), "nothing restores it at boot: {report:#}");
    let explained = airgap_ok(&["status", "--explain", &container.name]).stdout;
    for row in &open {
        assert_ne!(row["when"], "now", "{row}");
        for key in ["effect", "by"] {
            let text = row[key].as_str().unwrap_or_else(|| panic!("{key}: {row}"));
            assert!(explained.contains(text), "{text}: {explained}");
        }
        let vector = row["vector"].as_str().expect("a vector");
        let told = airgap_ok(&["explain", vector]).stdout;
        assert!(told.contains("What: "), "{told}");
    }
    let reboot = open.iter().find(|row| row["vector"] == "host reboot");
    assert_eq!(
        reboot.map(|row| row["mend"] == "airgap install"),
        Some(true)
    );
    // Hooks are named only where they are asked for.
    let plain = airgap_ok(&["status", &container.name]).stdout;
    let verbose = airgap_ok(&["status", "--verbose", &container.name]).stdout;
    assert!(!plain.contains("connect4"), "{plain}");
    assert!(verbose.contains("connect4"), "{verbose}");
    let list = airgap_ok(&["explain"]).stdout;
    for word in ["limited", "opened", "privileged", "dns", "host reboot"] {
        assert!(list.lines().any(|l| l.trim() == word), "{word}: {list}");
    }
}
