//! `cargo xtask build-ebpf`: compile the gate for the BPF target and strip it.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::workspace;

/// The only version the BPF crate is built with; `cargo xtask setup` installs it.
pub(crate) const LINKER_VERSION: &str = "0.10.3";

const SETUP: &str = "hint: run `cargo xtask setup` as root";

/// Builds `target/bpf/airgap-ebpf.o` and returns its path.
///
/// The file carries BTF and no debug information. It is replaced atomically, and left alone when
/// nothing changed, so that crates that embed it are not rebuilt.
///
/// # Errors
/// When a tool is missing, the build fails, or the object came out without BTF.
pub(crate) fn run() -> Result<PathBuf> {
    let root = workspace::root()?;
    let channel = workspace::bpf_channel(&root)?;
    let sysroot = sysroot(&channel)?;
    if !linker_present() {
        bail!("bpf-linker {LINKER_VERSION} is not installed\n{SETUP}");
    }
    let start = SystemTime::now();
    compile(&root, &channel, &sysroot)?;

    let built = root.join("target/ebpf/bpfel-unknown-none/release/airgap-ebpf");
    let stripped = root.join(format!("target/bpf/.airgap-ebpf.{}", std::process::id()));
    let object = root.join("target/bpf/airgap-ebpf.o");
    let dir = root.join("target/bpf");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    strip(&sysroot, &built, &stripped)?;
    replace(&stripped, &object)?;
    stamp(&dir.join(".checked"), start)?;

    let (before, after) = (workspace::kib(&built)?, workspace::kib(&object)?);
    println!(
        "{}: {after} ({before} with debug information)",
        object.display()
    );
    Ok(object)
}

/// The sysroot of a nightly that has the sources of `core`.
pub(crate) fn sysroot(channel: &str) -> Result<PathBuf> {
    let mut rustc = Command::new("rustup");
    rustc
        .args(["run", channel, "rustc", "--print", "sysroot"])
        // rustup answers a missing toolchain with a backtrace where this is set.
        .env_remove("RUST_BACKTRACE");
    let sysroot = command::output(&mut rustc)
        .map(PathBuf::from)
        .with_context(|| format!("toolchain {channel} is not installed\n{SETUP}"))?;
    if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        bail!("toolchain {channel} has no rust-src\n{SETUP}");
    }
    Ok(sysroot)
}

/// Whether the pinned bpf-linker is on the path.
pub(crate) fn linker_present() -> bool {
    command::output(Command::new("bpf-linker").arg("--version"))
        .is_ok_and(|version| version.split_whitespace().any(|w| w == LINKER_VERSION))
}

fn compile(root: &Path, channel: &str, sysroot: &Path) -> Result<()> {
    // Line information names files; the object is the same wherever it is built.
    let mut flags = workspace::remapped(root)?;
    flags.push(workspace::remap(sysroot, "/rust"));
    // aya-ebpf picks register layouts by this cfg; BTF is derived from debug information.
    flags.extend([
        format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // Small copies and fills become stores: the byte-wise loops that stand for them otherwise
        // cost the verifier and every run.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
    ]);
    let mut cargo = Command::new("rustup");
    cargo
        .current_dir(root)
        .args(["run", channel, "cargo", "build"])
        .args(["--package", "airgap-ebpf", "--bins", "--release"])
        .args(["-Zbuild-std=core", "--target", "bpfel-unknown-none"])
        .args(["--target-dir", "target/ebpf"])
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // The outer cargo's choices must not reach the nightly.
    for name in [
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTUP_TOOLCHAIN",
        "CARGO",
    ] {
        cargo.env_remove(name);
    }
    // Nor may a profile that somebody set for quick builds of the binary: the verifier of old
    // kernels has just enough room for this one.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PROFILE_") {
            cargo.env_remove(name);
        }
    }
    command::run(&mut cargo)
}

/// Drops `.debug_*` with the nightly's own objcopy, the one cargo uses for `strip = true`.
///
/// GNU binutils do not know the BPF machine and turn REL into RELA, which loaders refuse.
fn strip(sysroot: &Path, from: &Path, to: &Path) -> Result<()> {
    let host = format!("lib/rustlib/{}-unknown-linux-gnu/bin", env::consts::ARCH);
    let mut objcopy = Command::new(sysroot.join(host).join("rust-objcopy"));
    objcopy
        .env("LD_LIBRARY_PATH", sysroot.join("lib"))
        .arg("--strip-debug")
        .args([from, to]);
    command::run(&mut objcopy)
}

/// Moves `new` over `object` unless both hold the same bytes.
fn replace(new: &Path, object: &Path) -> Result<()> {
    let bytes = fs::read(new).with_context(|| format!("cannot read {}", new.display()))?;
    for section in [".BTF", ".BTF.ext"] {
        let name = [section.as_bytes(), b"\0"].concat();
        if !bytes.windows(name.len()).any(|window| window == name) {
            bail!(
                "the stripped object has no {section} section: {}",
                new.display()
            );
        }
    }
    if fs::read(object).is_ok_and(|old| old == bytes) {
        return fs::remove_file(new).with_context(|| format!("cannot remove {}", new.display()));
    }
    fs::rename(new, object).with_context(|| format!("cannot write {}", object.display()))
}

/// Notes as of when the object is known to match its sources; the user side's build looks here,
/// since the object's own time stays when a changed source gives the same bytes.
fn stamp(path: &Path, time: SystemTime) -> Result<()> {
    File::create(path)
        .and_then(|file| file.set_modified(time))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_leave_the_object_alone() -> Result<()> {
        let dir = env::temp_dir().join(format!("airgap-xtask-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let (new, object) = (dir.join("new"), dir.join("object"));
        fs::write(&object, b".BTF\0.BTF.ext\0")?;
        let before = fs::metadata(&object)?.modified()?;

        fs::write(&new, b".BTF\0.BTF.ext\0")?;
        replace(&new, &object)?;
        assert_eq!(fs::metadata(&object)?.modified()?, before);
        assert!(!new.exists());

        fs::write(&new, b".BTF\0.BTF.ext\0more")?;
        replace(&new, &object)?;
        assert_eq!(fs::read(&object)?, b".BTF\0.BTF.ext\0more");

        fs::write(&new, b".debug_info\0")?;
        let error = replace(&new, &object).expect_err("no BTF").to_string();
        assert!(error.contains("no .BTF section"), "{error}");
        fs::remove_dir_all(&dir)?;
        Ok(())
    }
}
