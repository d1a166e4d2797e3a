//! Files that are either as they were or as they shall be, after a crash too.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::failure::Failure;

/// Makes a directory that only root can write to, and its parents.
pub(super) fn directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    let meta = fs::metadata(path).with_context(|| format!("cannot stat {}", path.display()))?;
    if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
        return Err(Failure::new(
            format!(
                "others than root can write to {}, and could lift seals there",
                path.display()
            ),
            format!("chown root {0} && chmod 700 {0}", path.display()),
        )
        .into());
    }
    Ok(())
}

/// Puts `bytes` into a file as a whole: written aside, flushed, renamed.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let aside = path.with_file_name(format!(".{name}.new"));
    let written = write(&aside, bytes)
        .with_context(|| format!("cannot write {}", aside.display()))
        .and_then(|()| {
            fs::rename(&aside, path)
                .with_context(|| format!("cannot rename a file to {}", path.display()))
        });
    if written.is_err() {
        // What is left of it would be overwritten by the next; on a full disk it is in the way.
        let _ = fs::remove_file(&aside);
    }
    written?;
    flush_parent(path)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes a file; returns whether there was one. It is gone for good only
/// after [`flush_parent`].
pub(super) fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).with_context(|| format!("cannot remove {}", path.display())),
    }
}

/// The whole file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Names in a directory; none if there is no directory.
pub(super) fn names(path: &Path) -> Result<Vec<String>> {
    let cannot = || format!("cannot read the directory {}", path.display());
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(cannot)?,
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .with_context(cannot)
}

/// The name itself is on disk only once its directory is.
pub(super) fn flush_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("cannot flush {}", parent.display()))
}
