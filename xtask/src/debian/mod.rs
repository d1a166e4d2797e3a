//! Debian's archive, by way of apt with an index of its own: the host's sources stay as they
//! are.

pub(crate) mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// What Debian signs its archive with.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An index, in a folder of its own.
pub(crate) struct Index(PathBuf);

impl Index {
    /// Fetches it, of these lines of a `sources.list`. A suite that does not answer is reported
    /// and left out.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub(crate) fn open(dir: PathBuf, sources: &str) -> Result<Self> {
        let index = Self(dir);
        for dir in ["lists/partial", "archives/partial"] {
            let dir = index.0.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let list = index.0.join("sources.list");
        fs::write(&list, sources).with_context(|| format!("cannot write {}", list.display()))?;
        if let Err(error) = command::output(index.apt("apt-get").args(["--quiet", "update"])) {
            eprintln!("warning: a suite is left out, or its index is an old one: {error}");
        }
        Ok(index)
    }

    /// Downloads a package, `NAME` or `NAME=VERSION`, into an empty folder.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(crate) fn download(&self, package: &str, dir: &Path) -> Result<PathBuf> {
        let mut apt = self.apt("apt-get");
        apt.current_dir(dir).args(["--quiet", "download", package]);
        command::output(&mut apt)?;
        fs::read_dir(dir)
            .with_context(|| format!("cannot read {}", dir.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("`{}` left no package", command::line(&apt)))
    }

    /// Everything in a package, below `to`; `dir` is for the package itself.
    ///
    /// # Errors
    /// When it cannot be downloaded or unpacked.
    pub(crate) fn unpack(&self, package: &str, dir: &Path, to: &Path) -> Result<()> {
        let deb = self.download(package, dir)?;
        command::output(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(to)).map(drop)
    }

    /// An apt program that sees only these suites.
    pub(crate) fn apt(&self, program: &str) -> Command {
        let dir = &self.0;
        let mut command = Command::new(program);
        for (option, value) in [
            ("Dir::State", dir.clone()),
            ("Dir::State::status", PathBuf::from("/dev/null")),
            ("Dir::Cache", dir.clone()),
            ("Dir::Etc::SourceList", dir.join("sources.list")),
            ("Dir::Etc::SourceParts", PathBuf::from("/dev/null")),
            ("APT::Architecture", PathBuf::from("amd64")),
            ("APT::Sandbox::User", PathBuf::from("root")),
            ("Acquire::Languages", PathBuf::from("none")),
        ] {
            command.arg(format!("--option={option}={}", value.display()));
        }
        command
    }
}
