//! The record of a use of an exception, as it crosses from the kernel to a follower's ring.

use crate::addr::Addr;

/// How long after a far side of datagrams was told it is not told again, nanoseconds.
pub const TOLD_LIFE: u64 = 60 * 1_000_000_000;

/// What an exception let out: a connection, or the first datagram to a far side.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// [`crate::ABI_VERSION`].
    pub abi: u16,
    /// Size of this record in bytes.
    pub size: u16,
    /// [`crate::denial::Hook`].
    pub hook: u8,
    /// IP protocol number, TCP or UDP.
    pub protocol: u8,
    /// Destination port, host byte order.
    pub dport: u16,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub time: u64,
    /// Seal number.
    pub seal: u64,
    /// Destination.
    pub dst: Addr,
    /// Number of the exception, as in `EXCEPTIONS`.
    pub exit: u32,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// User id in the initial user namespace.
    pub uid: u32,
    /// Group id in the initial user namespace.
    pub gid: u32,
    /// Process id in the process's own pid namespace; 0: not known.
    pub nspid: u32,
    /// When the process started, `CLOCK_BOOTTIME`, nanoseconds; 0: not known.
    pub start: u64,
    /// `task->comm`.
    pub comm: [u8; 16],
    /// Parent's `comm`.
    pub parent: [u8; 16],
    /// Parent's process id in the initial pid namespace; 0: not known.
    pub ppid: u32,
    /// Zero.
    pub _pad: u32,
}

impl Allowed {
    /// All zero; no valid record, as `abi` is 0.
    pub const EMPTY: Self = Self {
        abi: 0,
        size: 0,
        hook: 0,
        protocol: 0,
        dport: 0,
        time: 0,
        seal: 0,
        dst: Addr([0; 4]),
        exit: 0,
        tgid: 0,
        tid: 0,
        uid: 0,
        gid: 0,
        nspid: 0,
        start: 0,
        comm: [0; 16],
        parent: [0; 16],
        ppid: 0,
        _pad: 0,
    };
}

const _: () = assert!(size_of::<Allowed>() == 112);
const _: () = assert!(core::mem::offset_of!(Allowed, start) == 64);
