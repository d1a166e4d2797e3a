//! Names of the maps; also the names of their pins.

/// `[u8; 64]` container id → [`super::SealNumber`]: what survives restarts.
pub const IDS: &str = "IDS";
/// `[u8; 256]` path of a cgroup, from the root of the v2 hierarchy, padded with zeros →
/// [`super::SealNumber`]: what is made there is sealed.
pub const PATHS: &str = "PATHS";
/// One element, `[u8; 256]`: where the kernel side puts such a path together.
pub const PATH: &str = "PATH";
/// `u64` cgroup id → [`super::Member`]: cgroups that exist now.
pub const CGROUPS: &str = "CGROUPS";
/// `u64` cgroup id → `u32` 1: what the hooks for packets and calls are attached to, where
/// that is not the root. See [`super::Switch::Apart`].
pub const ATTACHED: &str = "ATTACHED";
/// [`super::Call`] → [`super::Counted`], while hooks are moved.
pub const COUNTED: &str = "COUNTED";
/// `u32` low bits of a cgroup id → `u64` how many of `CGROUPS` share them.
pub const HINTS: &str = "HINTS";
/// Index is a [`super::Writer`] → `u32`: bit n is set if it ever marked a cgroup
/// at level n.
pub const LEVELS: &str = "LEVELS";
/// One element, `u32`: how often policies changed, twice; odd while one is changed.
/// See [`super::Tag::epoch`].
pub const EPOCH: &str = "EPOCH";
/// Cgroup ids that did not fit into `CGROUPS`; they are denied everything.
pub const OVERFLOW: &str = "OVERFLOW";
/// `u64` seal number → [`super::Policy`].
pub const POLICIES: &str = "POLICIES";
/// (seal number, prefix) → `u8`: clients that `--from` allows.
pub const CLIENTS: &str = "CLIENTS";
/// (seal number, prefix) → [`super::Exits`]: where exceptions let it out.
pub const EXITS: &str = "EXITS";
/// `u32` number → [`super::Exception`]; the kernel side does not read it.
pub const EXCEPTIONS: &str = "EXCEPTIONS";
/// `u32` number of an exception → [`super::Use`] on each processor.
pub const EXIT_USE: &str = "EXIT_USE";
/// Array of one map, made for the first seal that has exceptions: [`super::Flow`] → `u64`,
/// when it last sent, `CLOCK_BOOTTIME`, nanoseconds; least recently used go first.
pub const EXIT_FLOWS: &str = "EXIT_FLOWS";
/// Array of one map, made for the first seal that serves UDP: [`super::UdpPeer`] →
/// [`super::UdpSeen`], its last datagram to that service port; least recently used go first.
pub const UDP_PEERS: &str = "UDP_PEERS";
/// Likewise: [`super::UdpPrefix`] → [`super::UdpQuota`], how many new peers came from there;
/// least recently used go first.
pub const UDP_PREFIXES: &str = "UDP_PREFIXES";
/// `u64` cgroup id → `u32` 1: a neighbour that exceptions lead to. The kernel side takes
/// it out when its directory is removed.
pub const NEIGHBOURS: &str = "NEIGHBOURS";
/// `u64` seal number → [`super::Counters`].
pub const COUNTERS: &str = "COUNTERS";
/// `u64` seal number → [`super::Seal`]; the kernel side does not read it.
pub const SEALS: &str = "SEALS";
/// One element: [`super::Gate`]; the kernel side does not read it.
pub const GATE: &str = "GATE";
/// Socket storage with `BPF_F_CLONE`: [`super::Storage`].
pub const SOCKETS: &str = "SOCKETS";
/// Array of maps: one ring buffer of denials for each follower.
pub const RINGS: &str = "RINGS";
/// `u32` slot → [`super::Follower`].
pub const FOLLOWERS: &str = "FOLLOWERS";
/// `u32` ifindex of a host-side veth → [`super::Veth`].
pub const VETHS: &str = "VETHS";
/// `u32` ifindex of a bridge → [`super::Bridge`]: what is on its link.
pub const BRIDGES: &str = "BRIDGES";
/// [`super::Syn::slot`] → [`super::SynSeen`]: SYNs that went in.
pub const SYNS: &str = "SYNS";
/// Array of one map, made for the first of them: [`super::Syn`] → [`super::Older`],
/// connections older than the seal that were cut or kept, by their client's SYN; least
/// recently used go first.
pub const OLDER: &str = "OLDER";
/// One element, `u64`: when the last of those that were cut is forgotten,
/// `CLOCK_MONOTONIC`, nanoseconds; 0 at first.
pub const OLDER_UNTIL: &str = "OLDER_UNTIL";
/// `u64` seal number → [`super::Questions`]: what neighbours asked, which pays for
/// the kernel's answers.
pub const QUESTIONS: &str = "QUESTIONS";
/// `u32` ifindex of a host-side veth → [`super::Own`]: what its other end may announce.
pub const OWN: &str = "OWN";
/// `u64` cookie of a network namespace → [`super::Waiting`]: veths into it that are
/// guarded and not known to be anybody's.
pub const WAITING: &str = "WAITING";
/// [`super::AttemptKey`] → [`super::Attempt`].
pub const ATTEMPTS: &str = "ATTEMPTS";
/// Queue of the keys of `ATTEMPTS`, the oldest first.
pub const ATTEMPTS_ORDER: &str = "ATTEMPTS_ORDER";
/// As `ATTEMPTS`, for seals that are over their share of it.
pub const BURSTS: &str = "BURSTS";
/// Queue of its keys.
pub const BURSTS_ORDER: &str = "BURSTS_ORDER";
/// [`super::Share`] → [`super::Spent`].
pub const SHARES: &str = "SHARES";
/// Queue of its keys.
pub const SHARES_ORDER: &str = "SHARES_ORDER";
/// [`super::Program`] → [`super::Arguments`].
pub const PROGRAMS: &str = "PROGRAMS";
/// Queue of its keys.
pub const PROGRAMS_ORDER: &str = "PROGRAMS_ORDER";
/// [`super::Destination`] → [`super::Tally`].
pub const DESTINATIONS: &str = "DESTINATIONS";
/// Queue of its keys.
pub const DESTINATIONS_ORDER: &str = "DESTINATIONS_ORDER";
/// Host-wide counters, index = [`super::Stat`].
pub const STATS: &str = "STATS";

/// `u32` [`super::Switch`] → `u32` 1 if it is on.
pub const SWITCHES: &str = "SWITCHES";
/// Array of one map, made for quarantine: `[u8; 64]` container id → `u32` 1, judged, and not
/// to be sealed. The oldest are forgotten first, and then judged again.
pub const JUDGED: &str = "JUDGED";

/// Every map that is pinned.
pub const ALL: [&str; 46] = [
    IDS,
    PATHS,
    PATH,
    CGROUPS,
    ATTACHED,
    COUNTED,
    HINTS,
    LEVELS,
    EPOCH,
    OVERFLOW,
    POLICIES,
    CLIENTS,
    EXITS,
    EXCEPTIONS,
    EXIT_USE,
    EXIT_FLOWS,
    UDP_PEERS,
    UDP_PREFIXES,
    NEIGHBOURS,
    COUNTERS,
    SEALS,
    GATE,
    SOCKETS,
    RINGS,
    FOLLOWERS,
    STATS,
    VETHS,
    BRIDGES,
    SYNS,
    OLDER,
    OLDER_UNTIL,
    QUESTIONS,
    OWN,
    WAITING,
    SWITCHES,
    JUDGED,
    ATTEMPTS,
    ATTEMPTS_ORDER,
    BURSTS,
    BURSTS_ORDER,
    SHARES,
    SHARES_ORDER,
    PROGRAMS,
    PROGRAMS_ORDER,
    DESTINATIONS,
    DESTINATIONS_ORDER,
];
