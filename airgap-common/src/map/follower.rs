//! Who is told live.

/// Owner of a ring slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Follower {
    /// 0: free.
    pub pid: u32,
    /// What goes into the ring, once it is in its slot: [`Self::DENIALS`], or
    /// [`Self::ALLOWED`]; 0: nothing yet.
    pub live: u32,
    /// `starttime` of the process, clock ticks since boot (proc(5) field 22).
    pub start: u64,
    /// Records that did not fit into the ring.
    pub lost: u64,
}

impl Follower {
    /// Each [`crate::denial::Denial`].
    pub const DENIALS: u32 = 1;
    /// Each [`crate::allowed::Allowed`].
    pub const ALLOWED: u32 = 2;
}
