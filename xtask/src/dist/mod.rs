//! `cargo xtask dist`: what is released, below `target/dist`.

pub(crate) mod image;
mod pack;
mod stage;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::workspace;

/// Makes the static binary, a Debian package, an RPM package, an SBOM and their sums. No file in
/// them is younger than the commit. The binary names no folder of the
/// builder's, so its bytes are those of any other build of the commit with these tools.
/// Returns the folder.
///
/// # Errors
/// When a tool cannot be installed, or a step fails.
pub(crate) fn run() -> Result<PathBuf> {
    let root = workspace::root()?;
    let tools = tools::install(&root)?;
    let epoch = epoch(&root)?;
    let dist = workspace::target_dir(&root).join("dist");
    clear(&dist)?;
    let staged = stage::stage(&root, &dist, &epoch)?;
    pack::all(&root, &dist, &staged, &tools, &epoch)?;
    let sums = sums(&dist)?;
    print!("{sums}");
    println!("{}", dist.display());
    Ok(dist)
}

/// When the commit was made, seconds since 1970-01-01 UTC: no file is younger.
fn epoch(root: &Path) -> Result<String> {
    let mut git = Command::new("git");
    git.current_dir(root)
        .args(["log", "-1", "--format=%ct", "HEAD"]);
    command::output(&mut git).context("cannot tell when this commit was made")
}

fn clear(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot clear {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// Writes `SHA256SUMS` of the files beside it.
fn sums(dist: &Path) -> Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dist).context("cannot list what was made")? {
        let entry = entry.context("cannot list what was made")?;
        if entry.path().is_file() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    let mut sum = Command::new("sha256sum");
    let sums = command::output(sum.current_dir(dist).args(names))? + "\n";
    fs::write(dist.join("SHA256SUMS"), &sums).context("cannot write SHA256SUMS")?;
    Ok(sums)
}
