//! The program of a command: where it is, and why it did not start.

use std::{env, ffi::OsStr, fs, io, os::unix::fs::PermissionsExt as _, path::PathBuf};

/// Exit codes of shells.
pub(super) const NOT_FOUND: u8 = 127;
pub(super) const NOT_STARTED: u8 = 126;

/// Whether there is such a program; else the exit code that says so.
pub(super) fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, u8> {
    let direct = name.as_encoded_bytes().contains(&b'/');
    let candidates: Vec<PathBuf> = if direct {
        vec![PathBuf::from(name)]
    } else {
        let path = path.unwrap_or(OsStr::new("/usr/local/bin:/bin:/usr/bin"));
        env::split_paths(path).map(|dir| dir.join(name)).collect()
    };
    let mut code = NOT_FOUND;
    for candidate in candidates {
        if name.is_empty() {
            break;
        }
        match fs::metadata(&candidate) {
            Ok(about) if about.is_file() && about.permissions().mode() & 0o111 != 0 => {
                return Ok(candidate);
            }
            Ok(_) => code = NOT_STARTED,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => code = NOT_STARTED,
            Err(_) => {}
        }
    }
    Err(code)
}

pub(super) fn reason(code: u8) -> &'static str {
    match code {
        NOT_FOUND => "there is no such program",
        _ => "it is no program that may be run",
    }
}
