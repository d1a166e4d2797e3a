//! The maps. Names, capacities and layouts come from `airgap_common::map`.

use airgap_common::{
    denial::Denial,
    map::{
        Arguments, Attempt, AttemptKey, Bridge, Call, Client, Counted, Counters, Destination,
        Exception, Exits, Flow, Follower, Gate, HINT_BUCKETS, ID_LEN, MAX_ATTACHED, MAX_ATTEMPTS,
        MAX_BRIDGES, MAX_BURSTS, MAX_CGROUPS, MAX_CLIENTS, MAX_COUNTED, MAX_DESTINATIONS,
        MAX_EXCEPTIONS, MAX_EXITS, MAX_FLOWS, MAX_FOLLOWERS, MAX_JUDGED, MAX_NEIGHBOURS, MAX_OLDER,
        MAX_PATHS, MAX_PROGRAMS, MAX_SEALS, MAX_SHARES, MAX_SYNS, MAX_UDP_PEERS, MAX_UDP_PREFIXES,
        MAX_VETHS, MAX_WAITING, Member, ORDER_SLACK, OVERFLOW_SLOTS, Older, Own, PATH_LEN, Policy,
        Program, Questions, STATS as STAT_COUNT, SWITCHES as SWITCH_COUNT, Seal, SealNumber, Share,
        Spent, Storage, Syn, SynSeen, Tally, UdpPeer, UdpPrefix, UdpQuota, UdpSeen, Use, Veth,
        Waiting,
    },
};
use aya_ebpf::{
    bindings::{BPF_F_CLONE, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_map_type},
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuHashMap, Queue, RingBuf},
    macros::btf_map,
};

/// Socket storage that accepted sockets inherit (`BPF_F_CLONE`, Linux 5.4);
/// aya's own type has no place for the flag.
#[repr(C)]
pub(crate) struct SkStorageClone<T> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: the fields describe the map to the loader and are never dereferenced.
unsafe impl<T> Sync for SkStorageClone<T> {}

impl<T> SkStorageClone<T> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }

    /// The map itself, as helpers take it.
    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *mut core::ffi::c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}

#[btf_map]
pub(crate) static IDS: HashMap<[u8; ID_LEN], SealNumber, { MAX_SEALS as usize }> = HashMap::new();
#[btf_map]
pub(crate) static PATHS: HashMap<[u8; PATH_LEN], SealNumber, { MAX_PATHS as usize }> =
    HashMap::new();
#[btf_map]
pub(crate) static PATH: Array<[u64; PATH_LEN / 8], 1> = Array::new();
#[btf_map]
pub(crate) static CGROUPS: HashMap<u64, Member, { MAX_CGROUPS as usize }> = HashMap::new();
#[btf_map]
pub(crate) static ATTACHED: HashMap<u64, u32, { MAX_ATTACHED as usize }> = HashMap::new();
#[btf_map]
pub(crate) static COUNTED: HashMap<
    Call,
    Counted,
    { MAX_COUNTED as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static HINTS: Array<u64, { HINT_BUCKETS as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();
#[btf_map]
pub(crate) static LEVELS: Array<u64, 1, { BPF_F_MMAPABLE as usize }> = Array::new();
#[btf_map]
pub(crate) static EPOCH: Array<u32, 1> = Array::new();
#[btf_map]
pub(crate) static OVERFLOW: Array<u64, { OVERFLOW_SLOTS as usize }> = Array::new();
#[btf_map]
pub(crate) static POLICIES: HashMap<SealNumber, Policy, { MAX_SEALS as usize }> = HashMap::new();
#[btf_map]
pub(crate) static CLIENTS: LpmTrie<Client, u8, { MAX_CLIENTS as usize }> = LpmTrie::new();
#[btf_map]
pub(crate) static EXITS: LpmTrie<Client, Exits, { MAX_EXITS as usize }> = LpmTrie::new();
#[btf_map]
pub(crate) static EXCEPTIONS: HashMap<
    u32,
    Exception,
    { MAX_EXCEPTIONS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static EXIT_USE: PerCpuHashMap<
    u32,
    Use,
    { MAX_EXCEPTIONS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = PerCpuHashMap::new();
#[btf_map]
pub(crate) static EXIT_FLOWS: ArrayOfMaps<LruHashMap<Flow, u64, { MAX_FLOWS as usize }>, 1> =
    ArrayOfMaps::new();
#[btf_map]
pub(crate) static UDP_PEERS: ArrayOfMaps<
    LruHashMap<UdpPeer, UdpSeen, { MAX_UDP_PEERS as usize }>,
    1,
> = ArrayOfMaps::new();
#[btf_map]
pub(crate) static UDP_PREFIXES: ArrayOfMaps<
    LruHashMap<UdpPrefix, UdpQuota, { MAX_UDP_PREFIXES as usize }>,
    1,
> = ArrayOfMaps::new();
#[btf_map]
pub(crate) static NEIGHBOURS: HashMap<
    u64,
    u32,
    { MAX_NEIGHBOURS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static COUNTERS: HashMap<
    SealNumber,
    Counters,
    { MAX_SEALS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static SEALS: HashMap<
    SealNumber,
    Seal,
    { MAX_SEALS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static GATE: Array<Gate, 1> = Array::new();
#[btf_map]
pub(crate) static SOCKETS: SkStorageClone<Storage> = SkStorageClone::new();
#[btf_map]
pub(crate) static RINGS: ArrayOfMaps<RingBuf<Denial, 262_144>, { MAX_FOLLOWERS as usize }> =
    ArrayOfMaps::new();
#[btf_map]
pub(crate) static FOLLOWERS: Array<Follower, { MAX_FOLLOWERS as usize }> = Array::new();
#[btf_map]
pub(crate) static STATS: Array<u64, { STAT_COUNT as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();
#[btf_map]
pub(crate) static ATTEMPTS: HashMap<
    AttemptKey,
    Attempt,
    { MAX_ATTEMPTS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static ATTEMPTS_ORDER: Queue<AttemptKey, { (MAX_ATTEMPTS - ORDER_SLACK) as usize }> =
    Queue::new();
#[btf_map]
pub(crate) static BURSTS: HashMap<
    AttemptKey,
    Attempt,
    { MAX_BURSTS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static BURSTS_ORDER: Queue<AttemptKey, { (MAX_BURSTS - ORDER_SLACK) as usize }> =
    Queue::new();
#[btf_map]
pub(crate) static SHARES: HashMap<
    Share,
    Spent,
    { MAX_SHARES as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static SHARES_ORDER: Queue<Share, { (MAX_SHARES - ORDER_SLACK) as usize }> =
    Queue::new();
#[btf_map]
pub(crate) static PROGRAMS: HashMap<
    Program,
    Arguments,
    { MAX_PROGRAMS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static PROGRAMS_ORDER: Queue<Program, { (MAX_PROGRAMS - ORDER_SLACK) as usize }> =
    Queue::new();
#[btf_map]
pub(crate) static DESTINATIONS: HashMap<
    Destination,
    Tally,
    { MAX_DESTINATIONS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static DESTINATIONS_ORDER: Queue<
    Destination,
    { (MAX_DESTINATIONS - ORDER_SLACK) as usize },
> = Queue::new();

#[btf_map]
pub(crate) static VETHS: HashMap<u32, Veth, { MAX_VETHS as usize }> = HashMap::new();
#[btf_map]
pub(crate) static BRIDGES: HashMap<u32, Bridge, { MAX_BRIDGES as usize }> = HashMap::new();
#[btf_map]
pub(crate) static OWN: HashMap<u32, Own, { MAX_VETHS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
#[btf_map]
pub(crate) static WAITING: HashMap<
    u64,
    Waiting,
    { MAX_WAITING as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();
#[btf_map]
pub(crate) static SYNS: Array<SynSeen, { MAX_SYNS as usize }> = Array::new();
#[btf_map]
pub(crate) static OLDER: ArrayOfMaps<LruHashMap<Syn, Older, { MAX_OLDER as usize }>, 1> =
    ArrayOfMaps::new();
#[btf_map]
pub(crate) static QUESTIONS: HashMap<SealNumber, Questions, { MAX_SEALS as usize }> =
    HashMap::new();
#[btf_map]
pub(crate) static OLDER_UNTIL: Array<u64, 1> = Array::new();

#[btf_map]
pub(crate) static SWITCHES: Array<u32, { SWITCH_COUNT as usize }> = Array::new();
#[btf_map]
pub(crate) static JUDGED: ArrayOfMaps<LruHashMap<[u8; ID_LEN], u32, { MAX_JUDGED as usize }>, 1> =
    ArrayOfMaps::new();

/// Adds to a counter in a map value, atomically (BPF has no `AtomicU64` here).
///
/// # Safety
/// `counter` points to 8 aligned bytes of a live map value.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, n: u64) {
    // SAFETY: the caller's promise; the instruction touches just these 8 bytes.
    unsafe {
        core::arch::asm!("lock *(u64 *)({p} + 0) += {n}", p = in(reg) counter, n = in(reg) n);
    }
}
