//! How many system calls this thread makes: counted by the kernel, so exact.

use crate::cmd;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::FromRawFd as _;
use std::path::PathBuf;

/// `PERF_TYPE_TRACEPOINT` (linux/perf_event.h).
const TRACEPOINT: u32 = 2;

/// `struct perf_event_attr` as its first version has it (`PERF_ATTR_SIZE_VER0`).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    period: u64,
    sampled: u64,
    read: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    address: u64,
}

/// Counts from its making on.
#[derive(Debug)]
pub struct Syscalls(File);

impl Syscalls {
    /// A counter for the calling thread; `None`: this kernel has no such event, why was printed.
    ///
    /// # Panics
    /// When the event is there and cannot be counted.
    #[must_use]
    #[track_caller]
    pub fn of_this_thread() -> Option<Self> {
        let id = number()?;
        let attributes = Attributes {
            kind: TRACEPOINT,
            size: u32::try_from(size_of::<Attributes>()).unwrap_or_default(),
            config: id,
            ..Attributes::default()
        };
        // SAFETY: the attributes are as long as they say, and outlive the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                std::ptr::from_ref(&attributes),
                0,
                -1,
                -1,
                0,
            )
        };
        let fd = i32::try_from(fd).unwrap_or(-1);
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new, and nobody else's.
        Some(Self(unsafe { File::from_raw_fd(fd) }))
    }

    /// So many until now; reading them is one itself.
    ///
    /// # Panics
    /// When the kernel does not say.
    #[must_use]
    #[track_caller]
    pub fn count(&self) -> u64 {
        let mut bytes = [0; 8];
        (&self.0).read_exact(&mut bytes).expect("a count");
        u64::from_ne_bytes(bytes)
    }
}

/// The number of the event that each system call is.
fn number() -> Option<u64> {
    let dir = PathBuf::from(format!("/run/airgap-test-tracefs-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("mkdir");
    let mounted = cmd::attempt(&format!("mount -t tracefs tracefs {}", dir.display()));
    let id = fs::read_to_string(dir.join("events/raw_syscalls/sys_enter/id"));
    if mounted.code == 0 {
        cmd::ok(&format!("umount {}", dir.display()));
    }
    drop(fs::remove_dir(&dir));
    let id = id.ok().and_then(|text| text.trim().parse().ok());
    if id.is_none() {
        println!("skipped: this kernel counts no system calls");
    }
    id
}
