//! The packages themselves.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::tools::Tools;
use crate::command;

/// Packs what is staged.
pub(super) fn all(
    root: &Path,
    dist: &Path,
    staged: &Path,
    tools: &Tools,
    epoch: &str,
) -> Result<()> {
    let binary = format!("airgap-{}-linux", env::consts::ARCH);
    fs::copy(staged.join("usr/bin/airgap"), dist.join(binary)).context("cannot copy the binary")?;
    let mut deb = tools.command("cargo-deb");
    deb.current_dir(root)
        .env("SOURCE_DATE_EPOCH", epoch)
        .args([
            "deb",
            "--quiet",
            "--package",
            "airgap",
            "--no-build",
            "--no-strip",
            "--locked",
        ])
        .args(["--deb-revision", "", "--output"]);
    command::run(deb.arg(dist))?;
    let mut rpm = tools.command("cargo-generate-rpm");
    rpm.current_dir(root)
        .args([
            "generate-rpm",
            "--package",
            "airgap-user",
            "--source-date",
            epoch,
        ])
        .args(["--auto-req", "disabled", "--output"]);
    command::run(rpm.arg(dist))?;
    let mut sbom = tools.command("cargo-cyclonedx");
    sbom.current_dir(root)
        .env("SOURCE_DATE_EPOCH", epoch)
        .args(["cyclonedx", "--manifest-path", "airgap-user/Cargo.toml"])
        .args(["--format", "json"])
        .args(["--override-filename", "airgap.cdx"]);
    command::run(&mut sbom)?;
    let made = root.join("airgap-user/airgap.cdx.json");
    fs::rename(&made, dist.join("airgap.cdx.json"))
        .with_context(|| format!("cannot move {}", made.display()))
}
