//! Arrays in shared memory.
//!
//! Kernel and user side both count in them, so the user side must change them
//! atomically, which a map update is not: it maps the array and does.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use airgap_common::map::{HINT_BUCKETS, STATS, Stat, Writer};

/// A mapped array of 64-bit words.
struct Words {
    at: NonNull<AtomicU64>,
    count: u32,
}

impl Words {
    /// Maps an array of so many (`BPF_F_MMAPABLE`, Linux 5.5).
    fn map(map: &impl AsFd, count: u32) -> io::Result<Self> {
        // SAFETY: a fresh shared mapping of the whole array, unmapped on drop.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes(count),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_fd().as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self { at, count })
    }

    /// The word of this number, which is below their count.
    fn word(&self, index: u32) -> &AtomicU64 {
        assert!(index < self.count, "{index} of {} words", self.count);
        // SAFETY: the index is within the mapping, which lives as long as self.
        unsafe { self.at.add(index as usize).as_ref() }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the mapping made above, and no reference into it is left.
        unsafe { libc::munmap(self.at.as_ptr().cast(), bytes(self.count)) };
    }
}

const fn bytes(count: u32) -> usize {
    count as usize * size_of::<u64>()
}

/// `HINTS`.
pub(super) struct Hints(Words);

impl Hints {
    /// # Errors
    /// If the array cannot be mapped.
    pub(super) fn map(map: &impl AsFd) -> io::Result<Self> {
        Words::map(map, HINT_BUCKETS).map(Self)
    }

    fn bucket(&self, cgroup: u64) -> &AtomicU64 {
        self.0.word(cgroup as u32 & (HINT_BUCKETS - 1))
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

/// `LEVELS`.
pub(super) struct Levels(Words);

impl Levels {
    /// # Errors
    /// If the array cannot be mapped.
    pub(super) fn map(map: &impl AsFd) -> io::Result<Self> {
        Words::map(map, 1).map(Self)
    }

    /// Has the kernel side look for sealed cgroups at this level.
    pub(super) fn add(&self, level: u32) {
        let halves = self.0.at.cast::<AtomicU32>();
        // SAFETY: one half of the only word, which is mapped for as long as self.
        let own = unsafe { halves.add(Writer::User as usize).as_ref() };
        own.fetch_or(1 << level, Ordering::SeqCst);
    }

    /// Whether it looks there.
    pub(super) fn has(&self, level: u32) -> bool {
        let both = self.0.word(0).load(Ordering::SeqCst);
        (both | both >> 32) & 1 << level != 0
    }
}

/// `STATS`.
pub(super) struct Stats(Words);

impl Stats {
    /// # Errors
    /// If the array cannot be mapped.
    pub(super) fn map(map: &impl AsFd) -> io::Result<Self> {
        Words::map(map, STATS).map(Self)
    }

    pub(super) fn get(&self, stat: Stat) -> u64 {
        self.0.word(stat as u32).load(Ordering::SeqCst)
    }

    /// Sets it to 0 if it is still `known`; returns whether it was.
    pub(super) fn clear(&self, stat: Stat, known: u64) -> bool {
        let word = self.0.word(stat as u32);
        let cleared = word.compare_exchange(known, 0, Ordering::SeqCst, Ordering::SeqCst);
        cleared.is_ok()
    }
}
