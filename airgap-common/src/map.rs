//! Names, capacities and values of the pinned maps.

use crate::{
    addr::Addr,
    denial::{Denial, Reason},
};

/// Longest container id, and the only length taken: 64 hex digits.
pub const ID_LEN: usize = 64;
/// Most containers that can be sealed at once on one host.
pub const MAX_SEALS: u32 = 16_384;
/// Most live cgroups that belong to seals (one a container, plus those the
/// kernel has not released yet).
pub const MAX_CGROUPS: u32 = 32_768;
/// Deepest cgroup level at which a sealed container may live; root is 0.
pub const MAX_LEVEL: u32 = 12;
/// Buckets of `HINTS`, indexed by the low bits of a cgroup id.
pub const HINT_BUCKETS: u32 = 65_536;
/// Slots of `OVERFLOW`, indexed by [`overflow_slot`].
pub const OVERFLOW_SLOTS: u32 = 4_096;
/// Most `airgap tail` processes at once.
pub const MAX_FOLLOWERS: u32 = 8;
/// Most service ports of one seal.
pub const MAX_PORTS: usize = 16;
/// Most host-side veths that are guarded at once.
pub const MAX_VETHS: u32 = 16_384;
/// Flows remembered for answers that the kernel gives without a socket; the
/// oldest are forgotten first.
pub const MAX_SYNS: u32 = 65_536;
/// Attempts remembered with who made them; those not repeated for longest are
/// forgotten first.
pub const MAX_ATTEMPTS: u32 = 16_384;
/// Room for the attempts of seals that have used up their share of
/// [`MAX_ATTEMPTS`].
pub const MAX_BURSTS: u32 = 4_096;
/// New attempts a seal may add to `ATTEMPTS` at once, and then one a second: a
/// seal alone needs hours to push out what others did.
pub const ATTEMPTS_BURST: u64 = 256;
/// New attempts a second that a seal may add to `BURSTS`; what is beyond is
/// counted by destination only.
pub const BURSTS_PER_SECOND: u64 = 256;
/// Destinations counted exactly, on the host.
pub const MAX_DESTINATIONS: u32 = 65_536;
/// Destinations counted exactly for one seal; the rest is in
/// [`Counters::other`]. As many as 64 seals can have at once.
pub const DESTINATIONS_PER_SEAL: u64 = 1_024;
/// Most `--from` prefixes on one host.
pub const MAX_CLIENTS: u32 = 65_536;

/// Names of the maps; also the names of their pins.
pub mod name {
    /// `[u8; 64]` container id → [`super::SealNumber`]: what survives restarts.
    pub const IDS: &str = "IDS";
    /// `u64` cgroup id → [`super::SealNumber`]: cgroups that exist now.
    pub const CGROUPS: &str = "CGROUPS";
    /// `u32` low bits of a cgroup id → `u64` how many of `CGROUPS` share them.
    pub const HINTS: &str = "HINTS";
    /// `u32` level → `u32` 1 if a sealed cgroup was ever at that level.
    pub const LEVELS: &str = "LEVELS";
    /// Cgroup ids that did not fit into `CGROUPS`; they are denied everything.
    pub const OVERFLOW: &str = "OVERFLOW";
    /// `u64` seal number → [`super::Policy`].
    pub const POLICIES: &str = "POLICIES";
    /// (seal number, prefix) → `u8`: clients that `--from` allows.
    pub const CLIENTS: &str = "CLIENTS";
    /// `u64` seal number → [`super::Counters`].
    pub const COUNTERS: &str = "COUNTERS";
    /// `u64` seal number → [`super::Seal`]; the kernel side does not read it.
    pub const SEALS: &str = "SEALS";
    /// One element: [`super::Gate`]; the kernel side does not read it.
    pub const GATE: &str = "GATE";
    /// Socket storage with `BPF_F_CLONE`: [`super::Tag`].
    pub const TAGS: &str = "TAGS";
    /// Socket storage with `BPF_F_CLONE`: [`super::Mark`].
    pub const MARKS: &str = "MARKS";
    /// Array of maps: one ring buffer of denials for each follower.
    pub const RINGS: &str = "RINGS";
    /// `u32` slot → [`super::Follower`].
    pub const FOLLOWERS: &str = "FOLLOWERS";
    /// `u32` ifindex of a host-side veth → seal number.
    pub const VETHS: &str = "VETHS";
    /// [`super::Syn`] → [`super::SynSeen`]: SYNs that went in.
    pub const SYNS: &str = "SYNS";
    /// [`super::AttemptKey`] → [`super::Attempt`], least recently used go first.
    pub const ATTEMPTS: &str = "ATTEMPTS";
    /// As `ATTEMPTS`, for seals that are over their share of it.
    pub const BURSTS: &str = "BURSTS";
    /// [`super::Destination`] → [`super::Tally`]; nothing is ever pushed out.
    pub const DESTINATIONS: &str = "DESTINATIONS";
    /// Host-wide counters, index = [`super::Stat`].
    pub const STATS: &str = "STATS";

    /// `u32` [`super::Switch`] → `u32` 1 if it is on.
    pub const SWITCHES: &str = "SWITCHES";
    /// `[u8; 64]` container id → `u32` 1: judged, and not to be sealed. The
    /// oldest are forgotten first, and then judged again.
    pub const JUDGED: &str = "JUDGED";

    /// Every map that is pinned.
    pub const ALL: [&str; 22] = [
        IDS,
        CGROUPS,
        HINTS,
        LEVELS,
        OVERFLOW,
        POLICIES,
        CLIENTS,
        COUNTERS,
        SEALS,
        GATE,
        TAGS,
        MARKS,
        RINGS,
        FOLLOWERS,
        STATS,
        VETHS,
        SYNS,
        SWITCHES,
        JUDGED,
        ATTEMPTS,
        BURSTS,
        DESTINATIONS,
    ];

    /// Those that gates of earlier versions do not have.
    pub const LATER: [&str; 2] = [SWITCHES, JUDGED];
}

/// Number of a seal: never 0, never used twice while the gate stands, so that
/// what an earlier seal of the same container tagged means nothing to a later.
pub type SealNumber = u64;

/// Stands for the seal of a cgroup that did not fit: it has no policy.
pub const UNRECORDED: SealNumber = 0;

/// Stands for the seal of a cgroup whose container nobody has judged yet: it
/// has no policy either, so everything is denied.
pub const QUARANTINED: SealNumber = SealNumber::MAX;

/// Most containers that are remembered as judged.
pub const MAX_JUDGED: u32 = 16_384;

/// Index into `SWITCHES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Switch {
    /// A container id that neither `IDS` nor `JUDGED` has starts denied everything.
    Quarantine = 0,
}

/// How many [`Switch`]es there are.
pub const SWITCHES: u32 = 1;

/// What a sealed container may do. Replaced as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Bits of [`Policy::CLIENTS_ANY`].
    pub flags: u32,
    /// Neighbour discovery messages a second before they are dropped.
    pub nd_per_second: u32,
    /// TCP service ports, host byte order, 0 ends the list.
    pub tcp: [u16; MAX_PORTS],
}

impl Policy {
    /// No `--from`: any client may open a connection to a service port.
    pub const CLIENTS_ANY: u32 = 1;

    /// Whether `port` (host byte order) is a TCP service port.
    #[inline(always)]
    pub fn serves_tcp(&self, port: u16) -> bool {
        let mut i = 0;
        while i < MAX_PORTS {
            let p = self.tcp[i];
            if p == 0 {
                return false;
            }
            if p == port {
                return true;
            }
            i += 1;
        }
        false
    }
}

/// Key data of `CLIENTS`; prefix length counts from the first bit of `seal`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Seal number, 64 bits that always match in full.
    pub seal: SealNumber,
    /// Client address or prefix.
    pub addr: Addr,
}

/// Provenance of a TCP socket: written on a listener when a client's SYN
/// arrives, inherited by the sockets it accepts, deleted by `connect`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Seal under which the SYN was accepted.
    pub seal: SealNumber,
    /// Service port, host byte order.
    pub port: u16,
    /// Zero.
    pub _pad: [u8; 6],
}

impl Tag {
    /// No tag: no seal has this number.
    pub const NONE: Self = Self {
        seal: UNRECORDED,
        port: 0,
        _pad: [0; 6],
    };
}

/// Who uses a socket: set when a sealed task creates it, refreshed by the
/// connect and sendmsg hooks.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mark {
    /// Seal of the task that created the socket.
    pub seal: SealNumber,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// User id in the initial user namespace.
    pub uid: u32,
    /// Group id in the initial user namespace.
    pub gid: u32,
    /// `task->comm`, NUL-terminated, chosen by the container.
    pub comm: [u8; 16],
    /// When the process started, `CLOCK_BOOTTIME`, nanoseconds; 0: not known.
    pub start: u64,
    /// Process id in the process's own pid namespace; 0: not known.
    pub nspid: u32,
    /// Parent's process id in the initial pid namespace; 0: not known.
    pub ppid: u32,
    /// Parent's `comm`.
    pub parent: [u8; 16],
}

/// Key of `ATTEMPTS`: refused attempts that differ only in time, thread and
/// source port are one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// Seal.
    pub seal: SealNumber,
    /// Hash of the DNS question or the unix socket's path; 0: there is none.
    pub name: u64,
    /// Destination; all zero: not known.
    pub dst: Addr,
    /// Process id in the initial pid namespace; 0: not known.
    pub tgid: u32,
    /// Interface of a packet or frame, as in [`Denial::ifindex`]; 0: none.
    pub ifindex: u32,
    /// Destination port, host byte order; 0: none.
    pub dport: u16,
    /// `AF_*` of a refused `socket`, else 0.
    pub family: u16,
    /// `SOCK_*` of a refused `socket`, else 0.
    pub socket_type: u16,
    /// IP protocol number; 0: not known.
    pub protocol: u8,
    /// [`Reason`].
    pub reason: u8,
    /// [`crate::denial::Hook`].
    pub hook: u8,
    /// Zero.
    pub _pad: [u8; 7],
}

/// Value of `ATTEMPTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How many there were. One attempt more may have been counted than was
    /// written to the record: it is being filled then, and its `abi` is 0.
    pub count: u64,
    /// The last, `CLOCK_BOOTTIME`, nanoseconds.
    pub last: u64,
    /// The first.
    pub record: Denial,
}

impl Attempt {
    /// What is inserted before the record is filled.
    pub const EMPTY: Self = Self {
        count: 0,
        last: 0,
        record: Denial::EMPTY,
    };
}

/// Key of `DESTINATIONS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Seal.
    pub seal: SealNumber,
    /// Address; all zero: not known.
    pub addr: Addr,
    /// Port, host byte order; 0: none.
    pub port: u16,
    /// IP protocol number; 0: not known.
    pub protocol: u8,
    /// [`Reason`].
    pub reason: u8,
    /// [`crate::denial::Hook`].
    pub hook: u8,
    /// Zero.
    pub _pad: [u8; 3],
}

/// Value of `DESTINATIONS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many attempts were refused.
    pub count: u64,
    /// The first, `CLOCK_BOOTTIME`, nanoseconds.
    pub first: u64,
    /// The last, `CLOCK_BOOTTIME`, nanoseconds.
    pub last: u64,
}

/// Room for [`crate::denial::Reason`]s, whose numbers are all below.
pub const REASONS: usize = 24;

/// Denials of one seal by [`crate::denial::Reason`], and neighbour discovery state.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Denials, index = reason.
    pub by_reason: [u64; REASONS],
    /// Second (`CLOCK_MONOTONIC`) of the neighbour discovery window.
    pub nd_second: u64,
    /// Messages in that window.
    pub nd_count: u64,
    /// How many of `DESTINATIONS` are this seal's.
    pub destinations: u64,
    /// Refused attempts, of reasons that are not silent, whose destination did
    /// not fit into `DESTINATIONS`.
    pub other: u64,
    /// Refused attempts that fitted into neither `ATTEMPTS` nor `BURSTS`: who
    /// made them is not known.
    pub suppressed: u64,
    /// When the next new attempt is due in `ATTEMPTS`, `CLOCK_BOOTTIME`, ns.
    pub attempts_due: u64,
    /// When the next new attempt is due in `BURSTS`, `CLOCK_BOOTTIME`, ns.
    pub bursts_due: u64,
}

impl Counters {
    /// Counters of a seal that refused nothing yet.
    pub const ZERO: Self = Self {
        by_reason: [0; REASONS],
        nd_second: 0,
        nd_count: 0,
        destinations: 0,
        other: 0,
        suppressed: 0,
        attempts_due: 0,
        bursts_due: 0,
    };

    /// Attempts that something inside the container made and that were
    /// refused: all but the silent reasons.
    pub fn refused(&self) -> u64 {
        let silent = [Reason::Inbound, Reason::KernelChatter];
        let silent: u64 = silent.iter().map(|r| self.by_reason[*r as usize]).sum();
        self.by_reason.iter().sum::<u64>() - silent
    }
}

/// What userspace remembers of a seal.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Container id.
    pub id: [u8; ID_LEN],
    /// Container name when it was sealed, NUL-padded.
    pub name: [u8; 128],
    /// When, seconds since 1970-01-01 UTC.
    pub since: u64,
    /// Risks accepted by name, one bit each.
    pub accepted: u64,
    /// 1 once every step of the attach was made.
    pub complete: u32,
    /// When, by `CLOCK_BOOTTIME`, seconds.
    pub boot: u32,
}

/// What userspace remembers of the gate.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// [`crate::ABI_VERSION`].
    pub abi: u32,
    /// When the security hooks were attached and a refusal was seen, by
    /// `CLOCK_BOOTTIME`, seconds; 0: they were not.
    pub lsm: u32,
    /// Last seal number given.
    pub last_seal: SealNumber,
    /// Digest of the BPF object whose programs are attached.
    pub object: u64,
}

/// Owner of a ring slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Follower {
    /// 0: free.
    pub pid: u32,
    /// 1 once the ring is in its slot.
    pub live: u32,
    /// `starttime` of the process, clock ticks since boot (proc(5) field 22).
    pub start: u64,
    /// Denials that did not fit into the ring.
    pub lost: u64,
}

/// Value of `SYNS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynSeen {
    /// Sequence number.
    pub seq: u32,
    /// 1 once a SYN cookie's SYN-ACK has answered it; a retry opens it again.
    pub answered: u32,
    /// When it was last seen, `CLOCK_MONOTONIC`, nanoseconds.
    pub time: u64,
}

/// How long after a client's last SYN the kernel may answer on its flow
/// without a socket of the flow, nanoseconds. Connections that last longer
/// lose the last ACK of TIME_WAIT only.
pub const SYN_LIFE: u64 = 10 * 60 * 1_000_000_000;

/// Key of `SYNS`: a SYN that went into a container, as its veth saw it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn {
    /// Seal of the container.
    pub seal: SealNumber,
    /// Client.
    pub client: Addr,
    /// The container's address that it was sent to.
    pub own: Addr,
    /// Client's port, host byte order.
    pub client_port: u16,
    /// Service port, host byte order.
    pub port: u16,
    /// Zero.
    pub _pad: u32,
}

/// Index into `STATS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stat {
    /// Cgroups with a sealed id that fitted nowhere but into `OVERFLOW`.
    Overflowed = 0,
    /// Cgroups marked at their creation.
    Reborn = 1,
    /// Cgroups forgotten at their release.
    Released = 2,
}

/// How many [`Stat`]s there are.
pub const STATS: u32 = 3;

/// Slot of a cgroup id in `OVERFLOW`.
#[inline(always)]
pub const fn overflow_slot(cgroup: u64) -> u32 {
    (cgroup ^ (cgroup >> 32)) as u32 & (OVERFLOW_SLOTS - 1)
}

const _: () = assert!(size_of::<Policy>() == 40);
const _: () = assert!(size_of::<Client>() == 24);
const _: () = assert!(size_of::<Tag>() == 16);
const _: () = assert!(size_of::<Mark>() == 72);
const _: () = assert!(size_of::<Counters>() == 248);
const _: () = assert!(size_of::<Seal>() == 216);
const _: () = assert!(size_of::<Gate>() == 24);
const _: () = assert!(size_of::<Follower>() == 24);
const _: () = assert!(size_of::<Syn>() == 48);
const _: () = assert!(size_of::<AttemptKey>() == 56);
const _: () = assert!(size_of::<Attempt>() == 296);
const _: () = assert!(size_of::<Destination>() == 32);
const _: () = assert!(size_of::<Tally>() == 24);

#[cfg(feature = "user")]
mod pod {
    macro_rules! pod {
        ($($t:ty),+) => {$(
            // SAFETY: repr(C), only integers and arrays of them, no padding
            // (the size asserts above add up the fields), any bit pattern valid.
            unsafe impl aya::Pod for $t {}
        )+};
    }
    pod!(
        super::Policy,
        super::Tag,
        super::Client,
        super::Counters,
        super::Seal,
        super::Gate,
        super::Follower,
        super::AttemptKey,
        super::Attempt,
        crate::denial::Denial,
        super::Destination,
        super::Tally
    );
}

#[cfg(test)]
mod tests {
    use super::{Counters, MAX_PORTS, Policy, REASONS};
    use crate::denial::Reason;

    #[test]
    fn refused_leaves_out_what_nobody_inside_asked_for() {
        let mut by_reason = [0; REASONS];
        for (reason, n) in [
            (Reason::Egress, 3),
            (Reason::Dns, 4),
            (Reason::Inbound, 50),
            (Reason::KernelChatter, 60),
        ] {
            by_reason[reason as usize] = n;
        }
        let counters = Counters {
            by_reason,
            ..Counters::ZERO
        };
        assert_eq!(counters.refused(), 7);
        assert!(Reason::Inbound.is_silent() && Reason::KernelChatter.is_silent());
    }

    #[test]
    fn serves_only_listed_ports() {
        let mut tcp = [0; MAX_PORTS];
        tcp[..2].copy_from_slice(&[5060, 80]);
        let p = Policy {
            flags: 0,
            nd_per_second: 0,
            tcp,
        };
        assert!(p.serves_tcp(5060) && p.serves_tcp(80));
        assert!(!p.serves_tcp(0) && !p.serves_tcp(5061));
        let full = Policy {
            tcp: core::array::from_fn(|i| i as u16 + 1),
            ..p
        };
        assert!(full.serves_tcp(MAX_PORTS as u16) && !full.serves_tcp(MAX_PORTS as u16 + 1));
    }
}
