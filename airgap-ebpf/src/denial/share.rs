//! Who may have how much of the tables: budgets of a seal, shared fairly among its
//! processes. One process's noise uses up its own share; what others do stays
//! told. None of this is exact under races: a lost one admits one more.

use airgap_common::map::{
    ATTEMPTS_BURST, BURSTS_PER_SECOND, Counters, DESTINATIONS_PER_SEAL, DESTINATIONS_PER_SHARE,
    FRESH_PER_SECOND, SHARE_BURST, SHARE_PER_SECOND, SHARE_RESERVED, SHARE_SECONDS, Share, Spent,
    admit,
};

use super::order;
use crate::maps::SHARES;

const SECOND: u64 = 1_000_000_000;
const BPF_NOEXIST: u64 = 1;

/// In read-only data, so that no program needs the room on its stack.
static NOTHING: Spent = Spent::ZERO;

/// Where a new attempt has room.
pub(super) const NOWHERE: u32 = 0;
/// In `ATTEMPTS`.
pub(super) const KEPT: u32 = 1;
/// In `BURSTS`.
pub(super) const PASSING: u32 = 2;

/// What a process has spent so far; null if there is no memory for it.
#[inline(always)]
pub(super) fn spent(share: &Share) -> *mut Spent {
    if let Some(spent) = SHARES.get_ptr_mut(share) {
        return spent;
    }
    if SHARES.insert(share, &NOTHING, BPF_NOEXIST).is_ok() {
        order::share(share);
    }
    SHARES.get_ptr_mut(share).unwrap_or(core::ptr::null_mut())
}

/// Finds room for a new attempt, and takes it. Not inlined: the ways through it
/// are of no concern to what follows.
#[inline(never)]
pub(super) fn room(counters: *mut Counters, spent: *mut Spent, now: u64) -> u32 {
    if counters.is_null() || spent.is_null() {
        return NOWHERE;
    }
    // SAFETY: live map values.
    unsafe {
        let (seal, own) = (&mut *counters, &mut *spent);
        if own.reserved < SHARE_RESERVED && take(&mut seal.reserve_due, now, SECOND, ATTEMPTS_BURST)
        {
            own.reserved += 1;
            return KEPT;
        }
        if take_both(
            (&mut own.attempts_due, SHARE_SECONDS * SECOND, SHARE_BURST),
            (&mut seal.attempts_due, SECOND, ATTEMPTS_BURST),
            now,
        ) {
            return KEPT;
        }
        let per = |n: u64| SECOND / n;
        if take_both(
            (&mut own.bursts_due, per(SHARE_PER_SECOND), SHARE_PER_SECOND),
            (
                &mut seal.bursts_due,
                per(BURSTS_PER_SECOND),
                BURSTS_PER_SECOND,
            ),
            now,
        ) {
            return PASSING;
        }
        // The first that it makes in a second.
        if take_both(
            (&mut own.fresh_due, SECOND, 1),
            (&mut seal.fresh_due, per(FRESH_PER_SECOND), FRESH_PER_SECOND),
            now,
        ) {
            return PASSING;
        }
    }
    NOWHERE
}

/// Whether a new destination is counted by itself. Not inlined, as [`room`].
#[inline(never)]
pub(super) fn counts(counters: *mut Counters, spent: *mut Spent, now: u64) -> u32 {
    if counters.is_null() || spent.is_null() {
        return 0;
    }
    // SAFETY: live map values.
    unsafe {
        let (seal, own) = (&mut *counters, &mut *spent);
        if own.destinations < SHARE_RESERVED
            && take(
                &mut seal.destination_reserve_due,
                now,
                SECOND,
                ATTEMPTS_BURST,
            )
        {
            own.destinations += 1;
            return 1;
        }
        u32::from(take_both(
            (
                &mut own.destinations_due,
                SHARE_SECONDS * SECOND,
                DESTINATIONS_PER_SHARE,
            ),
            (&mut seal.destinations_due, SECOND, DESTINATIONS_PER_SEAL),
            now,
        ))
    }
}

#[inline(always)]
fn take(due: &mut u64, now: u64, interval: u64, burst: u64) -> bool {
    match admit(*due, now, interval, burst) {
        Some(next) => {
            *due = next;
            true
        }
        None => false,
    }
}

/// Takes one out of both buckets (what is due, interval, burst), or out of none.
#[inline(always)]
fn take_both(own: (&mut u64, u64, u64), seal: (&mut u64, u64, u64), now: u64) -> bool {
    let Some(next) = admit(*own.0, now, own.1, own.2) else {
        return false;
    };
    if !take(seal.0, now, seal.1, seal.2) {
        return false;
    }
    *own.0 = next;
    true
}
