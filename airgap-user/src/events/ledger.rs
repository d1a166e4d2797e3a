//! Which attempts a follower has told, so that its events add up to the
//! kernel's counters exactly.
//!
//! The kernel sends a record for the first of the attempts that are alike and
//! only counts the rest. The ledger compares the counts with what was told.

use std::collections::HashMap;

use airgap_common::{
    denial::Denial as Record,
    map::{Attempt, AttemptKey, Destination, SealNumber, Tally},
};

/// An attempt's first time, which tells one life of a key from the next, and
/// how many of it were told.
type Told = (u64, u64);

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// The kernel's count when following began.
    base: u64,
    told: u64,
    /// Round in which it was last told or seen.
    round: u64,
}

/// What was told, by attempt, destination and seal.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    attempts: HashMap<AttemptKey, Told>,
    destinations: HashMap<Destination, Account>,
    seals: HashMap<SealNumber, Account>,
    round: u64,
    /// The attempts of the look that is under way.
    next: HashMap<AttemptKey, Told>,
}

impl Ledger {
    /// Takes the kernel's counts for told. In this order: attempts,
    /// destinations, totals.
    pub(super) fn base_attempt(&mut self, key: &AttemptKey, attempt: &Attempt) {
        self.attempts
            .insert(*key, (attempt.record.time, attempt.count));
    }

    pub(super) fn base_destination(&mut self, key: &Destination, tally: &Tally) {
        self.destinations.insert(
            *key,
            Account {
                base: tally.count,
                ..Account::default()
            },
        );
    }

    pub(super) fn base_total(&mut self, seal: SealNumber, total: u64) {
        self.seals.insert(
            seal,
            Account {
                base: total,
                ..Account::default()
            },
        );
    }

    /// A record from the ring: whether it is still to be told.
    pub(super) fn record(&mut self, key: &AttemptKey, time: u64) -> bool {
        if self.attempts.get(key).is_some_and(|told| told.0 == time) {
            return false;
        }
        self.attempts.insert(*key, (time, 1));
        self.tell(&destination(key), 1);
        true
    }

    /// Begins a look at the kernel's counts.
    pub(super) fn begin(&mut self) {
        self.round += 1;
        self.next.clear();
    }

    /// An attempt of the look: how many are to be told.
    pub(super) fn attempt(&mut self, key: &AttemptKey, attempt: &Attempt) -> u64 {
        let first = attempt.record.time;
        let told = match self.attempts.get(key) {
            Some((time, told)) if *time == first => *told,
            _ => 0,
        };
        let count = attempt.count.max(told);
        self.next.insert(*key, (first, count));
        self.tell(&destination(key), count - told);
        count - told
    }

    /// After the attempts of the look: keeps only what the kernel still has.
    pub(super) fn attempts_done(&mut self) {
        std::mem::swap(&mut self.attempts, &mut self.next);
        self.next.clear();
    }

    /// A destination, read before the attempts: how many were made by nobody
    /// that is known.
    pub(super) fn destination(&mut self, key: &Destination, tally: &Tally) -> u64 {
        let account = self.destinations.entry(*key).or_default();
        account.round = self.round;
        let missing = (tally.count - account.base.min(tally.count)).saturating_sub(account.told);
        account.told += missing;
        self.seals.entry(key.seal).or_default().told += missing;
        missing
    }

    /// A seal's total, read before all else: how many went nowhere that is known.
    pub(super) fn total(&mut self, seal: SealNumber, total: u64) -> u64 {
        let account = self.seals.entry(seal).or_default();
        account.round = self.round;
        let missing = (total - account.base.min(total)).saturating_sub(account.told);
        account.told += missing;
        missing
    }

    /// Ends a look. What neither the kernel nor the last round knows is gone.
    pub(super) fn end(&mut self) {
        let last = self.round.saturating_sub(1);
        self.destinations
            .retain(|_, account| account.round >= last || account.base > 0);
    }

    fn tell(&mut self, destination: &Destination, count: u64) {
        let account = self.destinations.entry(*destination).or_default();
        account.told += count;
        account.round = self.round;
        self.seals.entry(destination.seal).or_default().told += count;
    }
}

/// The key under which the kernel counts a record.
pub(super) fn key_of(record: &Record, name: u64) -> AttemptKey {
    AttemptKey {
        seal: record.seal,
        name,
        dst: record.dst,
        tgid: record.tgid,
        ifindex: record.ifindex,
        dport: record.dport,
        family: record.family,
        socket_type: record.socket_type,
        protocol: record.protocol,
        reason: record.reason,
        hook: record.hook,
        _pad: [0; 7],
    }
}

/// The destination of an attempt.
pub(super) fn destination(key: &AttemptKey) -> Destination {
    Destination {
        seal: key.seal,
        addr: key.dst,
        port: key.dport,
        protocol: key.protocol,
        reason: key.reason,
        hook: key.hook,
        _pad: [0; 3],
    }
}
