//! All files of the packages, as they lie on a host.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build_ebpf;
use crate::command;
use crate::workspace;

/// Pages that a reader without the repository needs, beside README.md.
const DOCS: &str = "docs";

/// Lays them out below `dist/root`, and returns that folder.
pub(super) fn stage(root: &Path, dist: &Path, epoch: &str) -> Result<PathBuf> {
    let binary = binary(root)?;
    let staged = dist.join("root");
    copy(&binary, &staged.join("usr/bin/airgap"), 0o755)?;
    let mut manual = workspace::cargo(root);
    manual.args(["run", "--quiet", "--package", "airgap-manual", "--"]);
    command::run(manual.arg(&staged))?;
    let configuration = "airgap/airgap.toml";
    copy(
        &root.join("packaging/airgap.toml"),
        &staged.join("etc").join(configuration),
        0o644,
    )?;
    let doc = staged.join("usr/share/doc/airgap");
    for name in ["README.md", "CHANGELOG.md"] {
        copy(&root.join(name), &doc.join(name), 0o644)?;
    }
    copy_all(&root.join(DOCS), &doc.join(DOCS))?;
    compress(&staged.join("usr/share/man/man1"))?;
    compress_one(&doc.join("CHANGELOG.md"))?;
    fs::rename(doc.join("CHANGELOG.md.gz"), doc.join("changelog.gz"))
        .context("cannot name the changelog")?;
    let mut touch = Command::new("find");
    touch.arg(&staged).args(["-exec", "touch", "-h", "-d"]);
    command::run(touch.args([&format!("@{epoch}"), "{}", "+"]))?;
    Ok(staged)
}

/// Builds the static binary, which names no folder of the builder's.
pub(super) fn binary(root: &Path) -> Result<PathBuf> {
    build_ebpf::run()?;
    let target = workspace::target_dir(root).join("dist-build");
    let remapped = workspace::remapped(root)?;
    let mut cargo = workspace::cargo(root);
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", remapped.join("\x1f"))
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "airgap",
            "--bin",
            "airgap",
        ])
        .args(["--target", &workspace::musl_target(), "--target-dir"]);
    command::run(cargo.arg(&target))?;
    Ok(target.join(workspace::musl_target()).join("release/airgap"))
}

pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let what = || format!("cannot copy {} to {}", from.display(), to.display());
    let parent = to.parent().with_context(what)?;
    fs::create_dir_all(parent).with_context(what)?;
    fs::copy(from, to).with_context(what)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).with_context(what)
}

/// Pages and the plots in them.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("cannot list {}", from.display());
    for entry in fs::read_dir(from).with_context(what)? {
        let path = entry.with_context(what)?.path();
        let to = to.join(path.file_name().with_context(what)?);
        match path.is_dir() {
            true => copy_all(&path, &to)?,
            false => copy(&path, &to, 0o644)?,
        }
    }
    Ok(())
}

fn compress(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        compress_one(&entry.context("cannot list the pages")?.path())?;
    }
    Ok(())
}

fn compress_one(path: &Path) -> Result<()> {
    command::run(Command::new("gzip").args(["-9", "-n", "-f"]).arg(path))
}
