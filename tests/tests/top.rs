//! Promise: told live, on a terminal. What `airgap top` shows is the kernel's own count, an open
//! seal is seen to be open, and the terminal is given back whatever happens.

use airgap_common::ABI_VERSION;
use airgap_tests::airgap::{binary, seal};
use airgap_tests::files::Files;
use airgap_tests::{Container, Outside, Terminal, airgap, airgap_ok, cmd, wait};
use serde_json::Value;
use std::collections::BTreeMap;

const PORT: &str = "20000";

/// Starts `airgap top` and waits for its first screen.
fn start(terminal: &Terminal) -> String {
    terminal.line(&format!("{} top", binary().display()));
    terminal.await_screen("airgap top", |screen| screen.contains(" airgap top "))
}

/// Runs `airgap-probe phone KIND` in a container to its end; the refused calls that it counted, by
/// `TRANSPORT ADDRESS PORT`.
fn phone(
    outside: &Outside,
    container: &Container,
    program: &str,
    kind: &str,
) -> BTreeMap<String, u64> {
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let order = ["--v4", &v4, "--v6", &v6, "--port", PORT];
    let mut command = vec![program, "phone", kind, "1500"];
    command.extend(order);
    let out = container.exec(&command).expect_code(0);
    serde_json::from_str(&out.stdout).expect("counts")
}

/// The words of a container's line.
fn words<'a>(screen: &'a str, container: &str) -> Vec<&'a str> {
    let line = screen.lines().find(|line| line.contains(container));
    line.map_or_else(Vec::new, |line| line.split_whitespace().collect())
}

fn total(container: &Container) -> u64 {
    let out = airgap(&["status", "--json", &container.name]);
    let status: Value = serde_json::from_str(&out.stdout).expect("JSON");
    status["denials"]["total"].as_u64().expect("a number")
}

#[test]
fn a_flood_is_counted_to_the_last_call_and_drilled_into() {
    let outside = Outside::new();
    let (noisy, quiet) = (
        outside.container("noisy").run(),
        outside.container("quiet").run(),
    );
    seal(&noisy.name, &[]);
    seal(&quiet.name, &[]);
    let terminal = Terminal::new(80, 24, &[]);
    terminal.line("echo what was here before");
    let settings = terminal.settings();
    terminal.line("echo what was here before");
    terminal.await_prompt();
    start(&terminal);
    terminal.await_screen("both containers, judged", |screen| {
        let judged = |name| matches!(words(screen, name)[..], ["sealed" | "limited", ..]);
        judged("noisy") && judged("quiet")
    });

    let counts = phone(&outside, &noisy, "airgap-probe", "flood");
    let refused: u64 = counts.values().sum();
    assert!(refused > 10_000, "{refused} are no flood");
    assert_eq!(total(&noisy), refused, "the gate's own count");
    let screen = terminal.await_screen("the count of the flood", |screen| {
        words(screen, "noisy").contains(&refused.to_string().as_str())
    });
    assert!(screen.contains(&format!("refused {refused},")), "{screen}");
    assert!(
        screen.contains(['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']),
        "{screen}"
    );
    assert!(screen.contains("TOP DESTINATIONS"), "{screen}");
    let v4 = outside.plan.outside4;
    let there = counts[&format!("udp {v4} {PORT}")];
    let there = format!("{there}  udp {v4}:{PORT}");
    assert!(screen.contains(&there), "{screen}");
    assert!(words(&screen, "quiet").contains(&"never"), "{screen}");
    println!("{screen}");

    // By rate the noisy one is the first, and is chosen.
    terminal.key("Enter");
    let screen = terminal.await_screen("one container", |screen| screen.contains("LAST ATTEMPTS"));
    println!("{screen}");
    for wanted in [
        &there,
        &format!("refused {refused}, "),
        &format!("{refused}  airgap-probe uid 0"),
        &format!("{refused}  egress"),
        "clients ANY (each is an exit)",
        "LAST 60 s, at most",
    ] {
        assert!(screen.contains(wanted), "{wanted}\n{screen}");
    }
    terminal.key("Escape");
    terminal.await_screen("the list again", |screen| screen.contains("CONTAINER"));
    terminal.key("?");
    terminal.await_screen("help", |screen| screen.contains("Any key closes this"));
    terminal.key("s");
    terminal.await_screen("no help", |screen| !screen.contains("Any key closes this"));
    for order in ["refused", "last", "name", "rate"] {
        terminal.key("s");
        let sorted = format!("by {order}");
        terminal.await_screen(&sorted, |screen| screen.contains(&sorted));
    }

    terminal.resize(45, 8);
    terminal.await_screen("that it is too small", |s| s.contains("needs 50x10"));
    terminal.resize(100, 30);
    terminal.await_screen("the list, wider", |screen| {
        screen.contains("CONTAINER") && screen.lines().count() > 25
    });
    terminal.resize(80, 24);
    terminal.key("q");
    given_back(&terminal, &settings);
    assert_eq!(outside.seen(), [], "something got out");
}

/// The first screen with what was on it, the cursor, and all settings.
#[track_caller]
fn given_back(terminal: &Terminal, settings: &str) {
    let screen = terminal.await_prompt();
    assert!(screen.contains("what was here before"), "{screen}");
    assert!(!screen.contains("airgap top "), "{screen}");
    assert_eq!(terminal.modes(), (true, false), "cursor, second screen");
    assert_eq!(terminal.settings(), settings);
    terminal.line("echo what was here before");
    terminal.await_prompt();
}

#[test]
fn a_seal_that_is_broken_or_not_in_force_is_seen_as_such() {
    let outside = Outside::new();
    let container = outside.container("torn").run();
    seal(&container.name, &[]);
    let terminal = Terminal::new(80, 24, &["NO_COLOR=1"]);
    let in_force = |screen: &str| matches!(words(screen, "torn")[..], ["sealed" | "limited", ..]);
    start(&terminal);
    terminal.await_screen("the seal in force", in_force);

    let pins = format!("/sys/fs/bpf/airgap/v{ABI_VERSION}");
    std::fs::remove_file(format!("{pins}/links/egress")).expect("remove a pin");
    let screen = terminal.await_screen("the broken seal", |screen| {
        words(screen, "torn").first() == Some(&"BROKEN") && screen.contains("1 BROKEN")
    });
    assert!(screen.contains("egress: its pin is gone"), "{screen}");
    assert!(screen.contains(" 0 sealed"), "{screen}");
    airgap_ok(&["restore"]);
    terminal.await_screen("the mended seal", in_force);

    // The pins of everybody else must stay: another bpffs over them looks the same.
    cmd::ok("mount -t bpf airgap-test /sys/fs/bpf");
    let open = wait::within(wait::SOON, || {
        let screen = terminal.screen();
        let open = words(&screen, "torn").starts_with(&["NOT", "SEALED"]);
        (open && screen.contains("1 NOT SEALED")).then_some(screen)
    });
    cmd::ok("umount /sys/fs/bpf");
    let screen = open.unwrap_or_else(|| panic!("not seen to be open:\n{}", terminal.screen()));
    assert!(screen.contains("not in force: airgap restore"), "{screen}");
    let coloured = terminal.coloured();
    assert!(!coloured.contains("\x1b[31m"), "{coloured:?}");
    terminal.await_screen("the seal in force again", in_force);

    airgap_ok(&["detach", &container.name]);
    terminal.await_screen("nothing sealed", |screen| {
        screen.contains("no container is sealed on this host")
    });
}

#[test]
fn a_container_cannot_drive_the_terminal() {
    let outside = Outside::new();
    let container = outside.container("hostile").run();
    seal(&container.name, &[]);
    // A title, a colour, a jump home, and the direction of text.
    let nasty = "/tmp/\x1b]0;t\x07\x1b[31m\x1b[H";
    container
        .exec(&["cp", "/bin/airgap-probe", nasty])
        .expect_code(0);
    phone(&outside, &container, nasty, "tcp");
    let terminal = Terminal::new(80, 24, &[]);
    start(&terminal);
    let shown = "\\x1b]0;t\\x07\\x1b";
    terminal.await_screen("the name, escaped", |screen| screen.contains(shown));
    terminal.key("Enter");
    let screen = terminal.await_screen("one container", |screen| screen.contains("LAST ATTEMPTS"));
    assert!(screen.contains(shown), "{screen}");
    assert!(screen.starts_with(" airgap top "), "{screen}");
}

#[test]
fn the_terminal_is_given_back_on_every_way_out() {
    let outside = Outside::new();
    let container = outside.container("ended").run();
    seal(&container.name, &[]);
    let terminal = Terminal::new(80, 24, &[]);
    let settings = terminal.settings();
    terminal.line("echo what was here before");
    terminal.await_prompt();

    start(&terminal);
    assert_eq!(terminal.modes(), (false, true), "cursor, second screen");
    terminal.key("C-c");
    given_back(&terminal, &settings);

    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        start(&terminal);
        let [pid] = terminal.jobs()[..] else {
            panic!("the shell runs something else: {:?}", terminal.jobs());
        };
        // SAFETY: kill takes no pointers; the process is the one started above.
        unsafe { libc::kill(pid, signal) };
        given_back(&terminal, &settings);
    }

    // The terminal goes away: so does what it showed.
    start(&terminal);
    let jobs = terminal.jobs();
    drop(terminal);
    wait::until("airgap top ends with its terminal", wait::SOON, || {
        let alive = |pid: &i32| std::path::Path::new(&format!("/proc/{pid}")).exists();
        (!jobs.iter().any(alive)).then_some(())
    });
    assert_eq!(jobs.len(), 1);
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let out = airgap(&["top"]).expect_code(2);
    for wanted in ["needs a terminal", "airgap list", "airgap tail"] {
        assert!(out.stderr.contains(wanted), "{}", out.describe());
    }
    assert_eq!(out.stdout, "");
}

/// A container that has tried the outside, and `airgap top` that asks whether it may.
#[track_caller]
fn asked(outside: &Outside, container: &Container, terminal: &Terminal) {
    let v4 = outside.plan.outside4;
    let order = ["--v4", &v4.to_string(), "--port", PORT];
    let attempt = ["airgap-probe", "try", "tcp4"];
    container.exec(&[&attempt[..], &order].concat());
    start(terminal);
    terminal.await_screen("the attempt", |screen| {
        screen.contains(&format!("{v4}:{PORT}"))
    });
    terminal.key("Enter");
    terminal.await_screen("one container", |screen| screen.contains("LAST ATTEMPTS"));
    terminal.key("a");
    let asked = format!("allow {v4}:{PORT}/tcp for 15 minutes?");
    let screen = terminal.await_screen("the question", |screen| screen.contains("15 minutes?"));
    assert!(
        screen.contains(&asked) && screen.contains(&container.name),
        "{screen}"
    );
}

#[track_caller]
fn exits(container: &Container) -> usize {
    let out = airgap(&["status", "--json", &container.name]);
    let status: Value = serde_json::from_str(&out.stdout).expect("JSON");
    status["exits"].as_array().map_or(0, Vec::len)
}

#[test]
fn one_key_lets_a_destination_be_reached_for_a_while() {
    let outside = Outside::new();
    let container = outside.container("asking").run();
    seal(&container.name, &[]);
    let terminal = Terminal::new(120, 24, &[]);
    asked(&outside, &container, &terminal);
    terminal.key("n");
    terminal.await_screen("no question", |screen| !screen.contains("for 15 minutes?"));
    assert_eq!(exits(&container), 0, "nobody agreed");
    terminal.key("a");
    terminal.await_screen("the question", |screen| screen.contains("15 minutes?"));
    terminal.key("y");
    terminal.await_screen("what became of it", |s| s.contains("airgap disallow"));
    assert_eq!(exits(&container), 1, "it is in force");
    terminal.key("q");
}

#[test]
fn the_key_opens_nothing_that_is_above_the_ceiling() {
    let outside = Outside::new();
    let container = outside.container("asking").run();
    seal(&container.name, &[]);
    let files = Files::new();
    let config = files.write("airgap.toml", "");
    files.write("ceiling.toml", "to = [\"192.0.2.0/24:*\"]\n");
    let config = format!("AIRGAP_CONFIG={config}");
    let terminal = Terminal::new(120, 24, &[&config]);
    asked(&outside, &container, &terminal);
    terminal.key("y");
    terminal.await_screen("the refusal", |screen| screen.contains("ceiling"));
    assert_eq!(exits(&container), 0, "it is refused");
    terminal.key("q");
}
