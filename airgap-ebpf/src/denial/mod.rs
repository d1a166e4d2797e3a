//! Bookkeeping of a denial: exact counters by reason and destination, one
//! record for attempts that are alike, and a copy of it to every follower.
//!
//! Nothing here can change a verdict: what does not fit is counted as such.

mod name;
mod order;
mod program;
mod share;

pub(crate) use name::{Question, UnixAddress};

use airgap_common::{
    ABI_VERSION,
    addr::Addr,
    denial::{Attribution, Denial, Hook, Reason},
    map::{
        Attempt, AttemptKey, Counters, Destination, Follower, MAX_FOLLOWERS, Mark, REASONS,
        SealNumber, Share, Spent, Tally, kind_of,
    },
};
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, helpers::generated::bpf_ktime_get_boot_ns};

use self::name::Name;
use crate::{
    counted::is_counted,
    maps::{ATTEMPTS, BURSTS, COUNTERS, DESTINATIONS, FOLLOWERS, RINGS, add},
    subject::Subject,
    task,
    verifier::{forgotten, index},
};

/// Followers poll on a timer: waking them costs the refused task far more than
/// the record does.
const BPF_RB_NO_WAKEUP: u64 = 1;
const BPF_NOEXIST: u64 = 1;

/// In read-only data, so that no program needs the room on its stack.
static EMPTY: Attempt = Attempt::EMPTY;

/// What a program knows of the attempt it refuses.
#[derive(Clone, Copy)]
pub(crate) struct Details {
    pub(crate) hook: Hook,
    /// Number of a [`Reason`]; in 64 bits, as that is what the verifier can follow.
    pub(crate) reason: u64,
    pub(crate) who: Who,
    pub(crate) protocol: u8,
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    pub(crate) family: u16,
    pub(crate) kind: u16,
    pub(crate) ifindex: u32,
}

/// Whose attempt it is.
#[derive(Clone, Copy)]
pub(crate) enum Who {
    /// The task that runs now.
    Task,
    /// Whoever used the socket last; null: not known.
    Socket(*const Mark),
}

/// Counts and reports one refused attempt.
#[inline(always)]
pub(crate) fn deny(subject: &Subject, details: &Details) {
    report(subject, details, &Name::None);
}

/// As [`deny`], with the DNS question that a packet may carry.
#[inline(always)]
pub(crate) fn deny_question(subject: &Subject, details: &Details, question: &Question) {
    report(subject, details, &Name::Question(question));
}

/// As [`deny`], with a unix socket as destination.
#[inline(always)]
pub(crate) fn deny_peer(subject: &Subject, details: &Details, peer: &UnixAddress) {
    report(subject, details, &Name::Unix(peer));
}

/// Counts what came from outside; nothing of the container is to be told.
#[inline(always)]
pub(crate) fn count_silent(seal: SealNumber, reason: Reason) {
    if let Some(counters) = COUNTERS.get_ptr_mut(seal) {
        count(counters, reason as u64);
    }
}

#[inline(always)]
fn count(counters: *mut Counters, reason: u64) {
    // SAFETY: a live map value, and an index below the array's length.
    unsafe {
        let counter = (&raw mut (*counters).by_reason).cast::<u64>();
        add(counter.add(index::<REASONS>(reason)), 1);
    }
}

/// In this order, attempt, destination, total: a reader that goes the other
/// way finds at least what it expects.
#[inline(always)]
fn report(subject: &Subject, details: &Details, name: &Name<'_>) {
    let Some(counters) = COUNTERS.get_ptr_mut(subject.seal) else {
        return;
    };
    // What is no packet is a thread's, which asks for one thing at a time.
    let object = match name {
        Name::Question(question) => question.skb as u64,
        Name::None | Name::Unix(_) => bpf_get_current_pid_tgid(),
    };
    if is_counted(object, subject.cgroup, details.hook as u64) {
        return;
    }
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let details = &Details {
        reason: forgotten(details.reason, 32, now as u32),
        ..*details
    };
    const SILENT: [Reason; 3] = Reason::SILENT;
    if details.reason == SILENT[0] as u64
        || details.reason == SILENT[1] as u64
        || details.reason == SILENT[2] as u64
    {
        return count(counters, details.reason);
    }
    if !attempt(subject, details, counters, name, now) {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*counters).suppressed, 1) };
    }
    if !destination(subject, details, counters, now) {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*counters).other, 1) };
    }
    count(counters, details.reason);
}

/// Counts the attempt under its key; false if there is no room for a new one.
#[inline(always)]
fn attempt(
    subject: &Subject,
    details: &Details,
    counters: *mut Counters,
    name: &Name<'_>,
    now: u64,
) -> bool {
    let key = AttemptKey {
        seal: subject.seal,
        name: name.hash(),
        dst: details.dst,
        tgid: match details.who {
            Who::Task => (bpf_get_current_pid_tgid() >> 32) as u32,
            Who::Socket(mark) if mark.is_null() => 0,
            // SAFETY: not null, so it points to a live mark.
            Who::Socket(mark) => unsafe { (*mark).tgid },
        },
        ifindex: details.ifindex,
        dport: details.dport,
        family: details.family,
        socket_type: details.kind,
        protocol: details.protocol,
        reason: details.reason as u8,
        hook: details.hook as u8,
        _pad: [0; 7],
    };
    let known = match ATTEMPTS.get_ptr_mut(&key) {
        None => BURSTS.get_ptr_mut(&key),
        known => known,
    };
    if let Some(known) = known {
        again(known, now);
        return true;
    }
    let spent = share::spent(&share_of(subject.seal, details));
    let entry = match share::room(counters, spent, now) {
        share::KEPT => {
            if ATTEMPTS.insert(&key, &EMPTY, BPF_NOEXIST).is_ok() {
                order::attempt(&key, now);
            }
            ATTEMPTS.get_ptr_mut(&key)
        }
        share::PASSING => {
            if BURSTS.insert(&key, &EMPTY, BPF_NOEXIST).is_ok() {
                order::burst(&key);
            }
            BURSTS.get_ptr_mut(&key)
        }
        _ => None,
    };
    let Some(entry) = entry else {
        return false;
    };
    // SAFETY: a live map value.
    if unsafe { (*entry).record.size } != 0 {
        // Another processor was faster.
        again(entry, now);
        return true;
    }
    fill(entry, subject, details, name, &key, now);
    let mut slot = 0;
    while slot < MAX_FOLLOWERS {
        tell(slot, entry);
        slot += 1;
    }
    true
}

/// Whose share it comes out of.
#[inline(always)]
fn share_of(seal: SealNumber, details: &Details) -> Share {
    let (tgid, start) = match details.who {
        Who::Task => {
            let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
            (tgid, task::start(task::process()))
        }
        Who::Socket(mark) if mark.is_null() => (0, 0),
        // SAFETY: not null, so it points to a live mark.
        Who::Socket(mark) => unsafe { ((*mark).tgid, (*mark).start) },
    };
    Share {
        seal,
        start,
        tgid,
        kind: kind_of(details.reason),
    }
}

#[inline(always)]
fn again(entry: *mut Attempt, now: u64) {
    // SAFETY: a live map value.
    unsafe {
        add(&raw mut (*entry).count, 1);
        (*entry).last = now;
    }
}

#[inline(always)]
fn fill(
    entry: *mut Attempt,
    subject: &Subject,
    details: &Details,
    name: &Name<'_>,
    key: &AttemptKey,
    now: u64,
) {
    // SAFETY: a live map value that only this program fills; a reader believes
    // in it once `abi` is set, and checks it against the key.
    unsafe {
        let record = &raw mut (*entry).record;
        (*record).size = size_of::<Denial>() as u16;
        (*record).hook = details.hook as u8;
        (*record).reason = key.reason;
        (*record).protocol = details.protocol;
        (*record).time = now;
        (*record).seal = subject.seal;
        (*record).cgroup = subject.cgroup;
        match details.who {
            Who::Task => {
                (*record).attribution = Attribution::Task as u8;
                task::write!(record);
            }
            Who::Socket(mark) if mark.is_null() => {}
            Who::Socket(mark) => {
                (*record).attribution = Attribution::Socket as u8;
                (*record).tgid = (*mark).tgid;
                (*record).tid = (*mark).tid;
                (*record).uid = (*mark).uid;
                (*record).gid = (*mark).gid;
                (*record).comm = (*mark).comm;
                (*record).start = (*mark).start;
                (*record).nspid = (*mark).nspid;
                (*record).ppid = (*mark).ppid;
                (*record).parent = (*mark).parent;
            }
        }
        (*record).src = details.src;
        (*record).dst = details.dst;
        (*record).sport = details.sport;
        (*record).dport = details.dport;
        (*record).family = details.family;
        (*record).socket_type = details.kind;
        (*record).ifindex = details.ifindex;
        (*record).name = key.name;
        (*record).question_len = name.copy((&raw mut (*record).question).cast());
        (*record).let_through = subject.is_audited().into();
        program::keep(record);
        (&raw mut (*record).abi).write_volatile(ABI_VERSION as u16);
        (*entry).last = now;
        add(&raw mut (*entry).count, 1);
    }
}

/// Copies the record to one follower.
#[inline(always)]
fn tell(slot: u32, entry: *const Attempt) {
    let Some(follower) = FOLLOWERS.get_ptr_mut(slot) else {
        return;
    };
    // SAFETY: a live array element.
    if unsafe { (*follower).live } != Follower::DENIALS {
        return;
    }
    let Some(ring) = RINGS.get(slot) else {
        return;
    };
    // SAFETY: a live map value.
    let record = unsafe { &(*entry).record };
    if ring.output(record, BPF_RB_NO_WAKEUP).is_err() {
        // SAFETY: a live array element.
        unsafe { add(&raw mut (*follower).lost, 1) };
    }
}

/// Counts the attempt under its destination; false if there is no room.
#[inline(always)]
fn destination(subject: &Subject, details: &Details, counters: *mut Counters, now: u64) -> bool {
    let key = Destination {
        seal: subject.seal,
        addr: details.dst,
        port: details.dport,
        protocol: details.protocol,
        reason: details.reason as u8,
        hook: details.hook as u8,
        _pad: [0; 3],
    };
    let mut tally = DESTINATIONS.get_ptr_mut(&key);
    if tally.is_none() {
        let spent: *mut Spent = share::spent(&share_of(subject.seal, details));
        if share::counts(counters, spent, now) == 0 {
            return false;
        }
        let first = Tally {
            count: 1,
            first: now,
            last: now,
        };
        if DESTINATIONS.insert(&key, &first, BPF_NOEXIST).is_ok() {
            return order::destination(&key, now) != 0;
        }
        tally = DESTINATIONS.get_ptr_mut(&key);
    }
    let Some(tally) = tally else {
        return false;
    };
    // SAFETY: a live map value.
    unsafe {
        add(&raw mut (*tally).count, 1);
        (*tally).last = now;
    }
    true
}
