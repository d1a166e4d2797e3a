//! What the kernel remembers of refused attempts, read in batches.

use airgap_common::map::{
    Arguments, Attempt, AttemptKey, Counters, Destination, Program, SealNumber, Tally, name,
};
use anyhow::{Context as _, Result};
use aya::maps::{HashMap, MapData};

use super::{Gate, hash, map, sys};

/// Elements read by one system call; a full bucket of the kernel's fits in.
const BATCH: usize = 128;

/// Handles to the maps that remember attempts.
pub struct Attempts {
    attempts: [MapData; 2],
    destinations: MapData,
    programs: HashMap<MapData, Program, Arguments>,
    counters: HashMap<MapData, SealNumber, Counters>,
}

impl Gate {
    /// Opens the maps that remember attempts.
    ///
    /// # Errors
    /// If one of them is gone.
    pub fn attempts(&self) -> Result<Attempts> {
        Ok(Attempts {
            attempts: [
                map(&self.place, name::ATTEMPTS)?,
                map(&self.place, name::BURSTS)?,
            ],
            destinations: map(&self.place, name::DESTINATIONS)?,
            programs: hash(&self.place, name::PROGRAMS)?,
            counters: hash(&self.place, name::COUNTERS)?,
        })
    }

    /// Forgets the destinations of seals that are no more. What a program still
    /// wrote while its seal was lifted goes with the next one.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub(super) fn forget_destinations(&self) -> Result<()> {
        let mut stale = Vec::new();
        let opened = self.attempts()?;
        opened.each_destination(|key, _| {
            if opened.counters(key.seal).is_none() {
                stale.push(*key);
            }
        })?;
        for key in stale {
            let _ = sys::delete_key(opened.destinations.fd(), &key);
        }
        Ok(())
    }
}

impl Attempts {
    /// Hands each remembered attempt to `each`, in no order. Under many new
    /// attempts one may be missed or come twice.
    ///
    /// # Errors
    /// If the map cannot be read. Minimum kernel: 5.6.
    pub fn each_attempt(&self, mut each: impl FnMut(&AttemptKey, &Attempt)) -> Result<()> {
        for map in &self.attempts {
            sys::each::<AttemptKey, Attempt>(map.fd(), BATCH, &mut each)
                .context("cannot read the map ATTEMPTS")?;
        }
        Ok(())
    }

    /// Hands each destination's tally to `each`, in no order.
    ///
    /// # Errors
    /// If the map cannot be read. Minimum kernel: 5.6.
    pub fn each_destination(&self, mut each: impl FnMut(&Destination, &Tally)) -> Result<()> {
        sys::each::<Destination, Tally>(self.destinations.fd(), BATCH, &mut each)
            .context("cannot read the map DESTINATIONS")
    }

    /// The arguments of a process when its first attempt was refused, with a NUL after each,
    /// cut at [`airgap_common::map::ARGUMENTS`] bytes; `None` if they are not known. `start`
    /// as [`Program::start`], `comm` without the NULs behind it.
    pub fn arguments(&self, tgid: u32, start: u64, comm: &[u8]) -> Option<Vec<u8>> {
        let mut name = [0; 16];
        name.get_mut(..comm.len())?.copy_from_slice(comm);
        let key = Program {
            start,
            tgid,
            _pad: 0,
            comm: name,
        };
        let kept = self.programs.get(&key, 0).ok()?;
        let len = usize::try_from(kept.len).ok().filter(|len| *len > 0)?;
        Some(kept.bytes.get(..len)?.to_vec())
    }

    /// How much was refused so far, silent reasons left out, under these seals,
    /// or with none under each.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn totals(&self, seals: &[SealNumber]) -> Result<Vec<(SealNumber, u64)>> {
        let all = if seals.is_empty() {
            let keys: Result<Vec<_>, _> = self.counters.keys().collect();
            keys.context("cannot read the map COUNTERS")?
        } else {
            seals.to_vec()
        };
        Ok(all
            .into_iter()
            .filter_map(|seal| Some((seal, self.counters(seal)?.refused())))
            .collect())
    }

    /// The counters of a seal; `None` if there is no such seal.
    pub fn counters(&self, seal: SealNumber) -> Option<Counters> {
        self.counters.get(&seal, 0).ok()
    }
}
