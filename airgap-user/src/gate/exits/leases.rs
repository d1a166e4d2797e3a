//! Addresses of exceptions by name: who has them, and for how long they hold.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _};

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result, anyhow};

use super::{Exit, Maps, view_of};
use crate::{
    container::Cgroup,
    gate::{Gate, Lock},
    host::clock,
    policy::{Lease, To, unions},
};

/// Most addresses of a seal's exceptions by name together: others want room as well.
const MOST: usize = 1024;

/// Takes out the addresses that there is no room for, and says which: one that does not fit
/// keeps no other out.
fn fit(exits: &mut [Exit]) -> Vec<String> {
    let total: usize = exits.iter().map(|exit| exit.leases.len()).sum();
    let numbered: Vec<_> = exits.iter().map(Exit::numbered).collect();
    if total <= MOST && unions(&numbered).is_ok() {
        return Vec::new();
    }
    let mut left_out = Vec::new();
    let wanted: Vec<_> = exits
        .iter_mut()
        .map(|exit| std::mem::take(&mut exit.leases))
        .collect();
    let mut taken = 0;
    for (at, leases) in wanted.into_iter().enumerate() {
        for lease in leases {
            let addr = lease.addr;
            exits[at].leases.push(lease);
            taken += 1;
            let numbered: Vec<_> = exits.iter().map(Exit::numbered).collect();
            if taken > MOST || unions(&numbered).is_err() {
                exits[at].leases.pop();
                taken -= 1;
                left_out.push(format!(
                    "{} does not lead to {addr}: too many exceptions hold for it, or of this seal at all",
                    exits[at].exception.to
                ));
            }
        }
    }
    left_out
}

impl Maps {
    /// Takes out the neighbours that no exception leads to any more.
    pub(super) fn forget_neighbours(&mut self) -> Result<()> {
        let known: Vec<u64> = self
            .neighbours
            .keys()
            .collect::<Result<_, _>>()
            .context("cannot read the map NEIGHBOURS")?;
        if known.is_empty() {
            return Ok(());
        }
        let values = self.values()?;
        let slots = values.iter().flat_map(|(_, _, value)| &value.slots);
        let meant: HashSet<u64> = slots.map(|slot| slot.neighbour).collect();
        for cgroup in known.iter().filter(|cgroup| !meant.contains(cgroup)) {
            // The kernel side may have been first.
            let _ = self.neighbours.remove(cgroup);
        }
        Ok(())
    }
}

impl Gate {
    /// Whether an address that was found for a name lets anything new out now.
    pub fn is_live(&self, lease: &Lease) -> bool {
        let over = lease
            .until
            .is_some_and(|until| until <= clock::since_boot_nanos());
        !over && self.is_there(lease)
    }

    /// Whether the neighbour whose address it is has its cgroup still, if it is one's: when
    /// that is gone, nothing more passes on what is connected either.
    pub fn is_there(&self, lease: &Lease) -> bool {
        lease.neighbour == 0 || self.exits.neighbours.get(&lease.neighbour, 0).is_ok()
    }

    /// Has each of these exceptions of a seal lead to these addresses, and to no others;
    /// the rest stays as it is. Those that are not among the seal's are none. Returns what
    /// there was no room for, in words.
    ///
    /// # Errors
    /// If a map is full or cannot be written.
    pub fn lease(
        &mut self,
        seal: SealNumber,
        found: &[(To, Vec<Lease>)],
        _lock: &Lock,
    ) -> Result<Vec<String>> {
        let view = view_of(seal, &self.exits.entries()?, &self.exits.values()?);
        let mut exits = view.standing;
        for exit in &mut exits {
            if let Some((_, leases)) = found.iter().find(|(to, _)| *to == exit.exception.to) {
                exit.leases.clone_from(leases);
            }
        }
        let left_out = fit(&mut exits);
        let numbered: Vec<_> = exits.iter().map(Exit::numbered).collect();
        let wanted = unions(&numbered).map_err(|error| anyhow!(error))?;
        self.exits.write(seal, &wanted)?;
        self.exits.forget_neighbours()?;
        Ok(left_out)
    }

    /// Has addresses of this neighbour hold until its cgroup is removed; whether it is
    /// there still. Before [`Self::lease`]: what is leased to nobody is shut.
    ///
    /// # Errors
    /// If the map is full or cannot be written.
    pub fn add_neighbour(&mut self, cgroup: &Cgroup, _lock: &Lock) -> Result<bool> {
        let map = &mut self.exits.neighbours;
        map.insert(cgroup.id, 1, 0)
            .context("cannot write the map NEIGHBOURS")?;
        // Removed before it was in the map: nobody would take it out.
        let there = fs::metadata(&cgroup.path).is_ok_and(|about| about.ino() == cgroup.id);
        if !there {
            let _ = map.remove(&cgroup.id);
        }
        Ok(there)
    }
}
