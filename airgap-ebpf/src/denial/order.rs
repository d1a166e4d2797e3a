//! Which of what is remembered goes first. The kernel's own LRU maps would do it, but take
//! all their memory at once (`htab_map_alloc_check`, kernel/bpf/hashtab.c); these take it as
//! it is needed, and a queue has their keys by age. None is inlined: the ways through them
//! are of no concern to whoever asks.

use core::mem::MaybeUninit;

use airgap_common::map::{
    Arguments, Attempt, AttemptKey, Destination, Program, Share, Spent, Tally,
};
use aya_ebpf::{
    btf_maps::{HashMap, Queue},
    helpers::generated::bpf_map_pop_elem,
};

use crate::maps::{
    ATTEMPTS, ATTEMPTS_ORDER, BURSTS, BURSTS_ORDER, DESTINATIONS, DESTINATIONS_ORDER, PROGRAMS,
    PROGRAMS_ORDER, SHARES, SHARES_ORDER,
};

/// How many of the oldest are looked at for one to go.
const LOOKS: u32 = 3;
/// What is repeated, and was so within this time, is spared: nanoseconds.
const REPEATED: u64 = 3600 * 1_000_000_000;

/// Notes an attempt that was just put into `ATTEMPTS` as its newest. 0 if it was taken out
/// again: there is no room.
#[inline(never)]
pub(super) fn attempt(key: &AttemptKey, now: u64) -> u32 {
    newest(
        &ATTEMPTS,
        &ATTEMPTS_ORDER,
        key,
        |attempt: *const Attempt| {
            // SAFETY: a live map value.
            unsafe { is_repeated((*attempt).count, (*attempt).last, now) }
        },
    )
}

/// The same of `BURSTS`, where nothing stays for long.
#[inline(never)]
pub(super) fn burst(key: &AttemptKey) -> u32 {
    newest(&BURSTS, &BURSTS_ORDER, key, |_: *const Attempt| false)
}

/// The same of `DESTINATIONS`.
#[inline(never)]
pub(super) fn destination(key: &Destination, now: u64) -> u32 {
    newest(
        &DESTINATIONS,
        &DESTINATIONS_ORDER,
        key,
        // SAFETY: a live map value.
        |tally: *const Tally| unsafe { is_repeated((*tally).count, (*tally).last, now) },
    )
}

/// The same of `SHARES`.
#[inline(never)]
pub(super) fn share(key: &Share) -> u32 {
    newest(&SHARES, &SHARES_ORDER, key, |_: *const Spent| false)
}

/// The same of `PROGRAMS`.
#[inline(never)]
pub(super) fn program(key: &Program) -> u32 {
    newest(&PROGRAMS, &PROGRAMS_ORDER, key, |_: *const Arguments| false)
}

#[inline(always)]
const fn is_repeated(count: u64, last: u64, now: u64) -> bool {
    count > 1 && now.saturating_sub(last) < REPEATED
}

#[inline(always)]
fn newest<K, V, const MOST: usize, const ORDER: usize, const FLAGS: usize>(
    map: &'static HashMap<K, V, MOST, FLAGS>,
    order: &'static Queue<K, ORDER>,
    key: &K,
    is_spared: impl Fn(*const V) -> bool,
) -> u32 {
    if order.push(key, 0).is_ok() {
        return 1;
    }
    let mut oldest = MaybeUninit::<K>::uninit();
    let mut looks = 0;
    while looks < LOOKS {
        looks += 1;
        let queue = core::ptr::from_ref(order).cast_mut().cast();
        // SAFETY: a queue of keys, and room for one.
        if unsafe { bpf_map_pop_elem(queue, oldest.as_mut_ptr().cast()) } != 0 {
            break;
        }
        // SAFETY: filled just now.
        let old = unsafe { oldest.assume_init_ref() };
        if looks < LOOKS && map.get_ptr(old).is_some_and(&is_spared) {
            // Another processor may have taken the place meanwhile: then it goes after all.
            if order.push(old, 0).is_ok() {
                continue;
            }
        }
        let _ = map.remove(old);
        if order.push(key, 0).is_ok() {
            return 1;
        }
    }
    // What no queue has would stay for ever.
    let _ = map.remove(key);
    0
}
