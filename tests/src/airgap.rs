//! The product under test, run the way its users run it.

use crate::cmd::{self, Output};
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

/// Whether this kernel runs BPF LSM, as the product found out with a live refusal.
///
/// # Panics
/// When `AIRGAP_LSM` says `required` and it does not, or `absent` and it does.
#[must_use]
#[track_caller]
pub fn lsm_refuses() -> bool {
    let doctor = airgap(&["doctor", "--json"]);
    let refuses = doctor.stdout.contains("a refusal was seen now");
    let possible = match env::var("AIRGAP_LSM").as_deref() {
        Ok("required") => refuses,
        Ok("absent") => !refuses,
        _ => true,
    };
    assert!(
        possible,
        "the security hooks are there: {refuses}, and on this kernel that cannot be\n{}",
        doctor.describe()
    );
    refuses
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
