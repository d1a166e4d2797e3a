//! The processor's instructions.

/// Instructions so far: in that machine its time stamp counter goes up by one with each, in user
/// and kernel mode alike, and stands still while there is nothing to do.
#[cfg(target_arch = "x86_64")]
pub(crate) fn instructions() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86-64 processor has both, and neither touches memory.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn instructions() -> u64 {
    panic!("the machine that counts is an x86-64 one")
}
