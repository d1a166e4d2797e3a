//! `HINTS` in shared memory.
//!
//! Kernel and user side both count in it, so the user side must add
//! atomically, which a map update is not: it maps the array and does.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use airgap_common::map::HINT_BUCKETS;

const BYTES: usize = HINT_BUCKETS as usize * size_of::<u64>();

/// The mapped array.
pub(super) struct Hints(NonNull<AtomicU64>);

impl Hints {
    /// Maps the array (`BPF_F_MMAPABLE`, Linux 5.5).
    pub(super) fn map(map: &impl AsFd) -> io::Result<Self> {
        // SAFETY: a fresh shared mapping of the whole array, unmapped on drop.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_fd().as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(at.cast())
            .map(Self)
            .ok_or_else(|| io::ErrorKind::Other.into())
    }

    fn bucket(&self, cgroup: u64) -> &AtomicU64 {
        let index = (cgroup as u32 & (HINT_BUCKETS - 1)) as usize;
        // SAFETY: the index is within the mapping, which lives as long as self.
        unsafe { self.0.add(index).as_ref() }
    }

    pub(super) fn add(&self, cgroup: u64) {
        self.bucket(cgroup).fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn remove(&self, cgroup: u64) {
        self.bucket(cgroup).fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn get(&self, cgroup: u64) -> u64 {
        self.bucket(cgroup).load(Ordering::SeqCst)
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        // SAFETY: the mapping made above, and no reference into it is left.
        unsafe { libc::munmap(self.0.as_ptr().cast(), BYTES) };
    }
}
