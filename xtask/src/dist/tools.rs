//! The packers, pinned, in a folder of the repository's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::workspace;

/// Cargo package and version.
const TOOLS: [(&str, &str); 3] = [
    ("cargo-deb", "3.8.0"),
    ("cargo-generate-rpm", "0.21.1"),
    ("cargo-cyclonedx", "0.5.9"),
];

/// Where the packers are.
pub(super) struct Tools(PathBuf);

impl Tools {
    /// The program of this name.
    pub(super) fn command(&self, name: &str) -> Command {
        Command::new(self.0.join(name))
    }
}

/// Installs what is missing, some minutes the first time.
pub(super) fn install(root: &Path) -> Result<Tools> {
    let folder = workspace::target_dir(root).join("tools");
    for (name, version) in TOOLS {
        let mut install = Command::new("cargo");
        install
            .args(["install", "--quiet", "--locked", "--root"])
            .arg(&folder)
            .args(["--version", version, name]);
        command::run(&mut install).with_context(|| format!("cannot install {name} {version}"))?;
    }
    Ok(Tools(folder.join("bin")))
}
