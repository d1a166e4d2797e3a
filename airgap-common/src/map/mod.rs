//! Names, capacities and values of the pinned maps.

mod attached;
mod attempt;
mod bridge;
mod exit;
mod follower;
mod found;
pub mod name;
mod older;
mod own;
mod policy;
mod questions;
mod socket;
mod udp;

pub use self::{
    attached::{Call, Counted, MAX_ATTACHED, MAX_COUNTED, Member},
    attempt::{
        ARGUMENTS, ATTEMPTS_BURST, Arguments, Attempt, AttemptKey, BURSTS_PER_SECOND, Counters,
        DESTINATIONS_PER_SEAL, DESTINATIONS_PER_SHARE, Destination, FRESH_PER_SECOND, MAX_ATTEMPTS,
        MAX_BURSTS, MAX_DESTINATIONS, MAX_PROGRAMS, MAX_SHARES, ORDER_SLACK, Program, REASONS,
        SHARE_BURST, SHARE_PER_SECOND, SHARE_RESERVED, SHARE_SECONDS, Share, Spent, Tally, admit,
        kind_of,
    },
    bridge::{Bridge, Link4, Link6, MAX_BRIDGES, MAX_LINKS, Mac},
    exit::{
        DATAGRAM_LIFE, EXCEPTIONS_PER_SEAL, Exception, Exit, Exits, FLOW_LIFE, Flow, Found,
        MAX_EXCEPTIONS, MAX_EXITS, MAX_FLOWS, MAX_NEIGHBOURS, REASON_LEN, SLOTS, Slot, TARGET_LEN,
        Use,
    },
    follower::Follower,
    found::{packed, unpacked},
    older::{CUT_LIFE, Ended, Layer, MAX_OLDER, Older},
    own::{ARP_LEN, MAX_OWN, MAX_OWN6, Own},
    policy::{MAX_PORTS, Policy, PortRange},
    questions::{MAX_OWED, Questions},
    socket::{MAX_SYNS, Mark, Near, SYN_LIFE, Storage, Syn, SynSeen, Tag},
    udp::{
        MAX_UDP_PEERS, MAX_UDP_PREFIXES, UDP_PEER_LIFE, UDP_PEERS_PER_PREFIX, UDP_PEERS_PER_SEAL,
        UdpPeer, UdpPrefix, UdpQuota, UdpSeen, is_fresh,
    },
};
use crate::addr::Addr;

/// Longest container id, and the only length taken: 64 hex digits.
pub const ID_LEN: usize = 64;
/// Most containers that can be sealed at once on one host.
pub const MAX_SEALS: u32 = 16_384;
/// Most cgroups that are sealed by their path.
pub const MAX_PATHS: u32 = 1_024;
/// Bytes of such a path, with a zero at its end.
pub const PATH_LEN: usize = 256;
/// Most live cgroups that belong to seals (one a container, plus those the
/// kernel has not released yet).
pub const MAX_CGROUPS: u32 = 32_768;
/// Deepest cgroup level at which a sealed container may live; root is 0.
pub const MAX_LEVEL: u32 = 12;
/// Buckets of `HINTS`, indexed by the low bits of a cgroup id.
pub const HINT_BUCKETS: u32 = 32_768;
/// Slots of `OVERFLOW`, indexed by [`overflow_slot`].
pub const OVERFLOW_SLOTS: u32 = 4_096;
/// Most `airgap tail` processes at once.
pub const MAX_FOLLOWERS: u32 = 8;
/// Most host-side veths that are guarded at once.
pub const MAX_VETHS: u32 = 16_384;
/// Most `--from` prefixes on one host.
pub const MAX_CLIENTS: u32 = 65_536;

/// Number of a seal: never 0, never used twice while the gate stands, so that
/// what an earlier seal of the same container tagged means nothing to a later.
pub type SealNumber = u64;

/// Stands for the seal of a cgroup that did not fit: it has no policy.
pub const UNRECORDED: SealNumber = 0;

/// Stands for the seal of a cgroup whose container nobody has judged yet: it
/// has no policy either, so everything is denied.
pub const QUARANTINED: SealNumber = SealNumber::MAX;

/// Stands for the seal of a veth that was guarded before anybody knew whose it is:
/// a frame is judged if its socket's cgroup is sealed, and passes otherwise.
pub const UNOWNED: SealNumber = SealNumber::MAX - 1;

/// Most network namespaces whose veths wait for their owner.
pub const MAX_WAITING: u32 = 4_096;
/// Most veths of one of them.
pub const MAX_WAITING_VETHS: usize = 4;

/// Value of `WAITING`: the host's ends of the unowned veths that lead into one network
/// namespace. The first sealed task that makes a socket there makes them its seal's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Interface indices; 0: none.
    pub veths: [u32; MAX_WAITING_VETHS],
}

/// Most containers that are remembered as judged.
pub const MAX_JUDGED: u32 = 16_384;

/// Index into `SWITCHES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Switch {
    /// A container id that neither `IDS` nor `JUDGED` has starts denied everything.
    Quarantine = 0,
    /// The hooks for packets and calls are attached to the cgroups in `ATTACHED`, not to the
    /// root: what is sealed and born elsewhere is denied every socket but unix sockets.
    Apart = 1,
    /// Hooks are being moved or replaced: two programs may be called for one attempt.
    Moving = 2,
    /// `WAITING` may have something: whoever makes a socket looks there.
    Waiting = 3,
}

/// Which 32 bits of `LEVELS`, the lower ones first: each writes its own only, so neither loses
/// what the other writes meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Writer {
    /// `airgap`, under its lock.
    User = 0,
    /// The gate, when a cgroup is made; `cgroup_mutex` is held then.
    Kernel = 1,
}

/// How many [`Switch`]es there are.
pub const SWITCHES: u32 = 4;

/// Key data of `CLIENTS` and `EXITS`; prefix length counts from the first bit of `seal`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Seal number, 64 bits that always match in full.
    pub seal: SealNumber,
    /// IP version, 4 or 6, 64 bits that always match in full: no prefix of one
    /// version holds addresses of the other, although both are IPv6 words.
    pub version: u64,
    /// Address or prefix; IPv4 mapped, with 96 bits before it.
    pub addr: Addr,
}

impl Client {
    /// Bits of the key before the address.
    pub const HEAD_BITS: u32 = 128;
    /// Bits of the key of one address.
    pub const BITS: u32 = Self::HEAD_BITS + 128;

    /// The key data of one client. A socket of IPv6 that an IPv4 client reaches
    /// sees it mapped: that is an IPv4 client.
    #[inline(always)]
    pub const fn new(seal: SealNumber, addr: Addr) -> Self {
        let version = if addr.is_v4() { 4 } else { 6 };
        Self {
            seal,
            version,
            addr,
        }
    }
}

/// Interfaces remembered with a veth by which other than neighbours come in.
pub const MAX_UPLINKS: usize = 14;

/// Value of `VETHS`: a host-side veth of a sealed container, as it was when it
/// was guarded. What is out of date here can only drop more.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Veth {
    /// Seal of the container, or [`UNOWNED`].
    pub seal: SealNumber,
    /// Index of the bridge that it is a port of; 0: of none; [`Veth::UNPLUGGED`].
    pub bridge: u32,
    /// That bridge's own IPv4 address, network byte order; 0: it has none.
    pub gateway: u32,
    /// Indices of interfaces that are no container's, ports of the bridge among
    /// them; 0: none.
    pub uplinks: [u32; MAX_UPLINKS],
    /// That bridge's own hardware address; none: it does not tell who is reached by the
    /// host, as the bridge has a port that leads elsewhere, or is none.
    pub mac: Mac,
}

impl Veth {
    /// It has just been made, and may be plugged into a bridge yet: nothing tells
    /// where what comes in by it came from.
    pub const UNPLUGGED: u32 = u32::MAX;

    /// Whether it is a port of a bridge of which the hardware address is known.
    #[inline(always)]
    pub const fn is_port(&self) -> bool {
        self.bridge != 0 && self.bridge != Self::UNPLUGGED && !self.mac.is_none()
    }

    /// Whether this interface, which is not 0, is none of a container.
    #[inline(always)]
    pub fn is_uplink(&self, ifindex: u32) -> bool {
        let mut known = false;
        let mut i = 0;
        while i < MAX_UPLINKS {
            known |= self.uplinks[i] == ifindex;
            i += 1;
        }
        known
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
    /// Id of the cgroup below the root that it was last seen in; 0: in none.
    pub top: u64,
}

/// What userspace remembers of the gate.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// [`crate::ABI_VERSION`].
    pub abi: u32,
    /// Since when the security hooks are known to refuse, by `CLOCK_BOOTTIME`, seconds;
    /// 0: there are none; the last number: they did not when somebody last looked.
    pub lsm: u32,
    /// Last seal number given.
    pub last_seal: SealNumber,
    /// Digest of the BPF object whose programs are attached.
    pub object: u64,
    /// The protocol by which these security hooks, and no other gate's, are told to be
    /// in force; see [`crate::verdict::socket::SELF_TEST_ERRNO`].
    pub test: u32,
    /// Last number given to an exception: none is used twice while the gate stands.
    pub last_exit: u32,
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
    /// Veths of sealed containers that were guarded as they came.
    Guarded = 3,
    /// Of those: the container's own program may have run by then.
    GuardedLate = 4,
    /// Cgroups that were born where nothing is attached, and are denied every socket but unix
    /// sockets; not 0 while there is one. Userspace sets it back, once there is none.
    Unguarded = 5,
}

/// How many [`Stat`]s there are.
pub const STATS: u32 = 6;

/// Slot of a cgroup id in `OVERFLOW`.
#[inline(always)]
pub const fn overflow_slot(cgroup: u64) -> u32 {
    (cgroup ^ (cgroup >> 32)) as u32 & (OVERFLOW_SLOTS - 1)
}

const _: () = assert!(size_of::<Policy>() == 136);
const _: () = assert!(size_of::<Client>() == 32);
const _: () = assert!(size_of::<Tag>() == 16);
const _: () = assert!(size_of::<Mark>() == 72);
const _: () = assert!(size_of::<Storage>() == 96);
const _: () = assert!(size_of::<Counters>() == 272);
const _: () = assert!(size_of::<Veth>() == 80);
const _: () = assert!(size_of::<Bridge>() == 160);
const _: () = assert!(size_of::<Seal>() == 224);
const _: () = assert!(size_of::<Gate>() == 32);
const _: () = assert!(size_of::<Member>() == 24);
const _: () = assert!(size_of::<Call>() == 24);
const _: () = assert!(size_of::<Counted>() == 16);
const _: () = assert!(size_of::<Follower>() == 24);
const _: () = assert!(size_of::<Syn>() == 48);
// One cache line.
const _: () = assert!(size_of::<SynSeen>() == 64);
const _: () = assert!(size_of::<Older>() == 40);
const _: () = assert!(size_of::<Slot>() == 32);
const _: () = assert!(size_of::<Exits>() == 256);
const _: () = assert!(size_of::<Flow>() == 48);
const _: () = assert!(size_of::<Exception>() == 464);
const _: () = assert!(size_of::<Use>() == 56);
const _: () = assert!(size_of::<UdpPeer>() == 32);
const _: () = assert!(size_of::<UdpSeen>() == 16);
const _: () = assert!(size_of::<UdpPrefix>() == 24);
const _: () = assert!(size_of::<UdpQuota>() == 16);
const _: () = assert!(size_of::<Own>() == 56);
const _: () = assert!(size_of::<Waiting>() == 16);
const _: () = assert!(size_of::<Questions>() == 24);
const _: () = assert!(size_of::<AttemptKey>() == 56);
const _: () = assert!(size_of::<Attempt>() == 432);
const _: () = assert!(size_of::<Destination>() == 32);
const _: () = assert!(size_of::<Tally>() == 24);
const _: () = assert!(size_of::<Share>() == 24);
const _: () = assert!(size_of::<Spent>() == 48);
const _: () = assert!(size_of::<Program>() == 32);
const _: () = assert!(size_of::<Arguments>() == 4 + ARGUMENTS);

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
        super::Storage,
        super::Client,
        super::Counters,
        super::Seal,
        super::Member,
        super::Call,
        super::Counted,
        super::Gate,
        super::Follower,
        super::Veth,
        super::Bridge,
        super::Syn,
        super::Older,
        super::Exits,
        super::Exception,
        super::Use,
        super::Flow,
        super::Questions,
        super::Own,
        super::UdpPeer,
        super::UdpSeen,
        super::UdpPrefix,
        super::UdpQuota,
        super::Waiting,
        super::AttemptKey,
        super::Attempt,
        super::Program,
        super::Arguments,
        crate::denial::Denial,
        super::Destination,
        super::Tally
    );
}

#[cfg(test)]
mod tests {
    use super::{Client, Counters, REASONS};
    use crate::{addr::Addr, denial::Reason};

    #[test]
    fn a_mapped_client_is_an_ipv4_client() {
        let v4 = Addr::from_v4([198, 51, 100, 9]);
        let mapped = Addr::from_octets([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 9]);
        assert_eq!(Client::new(1, v4), Client::new(1, mapped));
        assert_eq!(Client::new(1, v4).version, 4);
        // ::198.51.100.9 is another.
        let compatible = Addr([0, 0, 0, v4.0[3]]);
        assert_eq!(Client::new(1, compatible).version, 6);
        assert_eq!(Client::new(1, Addr::default()).version, 6);
    }

    #[test]
    fn refused_leaves_out_what_nobody_inside_asked_for() {
        let mut by_reason = [0; REASONS];
        for (reason, n) in [
            (Reason::Egress, 3),
            (Reason::Dns, 4),
            (Reason::Inbound, 50),
            (Reason::KernelChatter, 60),
            (Reason::NeighbourBudget, 70),
        ] {
            by_reason[reason as usize] = n;
        }
        let counters = Counters {
            by_reason,
            ..Counters::ZERO
        };
        assert_eq!(counters.refused(), 7);
    }
}
