//! Reading a file of /proc that may take the kernel long: what it prints there can be as long as
//! a container likes, and it prints all of it before it hands out the first byte.

use std::{
    ffi::CString,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    time::{Duration, Instant},
};

/// Bytes that are handed on at once.
const PART: usize = 4096;

/// The file, if it is there within `patience` and has less than `most` bytes. A process of its
/// own reads it: that may still be in the kernel when airgap has long ended.
pub(super) fn read(path: &str, most: usize, patience: Duration) -> Option<Vec<u8>> {
    let path = CString::new(path).ok()?;
    let until = Instant::now() + patience;
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, which are owned at once.
    let (here, there) = unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return None;
        }
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    // SAFETY: other threads may hold locks; both processes only make system calls, and end
    // without running anything else.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above. The reader is nobody's child: nobody has to wait for it.
        unsafe {
            if libc::fork() == 0 {
                hand_on(&path, there.as_raw_fd(), most);
            }
            libc::_exit(0)
        }
    }
    drop(there);
    if child < 0 {
        return None;
    }
    // SAFETY: a child of ours that ends at once.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let mut bytes = Vec::new();
    while bytes.len() < most {
        match part(&here, until)? {
            part if part.is_empty() => return Some(bytes),
            part => bytes.extend(part),
        }
    }
    None
}

/// Copies the file into the pipe, in a process that has nothing else open: no lock is held
/// for as long as the kernel takes.
///
/// # Safety
/// Of a process that was forked for this alone.
unsafe fn hand_on(path: &CString, pipe: RawFd, most: usize) {
    let mut buffer = [0u8; PART];
    // SAFETY: integers, a NUL-terminated string, and a buffer of the length that is said.
    // Nothing that is open is used after this but the pipe.
    unsafe {
        close_others(pipe);
        let file = libc::open(path.as_ptr(), libc::O_RDONLY);
        let mut sent = 0;
        while file >= 0 && sent < most {
            let len = libc::read(file, buffer.as_mut_ptr().cast(), PART);
            // Nobody reads any more: SIGPIPE is ignored, and the write fails.
            if len <= 0 || libc::write(pipe, buffer.as_ptr().cast(), len as usize) != len {
                break;
            }
            sent += len as usize;
        }
    }
}

/// Closes all descriptors but one (close_range(2), Linux 5.9).
///
/// # Safety
/// The process uses none of them any more.
unsafe fn close_others(kept: RawFd) {
    let kept = kept as libc::c_uint;
    let last = libc::c_uint::MAX;
    // SAFETY: the caller's promise.
    unsafe {
        if kept > 0 {
            libc::syscall(libc::SYS_close_range, 0, kept - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, kept + 1, last, 0);
    }
}

/// What comes next; empty at the end, `None` if it does not come in time.
fn part(pipe: &OwnedFd, until: Instant) -> Option<Vec<u8>> {
    let left = until.checked_duration_since(Instant::now())?;
    let mut poll = libc::pollfd {
        fd: pipe.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut bytes = vec![0; PART];
    // SAFETY: one structure, and a buffer of the length that is said.
    let len = unsafe {
        if libc::poll(&raw mut poll, 1, left.as_millis() as i32 + 1) <= 0 {
            return None;
        }
        libc::read(pipe.as_raw_fd(), bytes.as_mut_ptr().cast(), PART)
    };
    bytes.truncate(usize::try_from(len).ok()?);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn reads_what_is_short_and_comes_soon() {
        let own = std::fs::read("/proc/version").unwrap();
        assert_eq!(read("/proc/version", 4096, LONG), Some(own));
        assert_eq!(read("/proc/version", 8, LONG), None, "too long");
        assert_eq!(read("/nowhere", 8, LONG), Some(vec![]));
        assert_eq!(read("/dev/zero", 100_000, LONG), None);
    }

    #[test]
    fn nobody_waits_for_what_never_comes() {
        let fifo = std::env::temp_dir().join(format!("airgap-aside-{}", std::process::id()));
        let name = CString::new(fifo.to_str().unwrap()).unwrap();
        // SAFETY: a NUL-terminated string.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert_eq!(
            read(fifo.to_str().unwrap(), 8, Duration::from_millis(20)),
            None
        );
        // The reader, which waits for a writer, ends.
        drop(std::fs::OpenOptions::new().write(true).open(&fifo));
        std::fs::remove_file(fifo).unwrap();
    }
}
