//! Where machines are made and run, and one kernel after the other in them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::Archive;
use super::host::{self, Host};
use super::machine::Ran;
use super::outcome::Outcome;
use super::package::Boot;
use super::table;
use crate::workspace;

/// `target/kernels`, locked, and what machines are made of.
pub(super) struct Lab {
    /// The repository's.
    pub(super) root: PathBuf,
    pub(super) cache: PathBuf,
    pub(super) host: Host,
    pub(super) archive: Archive,
    _lock: File,
}

impl Lab {
    /// Waits until no other run has it.
    ///
    /// # Errors
    /// When the folder cannot be written, or something cannot be installed or downloaded.
    pub(super) fn open() -> Result<Self> {
        let root = workspace::root()?;
        let cache = root.join("target/kernels");
        let logs = cache.join("log");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let lock = lock(&cache)?;
        let host = host::prepare()?;
        let archive = Archive::open(&host, &cache)?;
        Ok(Self {
            root,
            cache,
            host,
            archive,
            _lock: lock,
        })
    }

    /// Of the machine of that name, without an extension.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.cache.join("log").join(name)
    }
}

/// Two runs at once would write the same files; the second waits until this is dropped.
fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// The kernels of these names, or the usual ones.
///
/// # Errors
/// For a name that is none.
pub(super) fn boots<'a>(names: &'a [String], usual: &[&'a str]) -> Result<Vec<Boot<'a>>> {
    if names.is_empty() {
        return usual.iter().map(|name| Boot::new(name)).collect();
    }
    names.iter().map(|name| Boot::new(name)).collect()
}

/// A kernel's name, and how it did.
pub(super) type Tested<'a> = (&'a str, Result<Outcome>);

/// Runs one after the other, shows what its tests printed, and ends with a table of all.
pub(super) fn each<'a>(
    boots: &[Boot<'a>],
    mut run: impl FnMut(Boot<'a>) -> Result<Ran>,
) -> Vec<Tested<'a>> {
    let mut lines = vec![table::HEAD.line()];
    let mut all = Vec::new();
    for &boot in boots {
        println!("\n== kernel {}", boot.name);
        let outcome = run(boot).map(|ran| {
            ran.show();
            ran.outcome
        });
        if let Err(error) = &outcome {
            println!("{error:#}");
        }
        let line = table::line(boot.name, &outcome);
        println!("{line}");
        lines.push(line);
        all.push((boot.name, outcome));
    }
    println!("\n{}", lines.join("\n"));
    all
}

/// Those that ran; what could not be had has no outcome.
pub(super) fn ran<'a, 'o>(
    all: &'o [Tested<'a>],
) -> impl Iterator<Item = (&'a str, &'o Outcome)> + use<'a, 'o> {
    all.iter()
        .filter_map(|(name, outcome)| Some((*name, outcome.as_ref().ok()?)))
}

/// Prints the last line, `N passed, N failed`. Returns whether none failed.
pub(super) fn count(all: &[Tested<'_>]) -> bool {
    let good = ran(all).filter(|(_, outcome)| outcome.is_good()).count();
    println!("{good} passed, {} failed", all.len() - good);
    good == all.len()
}
