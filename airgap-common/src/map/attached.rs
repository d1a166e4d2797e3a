//! Sealed cgroups, where the hooks that judge them are attached, and what is counted while
//! those are moved.

use super::SealNumber;

/// Value of `CGROUPS`: a cgroup of a seal, with all that is below it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The seal that it is judged by; [`super::UNRECORDED`] where nothing is attached above it that
    /// would judge its packets: it is denied every socket but unix sockets then.
    pub seal: SealNumber,
    /// The seal that it is of.
    pub of: SealNumber,
    /// Id of the cgroup below the root that it is in; 0: it is one of those itself.
    pub top: u64,
}

/// Room for cgroups below the root that the hooks for packets and calls are attached to: more
/// than there are, as new ones are entered before old ones go.
pub const MAX_ATTACHED: u32 = 64;

/// Most attempts that are remembered as counted while hooks are moved.
pub const MAX_COUNTED: u32 = 4_096;

/// Key of `COUNTED`: one call of the gate's programs at one hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Address of the packet, or number of the thread.
    pub object: u64,
    /// Id of the sealed cgroup, or number of an exception.
    pub of: u64,
    /// What is counted: a [`crate::denial::Hook`], or a use.
    pub what: u64,
}

impl Call {
    /// A packet that an exception let out: no [`crate::denial::Hook`] has this number, nor
    /// those below.
    pub const OUT: u64 = 0x100;
    /// One that came in by an exception.
    pub const IN: u64 = 0x101;
    /// One that was refused as its exception is over.
    pub const LAPSED: u64 = 0x102;
    /// A call that followers are told of.
    pub const TOLD: u64 = 0x103;
}

/// Value of `COUNTED`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Which load of the programs has counted it.
    pub load: u64,
    /// When, `CLOCK_BOOTTIME`, nanoseconds.
    pub at: u64,
}

impl Counted {
    /// For so long another load takes it for counted, nanoseconds: both are called one
    /// after the other. Hooks that are moved stay in both places for longer.
    pub const LIFE: u64 = 2_000_000;
}
