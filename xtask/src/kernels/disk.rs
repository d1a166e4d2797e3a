//! Disks of a machine that runs a container engine: a Debian, a kernel's modules, and what one run
//! brings along. Made once each but the last; machines only ever write to a snapshot of them.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::archive::Archive;
use super::package::Kernel;
use crate::command;
use crate::debian::sources;

/// A Debian with systemd on a disk.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct System {
    pub(super) suite: &'static str,
    /// Names, by commas.
    pub(super) packages: &'static str,
    /// With space for images and containers; the file is sparse.
    pub(super) size: &'static str,
}

/// Docker on Debian 12, and what it, airgap and the tests call.
pub(super) const DOCKER: System = System {
    suite: "bookworm",
    packages: "systemd,systemd-sysv,udev,dbus,docker.io,apparmor,iproute2,iptables,kmod,procps,\
               bpftool,busybox-static",
    size: "4G",
};

/// Of no use in there, or the host's.
const LEFT_OUT: [&str; 6] = [
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "etc/resolv.conf",
];

/// Such a disk. Packages are kept, for the next one of the suite.
///
/// # Errors
/// When debootstrap or mkfs fail.
pub(super) fn system(cache: &Path, system: System) -> Result<PathBuf> {
    let System {
        suite,
        packages,
        size,
    } = system;
    let mut hasher = DefaultHasher::new();
    (suite, packages, size, LEFT_OUT).hash(&mut hasher);
    let disk = cache.join(format!("{suite}-{:016x}.ext4", hasher.finish()));
    let kept = cache.join("packages").join(suite);
    fs::create_dir_all(&kept).with_context(|| format!("cannot create {}", kept.display()))?;
    made_once(&disk, |scratch| {
        println!("making {}: minutes", disk.display());
        let root = scratch.join("root");
        // In its own mount namespace debootstrap cannot leave /proc and /sys mounted.
        let mut debootstrap = Command::new("unshare");
        debootstrap
            .args(["--mount", "--propagation", "private", "debootstrap"])
            .args(["--variant=minbase", &format!("--include={packages}")])
            .arg(format!("--cache-dir={}", kept.display()))
            .arg(suite)
            .arg(&root)
            .arg(sources::mirror()?)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        command::output(&mut debootstrap)?;
        for path in LEFT_OUT {
            remove(&root.join(path))?;
        }
        // For the disk with the kernel's own.
        let modules = root.join("usr/lib/modules");
        fs::create_dir_all(&modules)
            .with_context(|| format!("cannot create {}", modules.display()))?;
        let name = root.join("etc/hostname");
        fs::write(&name, "guest\n").with_context(|| format!("cannot write {}", name.display()))?;
        format(&root, size, &scratch.join("disk"))
    })?;
    Ok(disk)
}

/// A kernel's modules as a disk, and those of them that it needs to read a disk, in the order of
/// loading.
///
/// # Errors
/// When the package cannot be had, or lacks them.
pub(super) fn modules(
    archive: &Archive,
    kernel: &Kernel,
    cache: &Path,
) -> Result<(PathBuf, Vec<PathBuf>)> {
    let name = format!("{}_{}", kernel.modules(), kernel.version).replace(':', "_");
    let disk = cache.join(format!("{name}.modules.ext4"));
    let early = cache.join(format!("{name}.early"));
    made_once(&disk, |scratch| {
        let root = scratch.join("root");
        archive.unpack_all(&kernel.modules(), &kernel.version, scratch, &root)?;
        merge(&root)?;
        let release = kernel.full_release();
        command::output(Command::new("depmod").arg("-b").arg(&root).arg(&release))?;
        take_early(&root, &release, scratch, &early)?;
        format(&root.join("lib/modules"), "512M", &scratch.join("disk"))
    })?;
    let mut files: Vec<PathBuf> = fs::read_dir(&early)
        .with_context(|| format!("cannot read {}", early.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    Ok((disk, files))
}

/// Puts `lib` where `depmod` looks: packages since Linux 7.3 have `usr/lib` alone.
fn merge(root: &Path) -> Result<()> {
    let lib = root.join("lib");
    if !lib.exists() && root.join("usr/lib").exists() {
        symlink("usr/lib", &lib).with_context(|| format!("cannot make {}", lib.display()))?;
    }
    Ok(())
}

/// Copies what modprobe would load for a virtio disk; ext4 is in every kernel here.
fn take_early(root: &Path, release: &str, scratch: &Path, to: &Path) -> Result<()> {
    remove(to)?;
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut taken: Vec<String> = Vec::new();
    let dep = root.join("lib/modules").join(release).join("modules.dep");
    let there =
        fs::read_to_string(&dep).with_context(|| format!("cannot read {}", dep.display()))?;
    for module in ["virtio_pci", "virtio_blk"] {
        // Built in: which ones are, another package says since Linux 7.3.
        if !there.contains(&format!("/{module}.ko")) {
            continue;
        }
        let mut modprobe = Command::new("modprobe");
        modprobe.arg("-d").arg(root);
        modprobe.args(["-S", release, "--show-depends", module]);
        let lines = command::output(&mut modprobe)?;
        for path in lines
            .lines()
            .filter_map(|line| line.strip_prefix("insmod "))
        {
            let path = path.trim().to_owned();
            if taken.contains(&path) {
                continue;
            }
            let name = Path::new(&path).file_name().unwrap_or_default();
            let name = name.to_string_lossy();
            // Numbered: one may need those before it. The initial busybox unpacks nothing.
            let plain = scratch.join(name.trim_end_matches(".xz"));
            if name.ends_with(".xz") {
                let packed = scratch.join(&*name);
                copy(Path::new(&path), &packed)?;
                command::run(Command::new("xz").arg("--decompress").arg(&packed))?;
            } else {
                copy(Path::new(&path), &plain)?;
            }
            let base = plain.file_name().unwrap_or_default().to_string_lossy();
            copy(&plain, &to.join(format!("{:02}-{base}", taken.len())))?;
            taken.push(path);
        }
    }
    Ok(())
}

/// A folder as a disk.
///
/// # Errors
/// When it cannot be written.
pub(super) fn format(root: &Path, size: &str, disk: &Path) -> Result<()> {
    remove(disk)?;
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-m", "0", "-E", "root_owner=0:0", "-d"]);
    command::output(mkfs.arg(root).arg(disk).arg(size)).map(drop)
}

/// Makes `disk` as the file `disk` in a folder that is gone afterwards, unless it is there.
fn made_once(disk: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if disk.exists() {
        return Ok(());
    }
    let scratch = disk.with_extension("making");
    remove(&scratch)?;
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let done = make(&scratch).and_then(|()| {
        fs::rename(scratch.join("disk"), disk)
            .with_context(|| format!("cannot write {}", disk.display()))
    });
    remove(&scratch)?;
    done
}

/// Removes what is there, file or folder.
pub(super) fn remove(path: &Path) -> Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    gone.with_context(|| format!("cannot remove {}", path.display()))
}

/// Copies a file, its mode too.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
