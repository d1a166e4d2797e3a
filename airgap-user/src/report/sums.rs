//! Events, summed by destination and by program.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Attempts, Counted, Destination, Program, Target};
use crate::{
    events::{Denial, Event, Process, Suppressed},
    notation::endpoint,
};

type Counts = BTreeMap<String, u64>;

/// Attempts by destination and by program.
#[derive(Default)]
pub(crate) struct Sums {
    attempts: Attempts,
    destinations: BTreeMap<Target, Place>,
    programs: BTreeMap<Maker, Made>,
}

#[derive(Default)]
struct Place {
    span: Span,
    unattributed: u64,
    reasons: Counts,
    processes: Counts,
    record_types: Counts,
    servers: Counts,
}

/// Name, user id, executable, arguments.
type Maker = (String, u32, Option<String>, Option<String>);

#[derive(Default)]
struct Made {
    span: Span,
    by_socket: u64,
    processes: BTreeSet<(u32, Option<u64>)>,
    targets: BTreeSet<Target>,
}

/// How many, from when to when.
struct Span {
    count: u64,
    first: SystemTime,
    last: SystemTime,
}

impl Default for Span {
    fn default() -> Self {
        Self {
            count: 0,
            // Far enough, and written with four digits.
            first: UNIX_EPOCH + Duration::from_secs(253_402_300_799),
            last: UNIX_EPOCH,
        }
    }
}

impl Span {
    fn add(&mut self, count: u64, first: SystemTime, last: SystemTime) {
        self.count += count;
        self.first = self.first.min(first);
        self.last = self.last.max(last);
    }
}

impl Sums {
    /// Adds an event, unless its last attempt was before `since`.
    pub(crate) fn add(&mut self, event: &Event, since: Option<SystemTime>) {
        let (count, last) = match event {
            Event::Denial(denial) => (denial.count, denial.time),
            Event::Suppressed(suppressed) => (suppressed.count, suppressed.time),
            Event::Lost(lost) => {
                self.attempts.lost += lost.count;
                self.attempts.total += lost.count;
                return;
            }
            Event::Allowed(_) | Event::Untold(_) => return,
        };
        if since.is_some_and(|since| last < since) {
            self.attempts.earlier += count;
            return;
        }
        self.attempts.total += count;
        match event {
            Event::Denial(denial) => self.denial(denial),
            Event::Suppressed(suppressed) => self.suppressed(suppressed),
            Event::Lost(_) | Event::Allowed(_) | Event::Untold(_) => {}
        }
    }

    fn denial(&mut self, denial: &Denial) {
        let target = Target::of(denial);
        let count = denial.count;
        let place = self.place(&target, count, denial.first, denial.time);
        *place.reasons.entry(denial.reason.into()).or_default() += count;
        if let Some((_, kind)) = &denial.question {
            *place.record_types.entry(kind.clone()).or_default() += count;
            if let Some(server) = denial.destination {
                let server = endpoint(server);
                *place.servers.entry(server).or_default() += count;
            }
        }
        match &denial.process {
            Some(process) => {
                *place.processes.entry(process.name.clone()).or_default() += count;
                self.made(process, denial, target);
            }
            None => {
                place.unattributed += count;
                self.attempts.unattributed += count;
            }
        }
    }

    fn made(&mut self, process: &Process, denial: &Denial, target: Target) {
        let maker = (
            process.name.clone(),
            process.uid,
            process.executable.clone(),
            process.command_line.clone(),
        );
        let made = self.programs.entry(maker).or_default();
        made.span.add(denial.count, denial.first, denial.time);
        made.by_socket += if process.by_socket { denial.count } else { 0 };
        made.processes.insert((process.pid, process.start));
        made.targets.insert(target);
    }

    fn suppressed(&mut self, suppressed: &Suppressed) {
        let Suppressed { count, .. } = *suppressed;
        let target = suppressed.destination.map_or(Target::Unknown, |at| {
            Target::address(at, suppressed.protocol)
        });
        let place = self.place(&target, count, suppressed.first, suppressed.time);
        *place.reasons.entry(suppressed.reason.into()).or_default() += count;
        place.unattributed += count;
        self.attempts.unattributed += count;
    }

    fn place(
        &mut self,
        target: &Target,
        count: u64,
        first: SystemTime,
        last: SystemTime,
    ) -> &mut Place {
        let earliest = self.attempts.first.get_or_insert(first);
        *earliest = first.min(*earliest);
        let latest = self.attempts.last.get_or_insert(last);
        *latest = last.max(*latest);
        let place = self.destinations.entry(target.clone()).or_default();
        place.span.add(count, first, last);
        place
    }

    /// The sums, most attempts first.
    pub(crate) fn ranked(self) -> (Attempts, Vec<Destination>, Vec<Program>) {
        let mut destinations: Vec<_> = self
            .destinations
            .into_iter()
            .map(|(target, place)| Destination {
                target,
                count: place.span.count,
                unattributed: place.unattributed,
                first: place.span.first,
                last: place.span.last,
                reasons: counted(place.reasons),
                processes: counted(place.processes),
                record_types: counted(place.record_types),
                servers: counted(place.servers),
            })
            .collect();
        // Stable: equals stay in the order of their targets.
        destinations.sort_by_key(|d| std::cmp::Reverse(d.count));
        let mut programs: Vec<_> = self
            .programs
            .into_iter()
            .map(|((name, uid, executable, command_line), made)| Program {
                name,
                uid,
                executable,
                command_line,
                processes: made.processes.len(),
                destinations: made.targets.len(),
                count: made.span.count,
                by_socket: made.by_socket,
                first: made.span.first,
                last: made.span.last,
            })
            .collect();
        programs.sort_by_key(|p| std::cmp::Reverse(p.count));
        (self.attempts, destinations, programs)
    }
}

fn counted(counts: Counts) -> Vec<Counted> {
    let mut list: Vec<_> = counts
        .into_iter()
        .map(|(what, count)| Counted { what, count })
        .collect();
    list.sort_by_key(|c| std::cmp::Reverse(c.count));
    list
}
