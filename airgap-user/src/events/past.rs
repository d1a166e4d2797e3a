//! What happened while nobody watched, from the kernel's counts.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use airgap_common::map::{Attempt, AttemptKey, Destination, SealNumber, Tally};

use super::{
    Denial, Event, Lost,
    decode::{self, decode, suppressed},
    ledger::destination,
};

/// Collects it; fed with attempts first, then destinations, then totals.
pub(super) struct Past {
    since: SystemTime,
    boot: SystemTime,
    events: Vec<(SystemTime, Event)>,
    /// Attempts whose maker is known, by destination.
    known: HashMap<Destination, u64>,
    /// Attempts that were told of, by seal.
    told: HashMap<SealNumber, u64>,
}

impl Past {
    pub(super) fn new(since: SystemTime, boot: SystemTime) -> Self {
        Self {
            since,
            boot,
            events: Vec::new(),
            known: HashMap::new(),
            told: HashMap::new(),
        }
    }

    pub(super) fn attempt(&mut self, key: &AttemptKey, attempt: &Attempt) {
        *self.known.entry(destination(key)).or_default() += attempt.count;
        *self.told.entry(key.seal).or_default() += attempt.count;
        let time = self.boot + Duration::from_nanos(attempt.last);
        if time >= self.since
            && let Ok(denial) = decode(decode::bytes(&attempt.record), self.boot)
        {
            let denial = Denial {
                time,
                count: attempt.count,
                ..denial
            };
            self.events.push((time, Event::Denial(Box::new(denial))));
        }
    }

    pub(super) fn destination(&mut self, key: &Destination, tally: &Tally) {
        let known = self.known.get(key).copied().unwrap_or(0);
        let count = tally.count.saturating_sub(known);
        *self.told.entry(key.seal).or_default() += count;
        let time = self.boot + Duration::from_nanos(tally.last);
        if count > 0 && time >= self.since {
            let event = suppressed(key, tally, count, self.boot);
            self.events.push((time, Event::Suppressed(event)));
        }
    }

    pub(super) fn total(&mut self, seal: SealNumber, total: u64) {
        let told = self.told.get(&seal).copied().unwrap_or(0);
        let count = total.saturating_sub(told);
        if count > 0 {
            // The kernel does not know when.
            let time = SystemTime::now();
            let lost = Lost {
                time,
                count,
                seal: Some(seal),
            };
            self.events.push((time, Event::Lost(lost)));
        }
    }

    pub(super) fn events(mut self) -> Vec<Event> {
        self.events.sort_by_key(|(time, _)| *time);
        self.events.into_iter().map(|(_, event)| event).collect()
    }
}
