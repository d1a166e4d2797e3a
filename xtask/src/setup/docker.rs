//! A Docker engine that answers.

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::say;
use crate::command;

const LOG: &str = "/var/log/airgap-dockerd.log";
const PATIENCE: Duration = Duration::from_secs(60);

/// The version of the engine that answers, on `DOCKER_HOST` or the default socket.
pub(super) fn answer() -> Option<String> {
    let mut version = Command::new("docker");
    version.args(["version", "--format", "{{.Server.Version}}"]);
    command::output(&mut version).ok()
}

/// Starts the engine unless one answers.
pub(super) fn start() -> Result<()> {
    if let Some(version) = answer() {
        say("found", &format!("Docker engine {version}"));
        return Ok(());
    }
    if let Some(host) = env::var_os("DOCKER_HOST") {
        bail!(
            "no Docker engine answers on DOCKER_HOST={}\nhint: unset it, and setup starts one",
            host.display()
        );
    }
    // Named in sd_booted(3).
    let log = if Path::new("/run/systemd/system").is_dir() {
        command::run(Command::new("systemctl").args(["start", "docker"]))?;
        None
    } else {
        spawn()?;
        Some(LOG)
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(version) = answer() {
            say("started", &format!("Docker engine {version}"));
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "no Docker engine after {} s\n{}",
                PATIENCE.as_secs(),
                log.map_or_else(
                    || "hint: journalctl --unit docker".to_owned(),
                    |log| format!("hint: {log} ends with:\n{}", tail(log))
                )
            );
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Starts dockerd in a session of its own, so that it outlives this process and its terminal.
fn spawn() -> Result<()> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(LOG)
        .with_context(|| format!("cannot write {LOG}"))?;
    let errors = log
        .try_clone()
        .with_context(|| format!("cannot share {LOG}"))?;
    let mut setsid = Command::new("setsid");
    setsid
        .args(["--fork", "dockerd"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    command::run(&mut setsid)
}

fn tail(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
