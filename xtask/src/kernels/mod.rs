//! `cargo xtask kernels`: the product's loader and the tests without Docker on other kernels.
//!
//! Each boots in an emulated machine without any network device, with those tests in its initial
//! file system; the host's kernel is not involved.

mod archive;
mod checks;
pub(crate) mod count;
mod coverage;
mod disk;
pub(crate) mod engine;
mod engine_page;
pub(crate) mod engines;
mod engines_page;
mod groups;
mod guest;
mod host;
mod initramfs;
mod lab;
mod machine;
mod outcome;
mod package;
pub(crate) mod packages;
mod page;
pub(crate) mod reboot;
mod table;
pub(crate) mod units;
mod units_page;
mod whole;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use lab::Lab;
use machine::{Machine, Ran};
use package::{Boot, Kernel};

/// The oldest with BTF and cgroup links that Debian has, what its releases run, with and without
/// BPF LSM, the first here whose verifier differs again, and the newest, which preempts.
const USUAL: [&str; 9] = [
    "5.10",
    "5.10-noframes",
    "6.1",
    "6.1-nolsm",
    "6.12",
    "6.12-nolsm",
    "6.16",
    package::NEWEST,
    "newest-nolsm",
];

/// What [`crate::test`] runs: the security hooks, which the host's own kernel may refuse, by both
/// mechanisms.
pub(crate) const QUICK: [&str; 2] = ["6.1", "6.12-nolsm"];

/// What the tests and verify need that the kernels have as modules, in the order of loading.
const MODULES: [&str; 5] = ["llc", "stp", "bridge", "veth", "nbd"];

/// For one kernel's whole run: Linux 6.1 takes half an hour by itself.
const LIMIT: Duration = Duration::from_secs(3600);

/// What the frame layer needs before Linux 6.6.
const FRAME_MODULES: [&str; 2] = ["sch_ingress", "cls_bpf"];

/// Tests the kernels of these names, or the usual ones, and ends with a table and the line
/// `N passed, N failed`. Returns whether none failed. With `page`, writes what covers what on them
/// to `docs/KERNELS.md`.
///
/// A kernel that cannot be had counts as failed. A machine that never reaches the tests is booted
/// once more; a result stands.
///
/// # Errors
/// Before any kernel ran: for a name that is none, or when something cannot be built, installed
/// or written.
pub(crate) fn run(names: &[String], page: bool) -> Result<bool> {
    let boots = lab::boots(names, &USUAL)?;
    let lab = Lab::open()?;
    let kernels = package::kernels(&lab.archive.index()?);
    let initramfs = lab.cache.join("initramfs");
    guest::write(&lab.root, &lab.host, &initramfs)?;
    let all = lab::each(&boots, |boot| {
        test(
            &lab,
            package::choose(&kernels, boot.series)?,
            boot,
            &initramfs,
        )
    });
    if page {
        let path = lab.root.join("docs/KERNELS.md");
        fs::write(&path, coverage::page(&lab::ran(&all).collect::<Vec<_>>()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("written: {}", path.display());
    }
    Ok(lab::count(&all))
}

fn test(lab: &Lab, kernel: &Kernel, boot: Boot<'_>, initramfs: &Path) -> Result<Ran> {
    println!("{} {} {}", kernel.package, kernel.version, boot.arguments());
    let image = lab.archive.image(kernel)?;
    let frames = FRAME_MODULES
        .iter()
        .filter(|_| !boot.without_frames && kernel.needs_frame_modules());
    let modules = MODULES
        .iter()
        .chain(frames)
        .map(|name| Ok((*name, lab.archive.module(kernel, name)?)))
        .collect::<Result<Vec<_>>>()?;
    let complete = initramfs.with_extension(boot.name);
    guest::with_modules(initramfs, &modules, &complete)?;
    let machine = Machine {
        host: &lab.host,
        kernel: &image,
        initramfs: &complete,
        arguments: &boot.arguments(),
        disks: &[],
        restarts: false,
        counting: None,
        limit: LIMIT,
        log: lab.log(boot.name),
    };
    machine.run()
}
