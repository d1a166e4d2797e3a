//! What the host needs to run other kernels.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::debian::KEYRING;
use crate::setup::{self, apt};

const EMULATOR: &str = "qemu-system-x86_64";

/// The programs this task starts or puts into the guest.
pub(super) struct Host {
    pub(super) emulator: PathBuf,
    /// Statically linked.
    pub(super) busybox: PathBuf,
    /// What Debian signs its archive with.
    pub(super) keyring: &'static Path,
}

/// Finds them, and installs what is missing.
///
/// # Errors
/// On another architecture than x86-64, without root where something is missing, or when it
/// cannot be installed.
pub(super) fn prepare() -> Result<Host> {
    if env::consts::ARCH != "x86_64" {
        bail!(
            "the kernels and the emulator are for x86-64, and this machine is {}",
            env::consts::ARCH
        );
    }
    let mut missing = Vec::new();
    if apt::find(EMULATOR).is_none() {
        missing.push("qemu-system-x86");
    }
    if busybox().is_none() {
        missing.push("busybox-static");
    }
    for (program, package) in [
        ("xz", "xz-utils"),
        // For disks; some systems have them by default.
        ("debootstrap", "debootstrap"),
        ("depmod", "kmod"),
        ("mkfs.ext4", "e2fsprogs"),
    ] {
        if apt::find(program).is_none() {
            missing.push(package);
        }
    }
    if !Path::new(KEYRING).exists() {
        missing.push("debian-archive-keyring");
    }
    if !missing.is_empty() {
        setup::require_root("kernels")?;
        apt::update(&missing.join(" "))?;
        apt::get(&missing)?;
    }
    Ok(Host {
        emulator: apt::find(EMULATOR)
            .with_context(|| format!("qemu-system-x86 was installed without {EMULATOR}"))?,
        busybox: busybox().context("busybox-static was installed without a static busybox")?,
        keyring: Path::new(KEYRING),
    })
}

fn busybox() -> Option<PathBuf> {
    apt::find("busybox").filter(|path| apt::is_static(path))
}
