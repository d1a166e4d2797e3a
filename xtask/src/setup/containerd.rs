//! The containerd whose pods the tests make: sid's, which runs on any Debian since 12.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::say;
use crate::debian::{Index, KEYRING, sources};

/// Where the tests look for it. 106 MB on the disk.
const PLACE: &str = "/usr/local/lib/airgap-tests/containerd";
const SUITE: &str = "sid";

/// Unpacks it there; nothing of it is installed.
pub(super) fn unpack() -> Result<()> {
    let place = Path::new(PLACE);
    if place.join("usr/bin/containerd").exists() {
        say("found", PLACE);
        return Ok(());
    }
    if env::consts::ARCH != "x86_64" {
        say("missing", "containerd of sid: its packages are for x86-64");
        return Ok(());
    }
    say("get", &format!("containerd of {SUITE}"));
    let making = place.with_extension("making");
    if making.exists() {
        fs::remove_dir_all(&making)
            .with_context(|| format!("cannot remove {}", making.display()))?;
    }
    let (download, root) = (making.join("download"), making.join("root"));
    for dir in [&download, &root] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let sources = sources::of_suite(SUITE, Path::new(KEYRING))?;
    let index = Index::open(making.join("apt"), &sources)?;
    index.unpack("containerd", &download, &root)?;
    fs::rename(&root, place).with_context(|| format!("cannot write {PLACE}"))?;
    fs::remove_dir_all(&making).with_context(|| format!("cannot remove {}", making.display()))?;
    say("installed", PLACE);
    Ok(())
}
