//! Counting a denial and copying it to every follower's ring.
//!
//! Nothing here can change a verdict: full rings count a loss, that is all.

use airgap_common::{
    ABI_VERSION,
    addr::Addr,
    denial::{Attribution, Denial, Hook, QUESTION_LEN, Reason},
    map::{MAX_FOLLOWERS, Mark},
};
use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_skb_load_bytes},
};

use crate::{
    maps::{COUNTERS, FOLLOWERS, RINGS, add},
    subject::Subject,
};

/// Followers poll on a timer: waking them costs the refused task far more than
/// the record does.
const BPF_RB_NO_WAKEUP: u64 = 1;

/// What a program knows of the attempt it refuses.
pub(crate) struct Details {
    pub(crate) hook: Hook,
    pub(crate) reason: Reason,
    pub(crate) attribution: Attribution,
    pub(crate) mark: Mark,
    pub(crate) protocol: u8,
    pub(crate) src: Addr,
    pub(crate) dst: Addr,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    pub(crate) family: u16,
    pub(crate) kind: u16,
    pub(crate) ifindex: u32,
}

/// Where in a packet a DNS question starts.
pub(crate) struct Question {
    pub(crate) skb: *mut __sk_buff,
    /// Bytes from where the program's packet starts.
    pub(crate) offset: u32,
}

/// Where the kernel keeps a unix socket's `sun_path`.
pub(crate) struct UnixAddress {
    /// Kernel address; 0: the socket has no name.
    pub(crate) at: u64,
    /// Bytes.
    pub(crate) len: u32,
}

/// Counts and reports one refused attempt.
#[inline(always)]
pub(crate) fn deny(subject: &Subject, details: &Details, question: Option<Question>) {
    report_all(subject, details, |bytes| match &question {
        Some(question) => copy(question, bytes),
        None => 0,
    });
}

/// As [`deny`], with a unix socket as destination.
#[inline(always)]
pub(crate) fn deny_peer(subject: &Subject, details: &Details, peer: &UnixAddress) {
    report_all(subject, details, |bytes| copy_address(peer, bytes));
}

/// `fill` writes up to [`QUESTION_LEN`] bytes of the record and says how many.
#[inline(always)]
fn report_all(subject: &Subject, details: &Details, fill: impl Fn(*mut u8) -> u32) {
    count(subject, details.reason);
    if details.reason.is_silent() {
        return;
    }
    let mut slot = 0;
    while slot < MAX_FOLLOWERS {
        report(slot, subject, details, &fill);
        slot += 1;
    }
}

#[inline(always)]
fn count(subject: &Subject, reason: Reason) {
    if let Some(counters) = COUNTERS.get_ptr_mut(subject.seal) {
        // SAFETY: a live map value; every reason is below the array's length.
        unsafe {
            let counter = (&raw mut (*counters).by_reason).cast::<u64>();
            add(counter.add(reason as usize), 1);
        }
    }
}

#[inline(always)]
fn report(slot: u32, subject: &Subject, details: &Details, fill: &impl Fn(*mut u8) -> u32) {
    let Some(follower) = FOLLOWERS.get_ptr_mut(slot) else {
        return;
    };
    // SAFETY: a live array element.
    if unsafe { (*follower).live } != 1 {
        return;
    }
    let Some(ring) = RINGS.get(slot) else {
        return;
    };
    let Some(mut entry) = ring.reserve(0) else {
        // SAFETY: a live array element.
        unsafe { add(&raw mut (*follower).lost, 1) };
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the ring gave us room for one record and nobody reads it before
    // submit; every field but the rest of `question` is written.
    unsafe {
        (*record).abi = ABI_VERSION as u16;
        (*record).size = size_of::<Denial>() as u16;
        (*record).hook = details.hook as u8;
        (*record).reason = details.reason as u8;
        (*record).attribution = details.attribution as u8;
        (*record).protocol = details.protocol;
        (*record).time = bpf_ktime_get_boot_ns();
        (*record).seal = subject.seal;
        (*record).cgroup = subject.cgroup;
        (*record).tgid = details.mark.tgid;
        (*record).tid = details.mark.tid;
        (*record).uid = details.mark.uid;
        (*record).gid = details.mark.gid;
        (*record).comm = details.mark.comm;
        (*record).src = details.src;
        (*record).dst = details.dst;
        (*record).sport = details.sport;
        (*record).dport = details.dport;
        (*record).family = details.family;
        (*record).socket_type = details.kind;
        (*record).ifindex = details.ifindex;
        let bytes = (&raw mut (*record).question).cast::<u8>();
        // What is not asked for is left as it is: only `question_len` bytes
        // count, and clearing them all here costs old verifiers a million steps.
        (*record).question_len = fill(bytes);
    }
    entry.submit(BPF_RB_NO_WAKEUP);
}

/// Copies up to [`QUESTION_LEN`] bytes; returns how many.
#[inline(always)]
fn copy(question: &Question, to: *mut u8) -> u32 {
    // SAFETY: the context is a __sk_buff.
    let len = unsafe { (*question.skb).len };
    if len <= question.offset {
        return 0;
    }
    let mut n = len - question.offset;
    if n > QUESTION_LEN as u32 {
        n = QUESTION_LEN as u32;
    }
    // Masking shows the verifier 1..=128, which a comparison does not.
    let n = ((n - 1) & (QUESTION_LEN as u32 - 1)) + 1;
    // SAFETY: `to` has room for QUESTION_LEN bytes.
    let read = unsafe { bpf_skb_load_bytes(question.skb.cast(), question.offset, to.cast(), n) };
    if read == 0 { n } else { 0 }
}

/// Copies up to [`QUESTION_LEN`] bytes; returns how many.
#[inline(always)]
fn copy_address(peer: &UnixAddress, to: *mut u8) -> u32 {
    if peer.at == 0 || peer.len == 0 {
        return 0;
    }
    let mut n = peer.len;
    if n > QUESTION_LEN as u32 {
        n = QUESTION_LEN as u32;
    }
    // As in `copy`.
    let n = ((n - 1) & (QUESTION_LEN as u32 - 1)) + 1;
    // SAFETY: `to` has room for QUESTION_LEN bytes; any source address is taken.
    let read = unsafe { bpf_probe_read_kernel(to.cast(), n, peer.at as *const core::ffi::c_void) };
    if read == 0 { n } else { 0 }
}
