//! Images for containers: a minimal Debian with some packages, made once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command;
use crate::undo::Undo;

const SUITE: &str = "bookworm";
/// Nothing a running service needs.
const LEFT_OUT: [&str; 6] = [
    "./dev/*",
    "./usr/share/doc/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
];

/// Returns the image's name and whether it had to be made; `packages` are divided by commas.
///
/// # Errors
/// When debootstrap or `docker import` fails.
pub(crate) fn ensure(
    name: &str,
    packages: &str,
    dir: &Path,
    undo: &mut Undo,
) -> Result<(String, bool)> {
    let mut hasher = DefaultHasher::new();
    (SUITE, packages, LEFT_OUT).hash(&mut hasher);
    let image = format!("{name}:{:016x}", hasher.finish());
    if command::succeeds(Command::new("docker").args(["image", "inspect", &image])) {
        return Ok((image, false));
    }
    let root = dir.join("rootfs");
    undo.later(&format!("rm -rf --one-file-system {}", root.display()))?;
    // In its own mount namespace debootstrap cannot leave /proc and /sys mounted.
    let mut debootstrap = Command::new("unshare");
    debootstrap
        .args(["--mount", "--propagation", "private", "debootstrap"])
        .args(["--variant=minbase", &format!("--include={packages}"), SUITE])
        .arg(&root)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    command::run(&mut debootstrap)?;
    import(&root, &image)?;
    Ok((image, true))
}

fn import(root: &Path, image: &str) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--directory")
        .arg(root)
        .args(["--one-file-system", "--numeric-owner", "--create"])
        .args(LEFT_OUT.map(|path| format!("--exclude={path}")))
        .arg(".")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut packer = tar
        .spawn()
        .with_context(|| format!("cannot start `{}`", command::line(&tar)))?;
    let pipe = packer.stdout.take().context("no pipe from tar")?;
    let mut docker = Command::new("docker");
    docker
        .args(["import", "-", image])
        .stdin(pipe)
        .stdout(Stdio::null());
    let imported = docker
        .status()
        .with_context(|| format!("cannot start `{}`", command::line(&docker)))?;
    let packed = packer.wait().context("cannot wait for tar")?;
    if !imported.success() || !packed.success() {
        bail!(
            "`{} | {}` failed: {packed}, {imported}",
            command::line(&tar),
            command::line(&docker)
        );
    }
    Ok(())
}
