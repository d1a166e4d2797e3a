//! Toolchains, targets and bpf-linker.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{apt, say};
use crate::build_ebpf::{self, LINKER_VERSION};
use crate::command;
use crate::workspace;

/// Installs the pinned nightly, the static target, the checkers and the BPF linker.
pub(super) fn install() -> Result<()> {
    if apt::find("rustup").is_none() {
        bail!("rustup is not installed\nhint: see https://rustup.rs, then repeat");
    }
    nightly()?;
    musl()?;
    checkers()?;
    linker()
}

fn nightly() -> Result<()> {
    let channel = workspace::bpf_channel(&workspace::root()?)?;
    let what = format!("{channel} with rust-src");
    if build_ebpf::sysroot(&channel).is_ok() {
        say("found", &what);
        return Ok(());
    }
    let mut install = Command::new("rustup");
    install
        .args(["toolchain", "install", &channel, "--no-self-update"])
        .args(["--profile", "minimal", "--component", "rust-src"]);
    command::run(&mut install)?;
    say("installed", &what);
    Ok(())
}

fn musl() -> Result<()> {
    let target = workspace::musl_target();
    let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]))
        .map(PathBuf::from)
        .context("cannot ask the stable toolchain where it is")?;
    if sysroot
        .join("lib/rustlib")
        .join(&target)
        .join("lib")
        .is_dir()
    {
        say("found", &target);
        return Ok(());
    }
    command::run(Command::new("rustup").args(["target", "add", &target]))?;
    say("installed", &target);
    Ok(())
}

/// rustfmt and clippy, which the minimal profile leaves out.
fn checkers() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if command::succeeds(Command::new("cargo").args([subcommand, "--version"])) {
            say("found", component);
            continue;
        }
        command::run(Command::new("rustup").args(["component", "add", component]))?;
        say("installed", component);
    }
    Ok(())
}

fn linker() -> Result<()> {
    let what = format!("bpf-linker {LINKER_VERSION}");
    if build_ebpf::linker_present() {
        say("found", &what);
        return Ok(());
    }
    let mut install = Command::new("cargo");
    install
        .args(["install", "bpf-linker", "--locked", "--force"])
        .args(["--version", LINKER_VERSION]);
    command::run(&mut install)?;
    say("installed", &what);
    Ok(())
}
