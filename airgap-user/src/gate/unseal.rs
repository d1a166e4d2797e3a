//! Lifting seals: in the reverse order of sealing, many as cheaply as one.

use std::collections::{HashMap as Table, HashSet};

use airgap_common::map::{ID_LEN, Seal, SealNumber, Stat};
use anyhow::{Context as _, Result};

use super::{Gate, Lock, lock::VethLock, seal_id, seal_name};

/// What lifting a seal removed.
#[derive(Clone, Debug)]
pub struct Unsealed {
    /// Container id.
    pub id: String,
    /// Container name when it was sealed.
    pub name: String,
    /// Cgroups that were sealed, those that the kernel has not released yet included.
    pub cgroups: usize,
    /// Attempts refused under this seal, or let through by an audit.
    pub denials: u64,
    /// It was an audit.
    pub audit: bool,
}

impl Gate {
    /// Lifts seals, of which none may be named twice. The ids go first, so that
    /// no cgroup is marked any more when the marks are removed. Each map is
    /// walked once, however many seals there are.
    ///
    /// # Errors
    /// If one of them is no seal, or a map cannot be read; then nothing has
    /// changed. If a map cannot be written.
    pub fn unseal(&mut self, numbers: &[SealNumber], _lock: &Lock) -> Result<Vec<Unsealed>> {
        if self.quarantine()? {
            // Whoever lifts a seal has judged: the next start is not denied.
            for number in numbers {
                self.remember_judged(&self.seal(*number)?.id)?;
            }
        }
        self.lift(numbers)
    }

    /// Forgets seals whose container is sealed under another number by now: what
    /// an attach or a detach that was killed left. Returns how many.
    ///
    /// # Errors
    /// If a map cannot be read or written.
    pub fn drop_replaced(&mut self, _lock: &Lock) -> Result<usize> {
        let mut replaced = Table::new();
        let mut seals = Vec::new();
        for (number, seal) in self.seals()? {
            if self.ids.get(&seal.id, 0).is_ok_and(|now| now != number) {
                replaced.insert(number, unsealed(&seal, 0));
                seals.push((number, seal.id));
            }
        }
        if !seals.is_empty() {
            self.unsettle()?;
            let _veths = VethLock::take()?;
            self.unguard_frames(|seal| replaced.contains_key(&seal))?;
            self.unmark(&mut replaced)?;
            self.forget(&seals);
            // What a task claimed for it meanwhile.
            self.unguard_frames(|seal| replaced.contains_key(&seal))?;
        }
        Ok(seals.len())
    }

    pub(super) fn unseal_id(&mut self, id: &[u8; ID_LEN]) -> Result<()> {
        self.ids
            .remove(id)
            .or_else(absent)
            .context("cannot write the map IDS")
    }

    /// Lifts seals, and judges nothing.
    pub(super) fn lift(&mut self, numbers: &[SealNumber]) -> Result<Vec<Unsealed>> {
        let seals: Vec<_> = numbers
            .iter()
            .map(|number| self.seal(*number))
            .collect::<Result<_>>()?;
        let mut lifted = Table::new();
        for (number, seal) in numbers.iter().zip(&seals) {
            let denials = self.state(*number).map_or(0, |(_, c)| c.refused());
            let audit = self.is_audit(*number);
            lifted.insert(
                *number,
                Unsealed {
                    audit,
                    ..unsealed(seal, denials)
                },
            );
        }
        self.unsettle()?;
        for seal in &seals {
            self.unseal_id(&seal.id)?;
        }
        self.forget_paths(|seal| lifted.contains_key(&seal))?;
        let _veths = VethLock::take()?;
        self.unguard_frames(|seal| lifted.contains_key(&seal))?;
        self.unmark(&mut lifted)?;
        if self.stat(Stat::Overflowed) > 0 && self.ids.keys().next().is_none() {
            self.clear_overflow()?;
        }
        let ids = seals.iter().map(|seal| seal.id);
        self.forget(&numbers.iter().copied().zip(ids).collect::<Vec<_>>());
        // What a task claimed for them meanwhile: there is no policy for its frames.
        self.unguard_frames(|seal| lifted.contains_key(&seal))?;
        Ok(numbers.iter().filter_map(|n| lifted.remove(n)).collect())
    }

    /// Removes the marks of cgroups.
    fn unmark(&mut self, lifted: &mut Table<SealNumber, Unsealed>) -> Result<()> {
        let hints = self.hints()?;
        let marks = self.members()?;
        for (cgroup, member) in marks {
            let Some(unsealed) = lifted.get_mut(&member.of) else {
                continue;
            };
            unsealed.cgroups += 1;
            // Released meanwhile: the kernel has counted it out of the hints.
            if self.cgroups.remove(&cgroup).is_ok() {
                hints.remove(cgroup);
            }
        }
        self.count_unguarded()
    }

    fn clear_overflow(&mut self) -> Result<()> {
        for slot in 0..self.overflow.len() {
            self.overflow
                .set(slot, 0, 0)
                .context("cannot write the map OVERFLOW")?;
        }
        self.stats
            .set(Stat::Overflowed as u32, 0, 0)
            .context("cannot write the map STATS")
    }

    /// Removes what the maps hold of seals; what cannot be removed is of no
    /// consequence without the id and the marks.
    pub(super) fn forget(&mut self, seals: &[(SealNumber, [u8; ID_LEN])]) {
        let numbers: HashSet<_> = seals.iter().map(|(number, _)| *number).collect();
        let _ = self.forget_clients(|seal, _| numbers.contains(&seal));
        let _ = self.forget_exits(|seal| numbers.contains(&seal));
        let _ = self.forget_paths(|seal| numbers.contains(&seal));
        for (number, id) in seals {
            if self.ids.get(id, 0).is_ok_and(|n| n == *number) {
                let _ = self.ids.remove(id);
            }
            let _ = self.seals.remove(number);
            let _ = self.policies.remove(number);
        }
        self.forget_counts(&numbers);
        let _ = self.forget_destinations();
        let _ = self.settle();
    }
}

fn unsealed(seal: &Seal, denials: u64) -> Unsealed {
    Unsealed {
        id: seal_id(seal),
        name: seal_name(seal),
        cgroups: 0,
        denials,
        audit: false,
    }
}

fn absent(error: aya::maps::MapError) -> Result<(), aya::maps::MapError> {
    match error {
        aya::maps::MapError::KeyNotFound => Ok(()),
        aya::maps::MapError::SyscallError(ref e)
            if e.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        other => Err(other),
    }
}
