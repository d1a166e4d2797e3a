//! The mounts that a view is made of (mount(2)).

use std::{
    ffi::{CStr, CString},
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    ptr,
};

use anyhow::{Context as _, Result};

/// Nothing there is a device, runs as its owner, or runs at all.
pub(super) const PLAIN: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

pub(super) fn cover(target: &Path) -> Result<()> {
    let flags = PLAIN | libc::MS_RDONLY;
    let mode = Some(c"mode=0555");
    // Not by what it is: a FUSE file system tells its own user alone.
    match mount(Some(c"none"), target, Some(c"tmpfs"), flags, mode) {
        Err(error) if is_no_directory(&error) => bind(Path::new("/dev/null"), target),
        done => done,
    }
}

pub(super) fn bind(source: &Path, target: &Path) -> Result<()> {
    let source = CString::new(source.as_os_str().as_bytes())?;
    mount(Some(&source), target, None, libc::MS_BIND, None)
}

pub(super) fn read_only(target: &Path) -> Result<()> {
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | PLAIN;
    mount(None, target, None, flags, None)
}

pub(super) fn mount(
    source: Option<&CStr>,
    target: &Path,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> Result<()> {
    let text = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    let name = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: NUL-terminated strings or null.
    let rc = unsafe {
        libc::mount(
            text(source),
            name.as_ptr(),
            text(kind),
            flags,
            text(data).cast(),
        )
    };
    if rc == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
        .with_context(|| format!("cannot change the mount at {}", target.display()))
}

fn is_no_directory(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.raw_os_error() == Some(libc::ENOTDIR))
}
