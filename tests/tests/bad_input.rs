//! Promise: wrong use is told apart, named and changes nothing.

use airgap_tests::cmd::{self, Output};
use airgap_tests::kernel::assert_same;
use airgap_tests::{Outside, airgap, kernel_state};
use std::path::PathBuf;
use std::process::Command;

/// Arguments, exit status, what stderr must mention.
type Row = (&'static [&'static str], i32, &'static [&'static str]);

/// What is said of a name that nobody has; the container that there is, is named.
const NOBODY: &[&str] = &["there is no container 'airgap-test-nobody'", "there are"];

/// NAME stands for a running container.
const TABLE: &[Row] = &[
    (&[], 2, &["attach"]),
    (&["frobnicate"], 2, &["frobnicate"]),
    (&["attach"], 2, &["CONTAINER"]),
    (
        &["attach", "-d", "airgap-test-nobody"],
        1,
        &["error:", "airgap-test-nobody", "hint:"],
    ),
    (&["attach", "-d", "../etc"], 1, &["error:", "../etc"]),
    (&["attach", "-d", ""], 1, &["error:"]),
    (&["attach", "-d", "-p", "99999", "NAME"], 2, &["99999"]),
    (&["attach", "-d", "-p", "0", "NAME"], 2, &["0"]),
    (&["attach", "-d", "-p", "web", "NAME"], 2, &["web"]),
    (&["attach", "-d", "-p", "5060/sctp", "NAME"], 2, &["sctp"]),
    (&["attach", "-d", "-p", "5060/udp", "NAME"], 2, &["udp"]),
    (
        &["attach", "-d", "--from", "198.51.100.0/33", "NAME"],
        2,
        &["198.51.100.0/33"],
    ),
    (
        &["attach", "-d", "--from", "everywhere", "NAME"],
        2,
        &["everywhere"],
    ),
    (
        &["attach", "-d", "--accept", "no-such-risk", "NAME"],
        2,
        &["no-such-risk"],
    ),
    (
        &["attach", "-d", "--no-such-flag", "NAME"],
        2,
        &["--no-such-flag"],
    ),
    (&["detach"], 2, &["CONTAINER"]),
    (&["detach", "airgap-test-nobody"], 3, NOBODY),
    (&["detach", "NAME"], 3, &["not sealed"]),
    (&["status", "NAME"], 3, &[]),
    (&["status", "airgap-test-nobody"], 3, NOBODY),
    (&["tail", "airgap-test-nobody"], 3, NOBODY),
    (&["verify", "airgap-test-nobody"], 3, NOBODY),
    (&["learn", "airgap-test-nobody"], 3, NOBODY),
    (&["report", "airgap-test-nobody"], 3, NOBODY),
    (
        &[
            "--host",
            "unix:///nonexistent/docker.sock",
            "attach",
            "-d",
            "NAME",
        ],
        1,
        &["error:", "/nonexistent/docker.sock", "hint:"],
    ),
    (
        &["--host", "nonsense://x", "attach", "-d", "NAME"],
        1,
        &["error:", "nonsense", "hint:"],
    ),
];

fn judge(out: &Output, code: i32, fragments: &[&str]) -> Option<String> {
    let missing: Vec<_> = fragments
        .iter()
        .filter(|f| !out.stderr.contains(**f))
        .collect();
    let quiet = out.stdout.is_empty() || code == 3;
    let panicked = out.stderr.contains("panicked") || out.code > 128;
    (out.code != code || !missing.is_empty() || !quiet || panicked).then(|| {
        format!(
            "want exit {code}, stderr with {missing:?}, quiet stdout:\n{}",
            out.describe()
        )
    })
}

#[test]
fn wrong_invocations_are_named_and_change_nothing() {
    let outside = Outside::new();
    let container = outside.container("victim").run();
    let before = kernel_state();
    let mut problems = Vec::new();
    for (args, code, fragments) in TABLE {
        let args: Vec<&str> = args
            .iter()
            .map(|&a| {
                if a == "NAME" {
                    container.name.as_str()
                } else {
                    a
                }
            })
            .collect();
        problems.extend(judge(&airgap(&args), *code, fragments));
        assert_same(&before, &kernel_state(), &format!("after {args:?}"));
    }
    assert!(
        problems.is_empty(),
        "{} problems\n{}",
        problems.len(),
        problems.join("\n\n")
    );
}

#[test]
fn docker_host_is_honoured() {
    let outside = Outside::new();
    let container = outside.container("victim").run();
    let out = cmd::run_command(
        Command::new(airgap::binary())
            .args(["attach", "-d", &container.name])
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
    );
    let problem = judge(&out, 1, &["error:", "/nonexistent/docker.sock"]);
    assert!(problem.is_none(), "{}", problem.unwrap_or_default());
}

#[test]
fn ambiguous_prefixes_are_refused() {
    let outside = Outside::new();
    let mut containers = Vec::new();
    // Seventeen ids have two with the same first hex digit.
    for number in 0..17 {
        containers.push(outside.container(&format!("many{number}")).create());
    }
    let first = |id: &str| id[..1].to_owned();
    let shared = containers.iter().map(|c| first(&c.id)).find(|digit| {
        containers
            .iter()
            .filter(|c| c.id.starts_with(digit.as_str()))
            .count()
            > 1
    });
    let shared = shared.expect("two of seventeen ids share a first digit");
    let before = kernel_state();
    let out = airgap(&["attach", "-d", &shared]);
    let problem = judge(&out, 1, &["error:", &shared]);
    assert!(problem.is_none(), "{}", problem.unwrap_or_default());
    assert_same(&before, &kernel_state(), "after an ambiguous prefix");
}

/// A copy of the binary that everybody may execute, wherever the build is; removed on drop.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("airgap-test-{}", std::process::id()));
        std::fs::copy(airgap::binary(), &path).expect("copy the binary");
        Self(path)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[test]
fn other_users_are_told_to_become_root() {
    let outside = Outside::new();
    let container = outside.container("victim").run();
    let before = kernel_state();
    let copy = Copy::new();
    for command in ["attach -d", "detach", "list", "status", "tail"] {
        let mut line = Command::new("setpriv");
        line.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&copy.0);
        line.args(command.split_whitespace());
        if command != "list" {
            line.arg(&container.name);
        }
        let out = cmd::run_command(&mut line);
        let problem = judge(&out, 1, &["error:", "root", "sudo"]);
        assert!(problem.is_none(), "{}", problem.unwrap_or_default());
    }
    assert_same(&before, &kernel_state(), "after commands of another user");
}
