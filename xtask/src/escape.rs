//! `cargo xtask escape`: the corpus of ways out against four set-ups, as a table.
//!
//! The table is what one end-to-end test saw; this only builds, runs that test, and shows it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use anyhow::{Context, Result};

use crate::command;
use crate::workspace;
use crate::{setup, test};

/// Prints the table, or a JSON object a technique, on stdout; builds and the test itself report on
/// stderr. Returns whether the sealed container held and every positive control worked.
///
/// # Errors
/// Without root, when a build fails, or when the test died before it had a table.
pub(crate) fn run(json: bool) -> Result<bool> {
    setup::require_root("escape")?;
    let root = workspace::root()?;
    let target = workspace::target_dir(&root);
    let binary = build_quietly(&root)?;
    let probe = test::build_probe(&root)?;
    let table = target.join("escape.txt");
    if table.exists() {
        fs::remove_file(&table).with_context(|| format!("cannot remove {}", table.display()))?;
    }

    let mut cargo = workspace::cargo(&root);
    cargo
        .args(["test", "--package", "airgap-tests", "--test", "escape"])
        .args(["--", "--test-threads=1"])
        .env("AIRGAP_BIN", binary)
        .env("AIRGAP_PROBE", probe)
        .env("AIRGAP_BPF_OBJ", root.join("target/bpf/airgap-ebpf.o"))
        .env("AIRGAP_ESCAPE_OUT", &table)
        .stdin(Stdio::null())
        .stdout(io::stderr());
    if json {
        cargo.env("AIRGAP_ESCAPE_JSON", "1");
    }
    let status = cargo
        .status()
        .with_context(|| format!("cannot start `{}`", command::line(&cargo)))?;
    let text = fs::read_to_string(&table)
        .context("the test ended before it had a table; its reason is above")?;
    print!("{text}");
    Ok(status.success())
}

/// Builds the static binary; what is said goes to stderr, as stdout is for results.
///
/// # Errors
/// When the build fails.
pub(crate) fn build_quietly(root: &Path) -> Result<PathBuf> {
    // A process of its own: it and what it starts write where they like.
    let mut build = Command::new(env::current_exe().context("cannot find this program")?);
    build.args(["build", "--static"]).stdout(io::stderr());
    command::run(&mut build)?;
    let target = workspace::target_dir(root).join(workspace::musl_target());
    Ok(target.join("release/airgap"))
}
