//! Where things are in this repository.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The repository root: the nearest folder upwards that holds `airgap-ebpf/`.
///
/// # Errors
/// When neither the crate's folder nor the current one lies in the repository.
pub(crate) fn root() -> Result<PathBuf> {
    // cargo sets the variable for `cargo run`; a copied binary goes by where it is called.
    let start = match env::var_os("CARGO_MANIFEST_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => env::current_dir().context("cannot read the current folder")?,
    };
    start
        .ancestors()
        .find(|dir| dir.join("airgap-ebpf/rust-toolchain.toml").is_file())
        .map(Path::to_path_buf)
        .with_context(|| format!("{} is not inside the repository", start.display()))
}

/// Where cargo puts the user side's build: `CARGO_TARGET_DIR`, else `target/`.
pub(crate) fn target_dir(root: &Path) -> PathBuf {
    // `join` keeps an absolute path as it is.
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

/// The target triple of static binaries on this machine.
pub(crate) fn musl_target() -> String {
    format!("{}-unknown-linux-musl", env::consts::ARCH)
}

/// `cargo` in the repository root, with the toolchain this process runs under.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root);
    command
}

/// The nightly that `airgap-ebpf/rust-toolchain.toml` pins.
///
/// # Errors
/// When the file has no `channel = "…"` line.
pub(crate) fn bpf_channel(root: &Path) -> Result<String> {
    let path = root.join("airgap-ebpf/rust-toolchain.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .with_context(|| format!("no `channel = \"…\"` line in {}", path.display()))
}

/// A file's size in KiB, for messages.
pub(crate) fn kib(path: &Path) -> Result<String> {
    let meta = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("{} KiB", meta.len().div_ceil(1024)))
}

/// What has the compiler name no folder of the builder's: flags for rustc.
///
/// # Errors
/// When nothing says where cargo keeps its sources.
pub(crate) fn remapped(root: &Path) -> Result<Vec<String>> {
    let cargo_home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
    };
    Ok(vec![remap(root, "/airgap"), remap(&cargo_home, "/cargo")])
}

/// One such flag.
pub(crate) fn remap(from: &Path, to: &str) -> String {
    format!("--remap-path-prefix={}={to}", from.display())
}
