//! The product under test, run the way its users run it.

use crate::cmd::{self, Output};
use crate::preempt;
use std::path::PathBuf;
use std::process::Command;
use std::{env, path::Path};

/// Where the airgap binary is, from `$AIRGAP_BIN`.
///
/// # Panics
/// When the variable is not set or names nothing.
#[must_use]
#[track_caller]
pub fn binary() -> PathBuf {
    let path = PathBuf::from(
        env::var_os("AIRGAP_BIN").expect("AIRGAP_BIN must name the binary; run `cargo xtask test`"),
    );
    assert!(
        path.is_file(),
        "AIRGAP_BIN={} is not a file",
        path.display()
    );
    path
}

/// Where the tests' seals are recorded; gone with the turn.
pub const STATE: &str = "/run/airgap-test-state";

/// `airgap`, recording in a place of the tests' own.
#[must_use]
#[track_caller]
pub fn command() -> Command {
    let mut command = Command::new(binary());
    command.env("AIRGAP_STATE", STATE);
    command
}

/// Runs `airgap ARGS…` to its end.
#[track_caller]
pub fn airgap(args: &[&str]) -> Output {
    cmd::run_command(command().args(args))
}

/// Runs `airgap ARGS…` with this on stdin.
///
/// # Panics
/// When the text does not fit into a pipe at once.
#[track_caller]
pub fn with_input(args: &[&str], input: &str) -> Output {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    assert!(input.len() <= libc::PIPE_BUF, "{} bytes", input.len());
    std::io::Write::write_all(&mut writer, input.as_bytes()).expect("write");
    drop(writer);
    cmd::run_with(command().args(args), reader.into())
}

/// Runs `airgap ARGS…` and wants exit 0.
///
/// # Panics
/// With another exit status.
#[track_caller]
pub fn airgap_ok(args: &[&str]) -> Output {
    airgap(args).expect_code(0)
}

/// Seals a container and returns at once. Exit 4 (sealed, and something is open) is as good as 0
/// here: what the seal holds is what the test goes on to prove.
///
/// # Panics
/// When airgap says that the container is not sealed.
#[track_caller]
pub fn seal(container: &str, options: &[&str]) -> Output {
    let mut args = vec!["attach", "-d"];
    args.extend(options);
    args.push(container);
    let out = airgap(&args);
    assert!(
        matches!(out.code, 0 | 4),
        "attach did not seal\n{}",
        out.describe()
    );
    out
}

/// By what the kernel must run the security hooks, as the product names it; `None` on a host
/// of which nothing is known. `AIRGAP_HOOKS` says `lsm` or `fmod_ret`.
///
/// # Panics
/// When it says anything else.
#[must_use]
pub fn expected_mechanism() -> Option<&'static str> {
    match env::var("AIRGAP_HOOKS").ok()?.as_str() {
        "lsm" => Some("BPF LSM"),
        "fmod_ret" => Some("fmod_ret"),
        other => panic!("AIRGAP_HOOKS={other} means nothing"),
    }
}

/// Whether this kernel runs the security hooks, as the product found out with a live refusal.
///
/// # Panics
/// When `AIRGAP_HOOKS` names what must run them, and the product does not.
#[must_use]
#[track_caller]
pub fn hooks_refuse() -> bool {
    let doctor = airgap(&["doctor", "--json"]);
    let refuse = doctor.stdout.contains("a refusal was seen now");
    if let Some(mechanism) = expected_mechanism()
        && !(mechanism == "fmod_ret" && preempt::preempts())
    {
        let told = format!("attached by {mechanism}, and a refusal was seen now");
        assert!(
            doctor.stdout.contains(&told),
            "no security hooks by {mechanism}, and this kernel must have them\n{}",
            doctor.describe()
        );
    }
    refuse
}

/// Lifts a seal on the way out, when the product is there and has any state.
pub(crate) fn detach_quietly(container: &str) {
    if let Some(binary) = env::var_os("AIRGAP_BIN")
        && Path::new("/sys/fs/bpf/airgap").exists()
    {
        let mut detach = Command::new(binary);
        detach.env("AIRGAP_STATE", STATE);
        drop(detach.args(["detach", container]).output());
    }
}

/// Names of all that is sealed.
///
/// # Panics
/// When the list is none.
#[must_use]
#[track_caller]
pub fn sealed() -> Vec<String> {
    let out = airgap(&["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&out.stdout).expect("JSON");
    let rows = list["containers"].as_array().expect("a list");
    let names = rows.iter().map(|row| row["container"]["name"].as_str());
    names.flatten().map(str::to_owned).collect()
}

/// A number that the environment names, or another.
///
/// # Panics
/// When what it names is none.
#[must_use]
pub fn number_of(variable: &str, otherwise: u32) -> u32 {
    match env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => otherwise,
    }
}
