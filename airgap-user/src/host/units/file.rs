//! Unit files and drop-ins, each either as it was or as it shall be, after a crash too.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::Path,
};

/// Puts `text` into the file as a whole: written aside under a name that systemd does not
/// read, flushed, renamed, and its directory flushed. `None`: it is not to be there, nor a
/// drop-in directory that is empty without it.
///
/// # Errors
/// Whatever the file system says.
pub fn put(path: &Path, text: Option<&str>) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let Some(text) = text else {
        return take(path, dir);
    };
    fs::create_dir_all(dir)?;
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let aside = path.with_file_name(format!("{name}.airgap-new"));
    let written = write(&aside, text).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // On a full disk it would be in the way.
        let _ = fs::remove_file(&aside);
    }
    written?;
    flush(dir)?;
    // The directory itself may be new.
    flush(dir.parent().unwrap_or(dir))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn take(path: &Path, dir: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Others may have theirs in it.
    let drop_ins = dir.extension().is_some_and(|kind| kind == "d");
    if drop_ins && fs::remove_dir(dir).is_ok() {
        return flush(dir.parent().unwrap_or(dir));
    }
    match flush(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        flushed => flushed,
    }
}

fn flush(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_comes_and_goes_with_its_directory() {
        let root = std::env::temp_dir().join(format!("airgap-units-file-{}", std::process::id()));
        let dir = root.join("x.service.d");
        let path = dir.join("50-airgap.conf");
        put(&path, Some("one\n")).unwrap();
        put(&path, Some("two\n")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(
            fs::read_dir(&dir).unwrap().count(),
            1,
            "nothing is left aside"
        );
        fs::write(dir.join("other.conf"), "").unwrap();
        put(&path, None).unwrap();
        assert!(dir.exists() && !path.exists());
        fs::remove_file(dir.join("other.conf")).unwrap();
        put(&path, None).unwrap();
        assert!(!dir.exists());
        // Neither file nor directory.
        put(&path, None).unwrap();
        fs::remove_dir(&root).unwrap();
    }
}
