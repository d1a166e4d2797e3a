//! Kernels out of Debian's archive, by way of apt with an index of its own: the host's sources
//! stay as they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::host::Host;
use super::package::Kernel;
use super::sources;
use crate::command;

/// Debian's archive, and the folder for what comes from it.
pub(super) struct Archive {
    cache: PathBuf,
}

impl Archive {
    /// Fetches the index. A suite that does not answer is reported and left out.
    ///
    /// # Errors
    /// When the host's sources name no Debian archive, or the index cannot be stored.
    pub(super) fn open(host: &Host, cache: &Path) -> Result<Self> {
        let archive = Self {
            cache: cache.to_path_buf(),
        };
        let apt = archive.apt_dir();
        for dir in ["lists/partial", "archives/partial"] {
            let dir = apt.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let sources = apt.join("sources.list");
        fs::write(&sources, sources::list(host.keyring)?)
            .with_context(|| format!("cannot write {}", sources.display()))?;
        if let Err(error) = command::output(archive.apt("apt-get").args(["--quiet", "update"])) {
            eprintln!("warning: a suite is left out, or its index is an old one: {error}");
        }
        Ok(archive)
    }

    /// All packages, as `apt-cache dumpavail` prints them.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub(super) fn index(&self) -> Result<String> {
        command::output(self.apt("apt-cache").arg("dumpavail"))
    }

    /// The kernel's image; downloaded once.
    ///
    /// # Errors
    /// When it cannot be downloaded or has no image in it.
    pub(super) fn image(&self, kernel: &Kernel) -> Result<PathBuf> {
        let name = format!("{}_{}.vmlinuz", kernel.package, kernel.version);
        let image = self.cache.join(name.replace(':', "_"));
        if image.exists() {
            return Ok(image);
        }
        let dir = self.cache.join(format!("download.{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let done = self.download(kernel, &dir).and_then(|unpacked| {
            fs::rename(&unpacked, &image)
                .with_context(|| format!("cannot write {}", image.display()))
        });
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        done.map(|()| image)
    }

    fn download(&self, kernel: &Kernel, dir: &Path) -> Result<PathBuf> {
        let Kernel {
            package, version, ..
        } = kernel;
        let mut apt = self.apt("apt-get");
        apt.current_dir(dir)
            .args(["--quiet", "download", &format!("{package}={version}")]);
        command::output(&mut apt)?;
        let deb = fs::read_dir(dir)
            .with_context(|| format!("cannot read {}", dir.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("`{}` left no package", command::line(&apt)))?;
        let image = dir.join("vmlinuz");
        unpack(&deb, &image)?;
        Ok(image)
    }

    /// An apt program that sees only the suites above.
    fn apt(&self, program: &str) -> Command {
        let dir = self.apt_dir();
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

    fn apt_dir(&self) -> PathBuf {
        self.cache.join("apt")
    }
}

/// Copies the kernel out of its package.
///
/// # Errors
/// When the package cannot be read or has no kernel.
fn unpack(deb: &Path, image: &Path) -> Result<()> {
    let mut reader = Command::new("dpkg-deb");
    reader.arg("--fsys-tarfile").arg(deb);
    let mut package = reader
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", command::line(&reader)))?;
    let files = package.stdout.take().context("dpkg-deb has no output")?;
    let content =
        File::create(image).with_context(|| format!("cannot write {}", image.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--to-stdout", "--wildcards", "--no-anchored"])
        .arg("vmlinuz*");
    let extracted = tar
        .stdin(files)
        .stdout(content)
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", command::line(&tar)))?;
    let read = package
        .wait()
        .with_context(|| format!("cannot wait for `{}`", command::line(&reader)))?;
    if !extracted.success() || !read.success() {
        bail!("there is no kernel in {}", deb.display());
    }
    Ok(())
}
