//! `cargo xtask kernels`: the product's loader and the tests without Docker on other kernels.
//!
//! Each boots in an emulated machine without any network device, with those tests in its initial
//! file system; the host's kernel is not involved.

mod archive;
mod coverage;
mod disk;
pub(crate) mod engine;
mod guest;
mod host;
mod initramfs;
mod machine;
mod outcome;
mod package;
pub(crate) mod reboot;
mod sources;
mod table;
mod whole;

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::workspace;
use archive::Archive;
use host::Host;
use machine::Machine;
use outcome::Outcome;
use package::{Boot, Kernel};

/// The oldest with BTF and cgroup links that Debian has, what its releases run, one of them
/// without BPF LSM, the first here whose verifier differs again, and the newest.
const USUAL: [&str; 8] = [
    "5.10",
    "5.10-noframes",
    "6.1",
    "6.1-nolsm",
    "6.12",
    "6.12-nolsm",
    "6.16",
    package::NEWEST,
];

/// What [`crate::test`] runs: the security hooks, which the host's own kernel may refuse, and a
/// kernel that cannot have them.
pub(crate) const QUICK: [&str; 2] = ["6.1", "6.12-nolsm"];

/// What the tests and verify need that the kernels have as modules, in the order of loading.
const MODULES: [&str; 5] = ["llc", "stp", "bridge", "veth", "nbd"];

/// For one kernel's whole run; 70 to 130 s when measured.
const LIMIT: Duration = Duration::from_secs(900);

/// What the frame layer needs before Linux 6.6.
const FRAME_MODULES: [&str; 2] = ["sch_ingress", "cls_bpf"];

/// Tests the kernels of these names, or the usual ones, and ends with a table and the line
/// `N passed, N failed`. Returns whether none failed. With `page`, writes what covers what on them
/// to `KERNELS.md`.
///
/// A kernel that cannot be had counts as failed. A machine that never reaches the tests is booted
/// once more; a result stands.
///
/// # Errors
/// Before any kernel ran: for a name that is none, or when something cannot be built, installed
/// or written.
pub(crate) fn run(names: &[String], page: bool) -> Result<bool> {
    let names: Vec<&str> = match names {
        [] => USUAL.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let outcomes = test_all(&names)?;
    let good = outcomes
        .iter()
        .filter(|outcome| outcome.as_ref().is_ok_and(Outcome::is_good))
        .count();
    if page {
        let ran: Vec<_> = names
            .iter()
            .zip(&outcomes)
            .filter_map(|(name, outcome)| Some((*name, outcome.as_ref().ok()?)))
            .collect();
        let path = workspace::root()?.join("KERNELS.md");
        fs::write(&path, coverage::page(&ran))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("written: {}", path.display());
    }
    println!("{good} passed, {} failed", outcomes.len() - good);
    Ok(good == outcomes.len())
}

/// The outcome of each, and a table of them on stdout.
fn test_all(names: &[&str]) -> Result<Vec<Result<Outcome>>> {
    let boots = names
        .iter()
        .map(|name| Boot::new(name))
        .collect::<Result<Vec<_>>>()?;
    let root = workspace::root()?;
    let cache = root.join("target/kernels");
    let logs = cache.join("log");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;

    let _lock = lock(&cache)?;
    let host = host::prepare()?;
    let archive = Archive::open(&host, &cache)?;
    let kernels = package::kernels(&archive.index()?);
    let initramfs = cache.join("initramfs");
    guest::write(&root, &host, &initramfs)?;

    let mut table = vec![table::HEAD.line()];
    let mut outcomes = Vec::new();
    for boot in boots {
        println!("\n== kernel {}", boot.name);
        let outcome = package::choose(&kernels, boot.series)
            .and_then(|kernel| test(&host, &archive, kernel, boot, &initramfs));
        let line = table::line(boot.name, &outcome);
        if let Err(error) = &outcome {
            println!("{error:#}");
        }
        println!("{line}");
        table.push(line);
        outcomes.push(outcome);
    }
    println!("\n{}", table.join("\n"));
    Ok(outcomes)
}

/// Two runs at once would write the same files; the second waits until this is dropped.
fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Runs one kernel, and shows what its tests printed.
fn test(
    host: &Host,
    archive: &Archive,
    kernel: &Kernel,
    boot: Boot<'_>,
    initramfs: &Path,
) -> Result<Outcome> {
    println!("{} {} {}", kernel.package, kernel.version, boot.arguments());
    let image = archive.image(kernel)?;
    let frames = FRAME_MODULES
        .iter()
        .filter(|_| !boot.without_frames && kernel.needs_frame_modules());
    let modules = MODULES
        .iter()
        .chain(frames)
        .map(|name| Ok((*name, archive.module(kernel, name)?)))
        .collect::<Result<Vec<_>>>()?;
    let complete = initramfs.with_extension(boot.name);
    guest::with_modules(initramfs, &modules, &complete)?;
    let machine = Machine {
        host,
        kernel: &image,
        initramfs: &complete,
        arguments: &boot.arguments(),
        disks: &[],
        restarts: false,
        limit: LIMIT,
        log: initramfs.with_file_name("log").join(boot.name),
    };
    let mut outcome = machine.run()?;
    if outcome.is_no_boot() {
        let what = outcome.complaint.unwrap_or_default();
        println!("{what}; once more");
        outcome = machine.run()?;
    }
    println!("{}", machine.output()?);
    if !outcome.is_good() {
        println!("the kernel's messages: {}", machine.console().display());
    }
    Ok(outcome)
}
