//! `cargo xtask kernels`: the product's loader and the gate's tests on other kernels.
//!
//! Each boots in an emulated machine without any network device, with the tests of
//! `tests/tests/gate.rs` in its initial file system; the host's kernel is not involved.

mod archive;
mod guest;
mod host;
mod initramfs;
mod machine;
mod outcome;
mod package;
mod sources;
mod table;

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace;
use archive::Archive;
use host::Host;
use machine::Machine;
use outcome::Outcome;
use package::Kernel;

/// The oldest with BTF and cgroup links that Debian has, what its releases run, the first here
/// whose verifier differs again, and the newest.
const USUAL: [&str; 5] = ["5.10", "6.1", "6.12", "6.16", package::NEWEST];

/// Tests the gate on the kernels of these names, or on the usual ones, and ends with a table and
/// the line `N passed, N failed`. Returns whether none failed.
///
/// A kernel that cannot be had counts as failed. A machine that never reaches the tests is booted
/// once more; a result stands.
///
/// # Errors
/// Before any kernel ran: for a name that is none, or when something cannot be built, installed
/// or written.
pub(crate) fn run(names: &[String]) -> Result<bool> {
    let names: Vec<&str> = match names {
        [] => USUAL.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    for name in &names {
        package::parse(name)?;
    }
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
    let mut failed = 0;
    for name in &names {
        println!("\n== kernel {name}");
        let outcome = package::choose(&kernels, name)
            .and_then(|kernel| test(&host, &archive, kernel, &initramfs, &logs.join(name)));
        failed += usize::from(!outcome.as_ref().is_ok_and(Outcome::is_good));
        let line = table::line(name, &outcome);
        if let Err(error) = &outcome {
            println!("{error:#}");
        }
        println!("{line}");
        table.push(line);
    }
    println!("\n{}", table.join("\n"));
    println!("{} passed, {failed} failed", names.len() - failed);
    Ok(failed == 0)
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
    initramfs: &Path,
    log: &Path,
) -> Result<Outcome> {
    println!("{} {}", kernel.package, kernel.version);
    let image = archive.image(kernel)?;
    let machine = Machine {
        host,
        kernel: &image,
        initramfs,
        log: log.to_path_buf(),
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
