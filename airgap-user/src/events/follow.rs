//! Following the refused attempts: the first of each kind at once from the
//! ring, the rest as counts, about once a second.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use airgap_common::{
    denial::Denial as Record,
    map::{Attempt, AttemptKey, Follower as Slot, SealNumber},
};
use anyhow::Result;

use super::{
    Denial, Event, Lost, Origins,
    decode::{self, decode, suppressed},
    ledger::{Ledger, key_of},
    past::Past,
};
use crate::{
    gate::{Attempts, Gate, Lock, rings::Ring},
    host::clock,
};

/// How long the first of the attempts that are alike waits at most.
pub const POLL: Duration = Duration::from_millis(20);
/// How long the others wait at most.
const LOOK: Duration = Duration::from_secs(1);

/// Reads attempts as they come.
pub struct Follower {
    ring: Ring,
    attempts: Attempts,
    ledger: Ledger,
    origins: Origins,
    boot: SystemTime,
    /// Empty: all.
    seals: Vec<SealNumber>,
    look: Duration,
    looked: Instant,
    /// Sum of the totals at the last look.
    total: u64,
    waiting: Vec<Event>,
}

impl Follower {
    /// Starts to follow these seals, or with none all of the host.
    ///
    /// # Errors
    /// If there is no free slot, or a map cannot be read.
    pub fn start(gate: &mut Gate, seals: &[SealNumber]) -> Result<Self> {
        Self::with(gate, seals, None)
    }

    /// As [`Self::start`], and first tells what the kernel remembers of the
    /// time from `since` on, in order.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_since(gate: &mut Gate, seals: &[SealNumber], since: SystemTime) -> Result<Self> {
        Self::with(gate, seals, Some(since))
    }

    fn with(gate: &mut Gate, seals: &[SealNumber], since: Option<SystemTime>) -> Result<Self> {
        let attempts = gate.attempts()?;
        let boot = boot();
        // What comes from here on is new: first the counts, then the ring.
        let (ledger, past, total) = base(&attempts, seals, boot, since)?;
        let lock = Lock::take()?;
        Ok(Self {
            ring: gate.follow(Slot::DENIALS, &lock)?,
            attempts,
            ledger,
            origins: Origins::default(),
            boot,
            seals: seals.to_vec(),
            look: LOOK,
            looked: Instant::now(),
            total,
            waiting: past,
        })
    }

    /// Looks for repetitions more often.
    #[must_use]
    pub fn looking_every(mut self, look: Duration) -> Self {
        self.look = look;
        self
    }

    /// What has come since the last call, in order.
    ///
    /// # Errors
    /// If the kernel's maps are gone.
    pub fn poll(&mut self) -> Result<Vec<Event>> {
        let mut events = std::mem::take(&mut self.waiting);
        self.drain(&mut events);
        if self.looked.elapsed() >= self.look {
            self.looked = Instant::now();
            self.look(&mut events)?;
        }
        Ok(events)
    }

    fn drain(&mut self, events: &mut Vec<Event>) {
        let (ledger, origins, boot, seals) =
            (&mut self.ledger, &mut self.origins, self.boot, &self.seals);
        let attempts = &self.attempts;
        let mut malformed = 0;
        // What does not fit into the ring is found by the next look.
        self.ring.drain(|bytes| {
            let (record, denial) = match (decode::record(bytes), decode(bytes, boot)) {
                (Some(record), Ok(denial)) => (record, denial),
                (_, denial) => {
                    log::warn!("cannot read a denial: {:?}", denial.err());
                    malformed += 1;
                    return;
                }
            };
            if !is_followed(seals, record.seal)
                || !ledger.record(&key_of(&record, record.name), record.time)
            {
                return;
            }
            events.push(Event::Denial(Box::new(completed(
                denial, origins, attempts,
            ))));
        });
        if malformed > 0 {
            events.push(Event::Lost(Lost {
                time: SystemTime::now(),
                count: malformed,
                seal: None,
            }));
        }
    }

    /// Compares the kernel's counts with what was told. Totals first, then
    /// destinations, then attempts: each kind may only be behind the next.
    fn look(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let totals = self.attempts.totals(&self.seals)?;
        let total: u64 = totals.iter().map(|(_, total)| total).sum();
        if total == self.total {
            return Ok(());
        }
        self.total = total;
        let mut destinations = Vec::new();
        self.attempts.each_destination(|key, tally| {
            if is_followed(&self.seals, key.seal) {
                destinations.push((*key, *tally));
            }
        })?;
        self.drain(events);
        self.ledger.begin();
        let mut again = Vec::new();
        let (ledger, boot) = (&mut self.ledger, self.boot);
        self.attempts.each_attempt(|key, attempt| {
            if !is_followed(&self.seals, key.seal) || !is_whole(key, attempt) {
                return;
            }
            let count = ledger.attempt(key, attempt);
            if count > 0
                && let Ok(denial) = decode(decode::bytes(&attempt.record), boot)
            {
                again.push(Denial {
                    time: boot + Duration::from_nanos(attempt.last),
                    count,
                    ..denial
                });
            }
        })?;
        self.ledger.attempts_done();
        again.sort_by_key(|denial| denial.time);
        events.extend(again.into_iter().map(|denial| {
            Event::Denial(Box::new(completed(
                denial,
                &mut self.origins,
                &self.attempts,
            )))
        }));
        for (key, tally) in &destinations {
            let count = self.ledger.destination(key, tally);
            if count > 0 {
                events.push(Event::Suppressed(suppressed(key, tally, count, boot)));
            }
        }
        for (seal, total) in totals {
            let count = self.ledger.total(seal, total);
            if count > 0 {
                events.push(Event::Lost(Lost {
                    time: SystemTime::now(),
                    count,
                    seal: Some(seal),
                }));
            }
        }
        self.ledger.end();
        Ok(())
    }
}

/// When `CLOCK_BOOTTIME` was zero.
pub(super) fn boot() -> SystemTime {
    SystemTime::now() - clock::since_boot()
}

/// What the kernel remembers of refused attempts from `since` on, in order.
///
/// # Errors
/// If its maps cannot be read.
pub fn past(gate: &Gate, seals: &[SealNumber], since: SystemTime) -> Result<Vec<Event>> {
    let attempts = gate.attempts()?;
    let mut past = Past::new(since, boot());
    // Totals first, attempts last: what is refused meanwhile is then in the
    // later ones, and nothing is taken for lost that only came between.
    let totals = attempts.totals(seals)?;
    let mut destinations = Vec::new();
    attempts.each_destination(|key, tally| {
        if is_followed(seals, key.seal) {
            destinations.push((*key, *tally));
        }
    })?;
    attempts.each_attempt(|key, attempt| {
        if is_followed(seals, key.seal) && is_whole(key, attempt) {
            past.attempt(key, attempt);
        }
    })?;
    for (key, tally) in &destinations {
        past.destination(key, tally);
    }
    for (seal, total) in totals {
        past.total(seal, total);
    }
    let events = past.events().into_iter();
    Ok(events.map(|event| event.known_by(gate)).collect())
}

/// Reads the kernel's counts as they are now, attempts first.
fn base(
    attempts: &Attempts,
    seals: &[SealNumber],
    boot: SystemTime,
    since: Option<SystemTime>,
) -> Result<(Ledger, Vec<Event>, u64)> {
    let mut ledger = Ledger::default();
    let mut past = since.map(|since| Past::new(since, boot));
    attempts.each_attempt(|key, attempt| {
        if is_followed(seals, key.seal) && is_whole(key, attempt) {
            ledger.base_attempt(key, attempt);
            if let Some(past) = &mut past {
                past.attempt(key, attempt);
            }
        }
    })?;
    attempts.each_destination(|key, tally| {
        if is_followed(seals, key.seal) {
            ledger.base_destination(key, tally);
            if let Some(past) = &mut past {
                past.destination(key, tally);
            }
        }
    })?;
    let totals = attempts.totals(seals)?;
    for (seal, total) in &totals {
        ledger.base_total(*seal, *total);
        if let Some(past) = &mut past {
            past.total(*seal, *total);
        }
    }
    let total = totals.iter().map(|(_, total)| total).sum();
    Ok((ledger, past.map_or_else(Vec::new, Past::events), total))
}

fn is_followed(seals: &[SealNumber], seal: SealNumber) -> bool {
    seals.is_empty() || seals.contains(&seal)
}

/// Whether the record is filled, and nobody else's: under many new attempts
/// the kernel gives an element away while another processor still writes it.
fn is_whole(key: &AttemptKey, attempt: &Attempt) -> bool {
    let Record { abi, name, .. } = attempt.record;
    abi != 0 && key_of(&attempt.record, name) == *key
}

fn completed(mut denial: Denial, origins: &mut Origins, attempts: &Attempts) -> Denial {
    if let Some(process) = &mut denial.process {
        origins.complete_by(process, attempts);
    }
    denial
}

/// Address, port, and how many attempts were refused.
pub type Refused = (String, u16, u64);

/// Refused attempts by seal and destination, most first.
///
/// # Errors
/// If the kernel's maps cannot be read.
pub fn destinations(gate: &Gate) -> Result<HashMap<SealNumber, Vec<Refused>>> {
    let mut sums: HashMap<(SealNumber, String, u16), u64> = HashMap::new();
    gate.attempts()?.each_destination(|key, tally| {
        let Some(ip) = decode::address(key.addr) else {
            return;
        };
        let port = decode::asked_port(ip, key.port);
        *sums.entry((key.seal, ip.to_string(), port)).or_default() += tally.count;
    })?;
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for ((seal, ip, port), count) in sums {
        found.entry(seal).or_default().push((ip, port, count));
    }
    for list in found.values_mut() {
        list.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.cmp(b)));
    }
    Ok(found)
}
