//! `cargo xtask build`: the release binary, with the BPF object inside.

use std::path::PathBuf;

use anyhow::Result;

use crate::build_ebpf;
use crate::command;
use crate::workspace;

/// Builds the BPF object and the binary, and returns the binary's path.
///
/// # Errors
/// When either build fails.
pub(crate) fn run(fixed: bool) -> Result<PathBuf> {
    build_ebpf::run()?;
    let root = workspace::root()?;
    let mut cargo = workspace::cargo(&root);
    cargo.args([
        "build",
        "--release",
        "--package",
        "airgap",
        "--bin",
        "airgap",
    ]);
    let mut binary = workspace::target_dir(&root);
    if fixed {
        cargo.args(["--target", &workspace::musl_target()]);
        binary.push(workspace::musl_target());
    }
    command::run(&mut cargo)?;
    binary.push("release/airgap");
    println!("{}: {}", binary.display(), workspace::kib(&binary)?);
    Ok(binary)
}
