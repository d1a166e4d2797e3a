//! A whole machine: Debian with systemd and a container engine on a disk, and on another what one run brings
//! along: programs below `/opt`, and units, which are copied to `/etc/systemd/system`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::disk::{self, System};
use super::guest;
use super::host::Host;
use super::initramfs::Initramfs;
use super::lab::Lab;
use super::machine::{Machine, Ran};
use super::package::{self, Boot};

const INIT: &[u8] = include_bytes!("../../assets/kernels/disk-init.sh");
/// Commands of that `init`.
const APPLETS: [&str; 10] = [
    "sh",
    "mount",
    "umount",
    "stty",
    "insmod",
    "cp",
    "ls",
    "poweroff",
    "switch_root",
    "echo",
];
/// Nobody logs in, and what its clock starts does not run meanwhile.
const QUIET: &str = "systemd.getty_auto=no systemd.mask=apt-daily.timer \
                     systemd.mask=apt-daily-upgrade.timer systemd.mask=getty@tty1.service";

/// What one run brings along, in the making.
pub(super) struct Luggage {
    dir: PathBuf,
}

impl Luggage {
    /// Empty, in a folder of that name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new(cache: &Path, name: &str) -> Result<Self> {
        let dir = cache.join(format!("{name}.luggage"));
        disk::remove(&dir)?;
        let units = dir.join("units/multi-user.target.wants");
        fs::create_dir_all(&units).with_context(|| format!("cannot create {}", units.display()))?;
        Ok(Self { dir })
    }

    /// A program, below `/opt`.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub(super) fn program(&self, name: &str, from: &Path) -> Result<()> {
        let to = self.dir.join(name);
        let parent = to.parent().unwrap_or(&self.dir);
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        disk::copy(from, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot change {}", to.display()))
    }

    /// A script, as [`Self::program`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn script(&self, name: &str, text: &str) -> Result<()> {
        let to = self.dir.join(name);
        fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot change {}", to.display()))
    }

    /// A unit of systemd's, started at boot.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn unit(&self, name: &str, text: &str) -> Result<()> {
        let units = self.dir.join("units");
        let wanted = units.join("multi-user.target.wants").join(name);
        fs::write(units.join(name), text)
            .and_then(|()| symlink(format!("/etc/systemd/system/{name}"), &wanted))
            .with_context(|| format!("cannot write {}", units.join(name).display()))
    }
}

/// How such a machine is run.
pub(super) struct Run<'a> {
    /// Of its logs.
    pub(super) name: &'a str,
    pub(super) boot: Boot<'a>,
    pub(super) system: System,
    /// Added to the kernel's command line.
    pub(super) arguments: &'a str,
    pub(super) luggage: &'a Luggage,
    pub(super) restarts: bool,
    pub(super) limit: Duration,
}

/// Starts it from the pristine disk, and waits until it is off or out of time.
///
/// # Errors
/// When something cannot be had, written or started.
pub(super) fn run(lab: &Lab, run: &Run<'_>) -> Result<Ran> {
    let Lab {
        cache,
        host,
        archive,
        ..
    } = lab;
    let kernels = package::kernels(&archive.index()?);
    let kernel = package::choose(&kernels, run.boot.series)?;
    println!(
        "{} {} {}",
        kernel.package,
        kernel.version,
        run.boot.arguments()
    );
    let image = archive.image(kernel)?;
    let system = disk::system(cache, run.system)?;
    let (modules, early) = disk::modules(archive, kernel, cache)?;
    let luggage = run.luggage.dir.with_extension("ext4");
    disk::format(&run.luggage.dir, "256M", &luggage)?;
    let initramfs = cache.join("initramfs.disk");
    write_initramfs(host, &early, &initramfs)?;
    let machine = Machine {
        host,
        kernel: &image,
        initramfs: &initramfs,
        arguments: &format!("{} {QUIET} {}", run.boot.arguments(), run.arguments),
        disks: &[system, modules, luggage],
        restarts: run.restarts,
        counting: None,
        limit: run.limit,
        log: lab.log(run.name),
    };
    machine.run()
}

fn write_initramfs(host: &Host, early: &[PathBuf], path: &Path) -> Result<()> {
    let read =
        |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    let mut archive = Initramfs::default();
    for dir in ["bin", "modules", "proc", "sys", "dev", "disk"] {
        archive.directory(dir);
    }
    archive.program("bin/busybox", &read(&host.busybox)?);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    for module in early {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.program(&format!("modules/{name}"), &read(module)?);
    }
    archive.program("early.sh", guest::EARLY);
    archive.program("init", INIT);
    fs::write(path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))
}
