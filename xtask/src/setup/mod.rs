//! `cargo xtask setup`: make a fresh Debian or Ubuntu able to build, test and show airgap.

pub(crate) mod apt;
mod containerd;
mod docker;
mod mounts;
mod rust;

use std::fs;

use anyhow::{Context, Result, bail};

/// Installs and starts what is missing, one line of output per thing done or found.
///
/// A second run changes nothing.
///
/// # Errors
/// Without root before anything is touched; otherwise when a step fails.
pub(crate) fn run() -> Result<()> {
    require_root("setup")?;
    apt::install()?;
    containerd::unpack()?;
    rust::install()?;
    mounts::mount()?;
    docker::start()
}

/// Stops early for anybody but root.
///
/// # Errors
/// When the effective uid is not 0.
pub(crate) fn require_root(task: &str) -> Result<()> {
    let path = "/proc/self/status";
    let status = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    // Uid: real, effective, saved, file system (proc_pid_status(5)).
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1));
    if effective != Some("0") {
        bail!(
            "`cargo xtask {task}` needs root; nothing was changed\n\
             hint: sudo env \"PATH=$PATH\" cargo xtask {task}"
        );
    }
    Ok(())
}

fn say(what_happened: &str, to_what: &str) {
    println!("{what_happened:<9} {to_what}");
}
