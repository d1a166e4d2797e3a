//! Files of /proc as text. Names in them are chosen by processes, and need be
//! no UTF-8: a file that has one in it is a file like any other.

use std::{fs, io, path::Path};

/// The whole file; what is no UTF-8 becomes U+FFFD. Good for lines of which
/// only numbers and words of the kernel's own are wanted.
///
/// # Errors
/// As [`fs::read`].
pub fn text(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = fs::read(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::host::clock::start_ticks;
    use std::{ffi::CStr, thread};

    #[test]
    fn a_name_of_any_bytes_is_read() {
        let name: &CStr = c"\xff\xfe\x80) 7 (";
        let read = || {
            // SAFETY: a NUL-terminated name, which the kernel copies.
            unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
            let stat = text("/proc/thread-self/stat").unwrap();
            assert!(std::fs::read_to_string("/proc/thread-self/stat").is_err());
            assert!(stat.contains("(\u{fffd}\u{fffd}\u{fffd}) 7 ("), "{stat}");
            start_ticks("thread-self")
        };
        let ticks = thread::spawn(read).join().unwrap();
        assert!(ticks >= start_ticks("self") && ticks > 0, "{ticks}");
        assert!(text("/proc/self/nothing").is_err());
    }
}
