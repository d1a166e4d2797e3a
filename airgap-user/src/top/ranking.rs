//! What the kernel counted of one seal.

use std::sync::Arc;

use airgap_common::map::SealNumber;

use crate::{
    events::{Denial, Event},
    report::{Attempts, Destination, Program, Sums},
    seal::Denials,
};

/// Attempts that are kept one by one, the last ones.
const RECENT: usize = 100;

/// Refused attempts of one seal at one instant.
#[derive(Clone, Debug)]
pub struct Count {
    /// Seal number.
    pub seal: SealNumber,
    /// Container id, 64 hex digits.
    pub id: String,
    /// Container name, today's as soon as the engine has said it: not safe for terminals.
    pub name: String,
    /// It is no seal: nothing that is counted was refused.
    pub audit: bool,
    /// The seal's counters.
    pub denials: Denials,
    /// Where to and by whom; shared as long as nothing new was refused.
    pub ranking: Arc<Ranking>,
}

/// Where attempts went and who made them.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    /// Sums.
    pub attempts: Attempts,
    /// Most attempts first.
    pub destinations: Vec<Destination>,
    /// Most attempts first.
    pub processes: Vec<Program>,
    /// The last ones, newest first.
    pub recent: Vec<Denial>,
}

impl Ranking {
    /// Of all events of one seal, in order.
    pub fn of(events: &[Event]) -> Self {
        let mut sums = Sums::default();
        for event in events {
            sums.add(event, None);
        }
        let (attempts, destinations, processes) = sums.ranked();
        let recent = events.iter().rev().filter_map(|event| match event {
            Event::Denial(denial) => Some((**denial).clone()),
            _ => None,
        });
        Self {
            attempts,
            destinations,
            processes,
            recent: recent.take(RECENT).collect(),
        }
    }
}
