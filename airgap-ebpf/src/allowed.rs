//! Tells followers what exceptions let out: each connection, and each far side of datagrams
//! once a minute. Nothing here can change a verdict; what is used is counted by its packets
//! ([`crate::exits`]).

use airgap_common::{
    ABI_VERSION,
    addr::Addr,
    allowed::{Allowed, TOLD_LIFE},
    denial::Hook,
    map::{Flow, Follower, MAX_FOLLOWERS, SealNumber},
    packet::TCP,
};
use aya_ebpf::helpers::generated::bpf_ringbuf_output;

use crate::{
    exits::{has_sent, now, remember},
    maps::{FOLLOWERS, RINGS, add},
    task,
};

/// As for denials: followers poll on a timer.
const BPF_RB_NO_WAKEUP: u64 = 1;

/// Hook, protocol and port in one number: a function of the kernel side has five arguments.
#[inline(always)]
pub(crate) fn how(hook: Hook, protocol: u8, port: u16) -> u64 {
    (hook as u64) << 32 | u64::from(protocol) << 16 | u64::from(port)
}

/// Tells those who follow of what an exception of this number lets out. By itself, as the
/// record needs room on the stack.
#[inline(never)]
pub(crate) fn tell(seal: SealNumber, dst: &Addr, how: u64, exit: u32) {
    let mut slot = 0;
    while slot < MAX_FOLLOWERS {
        if is_followed(slot) {
            break;
        }
        slot += 1;
    }
    let (protocol, port) = ((how >> 16) as u8, how as u16);
    if slot == MAX_FOLLOWERS || protocol != TCP && !is_new(seal, dst, protocol, port) {
        return;
    }
    let mut record = Allowed {
        abi: ABI_VERSION as u16,
        size: size_of::<Allowed>() as u16,
        hook: (how >> 32) as u8,
        protocol,
        dport: port,
        time: now(),
        seal,
        dst: *dst,
        exit,
        ..Allowed::EMPTY
    };
    let to = &raw mut record;
    // SAFETY: the record is there, all of it written.
    unsafe { task::write!(to) };
    while slot < MAX_FOLLOWERS {
        if is_followed(slot) {
            send(slot, &record);
        }
        slot += 1;
    }
}

#[inline(always)]
fn is_followed(slot: u32) -> bool {
    FOLLOWERS
        .get_ptr(slot)
        // SAFETY: a live array element.
        .is_some_and(|follower| unsafe { (*follower).live } == Follower::ALLOWED)
}

/// Whether a far side of datagrams was not told lately. Kept beside the flows that send, as
/// one from nowhere, which no packet has.
#[inline(always)]
fn is_new(seal: SealNumber, dst: &Addr, protocol: u8, port: u16) -> bool {
    let flow = Flow {
        seal,
        peer: *dst,
        own: Addr([0; 4]),
        peer_port: port,
        own_port: 0,
        protocol: protocol.into(),
    };
    if has_sent(&flow, TOLD_LIFE) != 0 {
        return false;
    }
    remember(&flow, now());
    true
}

#[inline(always)]
fn send(slot: u32, record: &Allowed) {
    let Some(ring) = RINGS.get(slot) else {
        return;
    };
    let ring = core::ptr::from_ref(ring).cast_mut().cast();
    let record = core::ptr::from_ref(record).cast_mut().cast();
    // SAFETY: a ring in its slot, and a record of this size.
    let sent =
        unsafe { bpf_ringbuf_output(ring, record, size_of::<Allowed>() as u64, BPF_RB_NO_WAKEUP) };
    if sent != 0
        && let Some(follower) = FOLLOWERS.get_ptr_mut(slot)
    {
        // SAFETY: a live array element.
        unsafe { add(&raw mut (*follower).lost, 1) };
    }
}
