//! Kernels out of Debian's archive.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::host::Host;
use super::package::Kernel;
use crate::command;
use crate::debian::{Index, sources};

/// Debian's archive, and the folder for what comes from it.
pub(super) struct Archive {
    cache: PathBuf,
    index: Index,
}

impl Archive {
    /// Fetches the index. A suite that does not answer is reported and left out.
    ///
    /// # Errors
    /// When the host's sources name no Debian archive, or the index cannot be stored.
    pub(super) fn open(host: &Host, cache: &Path) -> Result<Self> {
        let sources = sources::list(host.keyring)?;
        Ok(Self {
            cache: cache.to_path_buf(),
            index: Index::open(cache.join("apt"), &sources)?,
        })
    }

    /// All packages, as `apt-cache dumpavail` prints them.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub(super) fn index(&self) -> Result<String> {
        command::output(self.index.apt("apt-cache").arg("dumpavail"))
    }

    /// The kernel's image; downloaded once.
    ///
    /// # Errors
    /// When it cannot be downloaded or has no image in it.
    pub(super) fn image(&self, kernel: &Kernel) -> Result<PathBuf> {
        self.file(&kernel.package, &kernel.version, "vmlinuz*", "vmlinuz")
    }

    /// A kernel module, unpacked; downloaded once.
    ///
    /// # Errors
    /// When it cannot be downloaded or is not in the package.
    pub(super) fn module(&self, kernel: &Kernel, name: &str) -> Result<PathBuf> {
        let pattern = format!("{name}.ko*");
        self.file(
            &kernel.modules(),
            &kernel.version,
            &pattern,
            &format!("{name}.ko"),
        )
    }

    /// Everything in a package, below `to`; `dir` is for the package itself.
    ///
    /// # Errors
    /// When it cannot be downloaded or unpacked.
    pub(super) fn unpack_all(
        &self,
        package: &str,
        version: &str,
        dir: &Path,
        to: &Path,
    ) -> Result<()> {
        self.index.unpack(&format!("{package}={version}"), dir, to)
    }

    /// The one file of a package that matches, kept in the cache.
    fn file(&self, package: &str, version: &str, pattern: &str, kind: &str) -> Result<PathBuf> {
        let name = format!("{package}_{version}.{kind}");
        let file = self.cache.join(name.replace(':', "_"));
        if file.exists() {
            return Ok(file);
        }
        let dir = self.cache.join(format!("download.{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let done = self
            .index
            .download(&format!("{package}={version}"), &dir)
            .and_then(|deb| unpack(&deb, pattern, &dir.join("content")))
            .and_then(|unpacked| {
                fs::rename(&unpacked, &file)
                    .with_context(|| format!("cannot write {}", file.display()))
            });
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        done.map(|()| file)
    }
}

/// Copies the file that matches out of a package; modules may be compressed in there.
///
/// # Errors
/// When the package cannot be read or has no such file.
fn unpack(deb: &Path, pattern: &str, to: &Path) -> Result<PathBuf> {
    let mut reader = Command::new("dpkg-deb");
    reader.arg("--fsys-tarfile").arg(deb);
    let mut package = reader
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", command::line(&reader)))?;
    let files = package.stdout.take().context("dpkg-deb has no output")?;
    let content = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--to-stdout", "--wildcards", "--no-anchored"])
        .arg(pattern);
    let extracted = tar
        .stdin(files)
        .stdout(content)
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", command::line(&tar)))?;
    let read = package
        .wait()
        .with_context(|| format!("cannot wait for `{}`", command::line(&reader)))?;
    let bytes = fs::read(to).with_context(|| format!("cannot read {}", to.display()))?;
    if !extracted.success() || !read.success() || bytes.is_empty() {
        bail!("there is no {pattern} in {}", deb.display());
    }
    const XZ: &[u8] = b"\xfd7zXZ\0";
    if !bytes.starts_with(XZ) {
        return Ok(to.to_path_buf());
    }
    let packed = to.with_extension("xz");
    fs::rename(to, &packed).with_context(|| format!("cannot write {}", packed.display()))?;
    command::run(Command::new("xz").arg("--decompress").arg(&packed))?;
    Ok(to.to_path_buf())
}
