//! Reports of the multicast groups that the container's own kernel is in for IPv6's sake: a
//! bridge that snoops brings it no question otherwise, and it is found by nobody (RFC 4861 §7.2,
//! RFC 4541 §3). Not inlined: the ways through it are of no concern to the verdict.

use airgap_common::packet::ETHERNET;
use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};

use crate::{maps::OWN, verifier::forgotten};

/// Records of one report that are read; one with more of them is dropped.
const RECORDS: u32 = 8;
/// Bytes of a record without sources (RFC 3810 §5.2).
const RECORD: u32 = 20;
/// Version 6, no traffic class, no flow label.
const FIRST: u32 = u32::from_ne_bytes([0x60, 0, 0, 0]);
/// ICMPv6 follows; router alert for MLD; two bytes of padding (net/ipv6/mcast.c).
const OPTIONS: [u32; 2] = [
    u32::from_ne_bytes([58, 0, 5, 2]),
    u32::from_ne_bytes([0, 0, 1, 0]),
];
/// MLDv2's report, MLDv1's.
const REPORT2: u8 = 143;
const REPORT1: u8 = 131;
/// A solicited-node group, but for its last word (RFC 4291 §2.7.1); where reports go to.
const NODES: [u32; 3] = [u32::from_ne_bytes([0xff, 2, 0, 0]), 0, 1_u32.to_be()];
const ROUTERS: [u32; 4] = [NODES[0], 0, 0, 0x16_u32.to_be()];

/// What is not there; no word is as large.
const NOTHING: u64 = u64::MAX;

/// 1 if this packet is a report as the kernel makes it, and every group in it is the
/// solicited-node group of an address that the interface has. `base`: where its IP header is.
///
/// Before a frame is on the host's side, which addresses those are is not known: there any
/// such group will do.
#[inline(never)]
pub(crate) fn are_own(skb: *mut __sk_buff, base: u32) -> u32 {
    // SAFETY: the context is a __sk_buff.
    let len = unsafe { (*skb).len };
    let is = |at: u32, value: u32| word(skb, base + at) == u64::from(value);
    // The hop limit is one, what follows are options.
    let limit = word(skb, base + 4) & u64::from(u32::from_ne_bytes([0, 0, 0xff, 0xff]));
    let limited = limit == u64::from(u32::from_ne_bytes([0, 0, 0, 1]));
    if !is(0, FIRST) || !limited || !is(40, OPTIONS[0]) || !is(44, OPTIONS[1]) {
        return 0;
    }
    let [kind, code, ..] = (word(skb, base + 48) as u32).to_ne_bytes();
    let count = word(skb, base + 52);
    if code != 0 || count == NOTHING {
        return 0;
    }
    if kind == REPORT1 {
        // To the group itself; no maximum delay.
        let to_group = |i: u32| word(skb, base + 24 + 4 * i) == word(skb, base + 56 + 4 * i);
        let whole = len == base + 56 + 16 && count == 0;
        let sent = to_group(0) && to_group(1) && to_group(2) && to_group(3);
        return u32::from(whole && sent && is_own(skb, base, 56));
    }
    let count = u32::from_be(count as u32);
    let to_routers =
        is(24, ROUTERS[0]) && is(28, ROUTERS[1]) && is(32, ROUTERS[2]) && is(36, ROUTERS[3]);
    if kind != REPORT2 || !to_routers || count == 0 || count > RECORDS {
        return 0;
    }
    if len != base + 56 + RECORD * count {
        return 0;
    }
    let mut i = 0;
    while i < RECORDS {
        if i < count {
            let at = forgotten((56 + RECORD * i).into(), 256, len) as u32;
            let record = word(skb, base + at);
            // Excluding nobody, by a query or by a change, or no longer; no auxiliary data, no
            // sources.
            let [kind, rest @ ..] = (record as u32).to_ne_bytes();
            let sound = (2..=4).contains(&kind) && rest == [0; 3];
            if record == NOTHING || !sound || !is_own(skb, base, at + 4) {
                return 0;
            }
        }
        i += 1;
    }
    1
}

/// Whether the group at `at` is an own solicited-node group.
#[inline(always)]
fn is_own(skb: *mut __sk_buff, base: u32, at: u32) -> bool {
    let is = |i: u32| word(skb, base + at + 4 * i) == u64::from(NODES[i as usize]);
    if !is(0) || !is(1) || !is(2) {
        return false;
    }
    let last = word(skb, base + at + 12);
    if last == NOTHING || (last as u32).to_ne_bytes()[0] != 0xff {
        return false;
    }
    if base != ETHERNET {
        return true;
    }
    // SAFETY: the context is a __sk_buff; the reference is used at once.
    match unsafe { OWN.get((*skb).ifindex) } {
        Some(own) => own.has_group(last as u32),
        None => false,
    }
}

/// Four bytes as they lie in the packet, or [`NOTHING`]. No `Option`: where two of those are
/// compared a register is read that nobody wrote, which Linux 6.1 refuses.
#[inline(always)]
fn word(skb: *mut __sk_buff, at: u32) -> u64 {
    let mut word = 0_u32;
    // SAFETY: the buffer is as long as said.
    let error = unsafe { bpf_skb_load_bytes(skb.cast(), at, (&raw mut word).cast(), 4) };
    if error == 0 { word.into() } else { NOTHING }
}
