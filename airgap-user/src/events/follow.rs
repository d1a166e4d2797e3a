//! Following the ring, with losses.

use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::{Denial, decode};
use crate::{
    clock,
    gate::{Gate, Lock, rings::Ring},
};

/// How long a denial waits at most before it is shown.
pub const POLL: Duration = Duration::from_millis(20);

/// What a follower gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A refused attempt.
    Denial(Box<Denial>),
    /// So many denials did not fit into the ring; the counters have them.
    Lost(u64),
}

/// Reads denials as they come.
pub struct Follower {
    ring: Ring,
    boot: SystemTime,
}

impl Follower {
    /// Starts to follow all seals of the host.
    ///
    /// # Errors
    /// If there is no free slot.
    pub fn start(gate: &mut Gate) -> Result<Self> {
        let lock = Lock::take()?;
        Ok(Self {
            ring: gate.follow(&lock)?,
            boot: SystemTime::now() - clock::since_boot(),
        })
    }

    /// What has come since the last call, in order.
    pub fn poll(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let boot = self.boot;
        let mut malformed = 0;
        let lost = self.ring.drain(|bytes| match decode(bytes, boot) {
            Ok(denial) => events.push(Event::Denial(Box::new(denial))),
            Err(error) => {
                log::warn!("cannot read a denial: {error}");
                malformed += 1;
            }
        });
        if lost + malformed > 0 {
            events.push(Event::Lost(lost + malformed));
        }
        events
    }
}
