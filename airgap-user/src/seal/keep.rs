//! Guarding veths that come later, for as long as a display runs: a restart and
//! `docker network connect` make new ones, which no kernel hook tells of.
//!
//! It narrows that gap and does not close it: what is in force without anybody
//! running is what `status` says.

use std::time::Duration;

use airgap_common::map::{SealNumber, Stat};
use anyhow::Result;

use crate::{
    container::{Budget, Cgroup, all_cgroups, interfaces_of, own_networks},
    gate::{Gate, Lock, seal_id},
    subtree::{Subtree, is_subtree},
};

/// Polls for which a reborn cgroup is watched closely, until its network is up.
const CLOSELY: u32 = 250;

/// Keeps the seals of one display guarded.
pub(crate) struct Keeper {
    seals: Vec<(SealNumber, String)>,
    /// Where each was last; a restart comes up there again.
    places: Vec<(SealNumber, Cgroup)>,
    reborn: u64,
    closely: u32,
}

impl Keeper {
    /// Keeps these seals.
    ///
    /// # Errors
    /// If the map of seals cannot be read.
    pub(crate) fn new(gate: &Gate, seals: &[SealNumber]) -> Result<Self> {
        let all = gate.seals()?.into_iter();
        let chosen = all.filter(|(number, _)| seals.contains(number));
        Ok(Self {
            seals: chosen.map(|(n, seal)| (n, seal_id(&seal))).collect(),
            places: Vec::new(),
            reborn: gate.stat(Stat::Reborn),
            closely: 0,
        })
    }

    /// Keeps every seal there is now.
    ///
    /// # Errors
    /// If the map of seals cannot be read.
    pub(crate) fn follow_all(&mut self, gate: &Gate) -> Result<()> {
        let all = gate.seals()?.into_iter();
        self.seals = all.map(|(n, seal)| (n, seal_id(&seal))).collect();
        let seals = &self.seals;
        self.places
            .retain(|(number, _)| seals.iter().any(|(kept, _)| kept == number));
        Ok(())
    }

    /// Looks after them; `thorough`: wherever they may be, and for networks
    /// that were connected. What fails is tried again at the next look.
    pub(crate) fn look(&mut self, gate: &mut Gate, thorough: bool) {
        let reborn = gate.stat(Stat::Reborn);
        if reborn != self.reborn {
            (self.reborn, self.closely) = (reborn, CLOSELY);
        }
        if thorough {
            self.find(gate);
        } else if self.closely == 0 {
            return;
        }
        self.closely = self.closely.saturating_sub(1);
        for (number, place) in &self.places {
            match guard(gate, *number, place) {
                Ok(names) if names.is_empty() => {}
                Ok(names) => log::info!("frame programs guard {} now", names.join(", ")),
                Err(error) => log::debug!("{}: {error:#}", place.path.display()),
            }
        }
    }

    fn find(&mut self, gate: &Gate) {
        let root = &gate.place().cgroup;
        let mut all = all_cgroups(root);
        // Pods: a cgroup by its path, with networks of its own.
        for (number, id) in self.seals.iter().filter(|(_, id)| !is_subtree(id)) {
            if let Ok(Some(path)) = gate.path_of(*number) {
                all.extend(
                    Subtree::at(root, &path)
                        .cgroup
                        .map(|cgroup| (id.clone(), cgroup)),
                );
            }
        }
        for (id, cgroup) in all {
            let seal = self.seals.iter().find(|(_, sealed)| *sealed == id);
            if let Some((number, _)) = seal
                && !self
                    .places
                    .iter()
                    .any(|(_, known)| known.path == cgroup.path)
            {
                self.places.push((*number, cgroup));
            }
        }
    }
}

/// Time for finding the networks of one container.
const TIME: Duration = Duration::from_millis(50);

/// Guards what is not guarded; returns the names of those interfaces.
fn guard(gate: &mut Gate, number: SealNumber, place: &Cgroup) -> Result<Vec<String>> {
    // A process that the runtime has not moved yet is in the host's namespace, which is
    // no network of the container.
    let networks = own_networks(None, std::slice::from_ref(place), &mut Budget::of(TIME));
    let found = interfaces_of(&networks)?;
    let open = gate.frame_guards(number, found.clone());
    let open: Vec<String> = open
        .into_iter()
        .filter(|guard| guard.missing.is_some() && guard.interface.host.is_some())
        .map(|guard| guard.interface.name)
        .collect();
    if !open.is_empty() {
        let lock = Lock::take()?;
        gate.guard_frames(number, &found, &lock)?;
        let still = gate.frame_guards(number, found);
        return Ok(open
            .into_iter()
            .filter(|name| {
                let now = still.iter().find(|guard| guard.interface.name == *name);
                now.is_some_and(|guard| guard.missing.is_none())
            })
            .collect());
    }
    Ok(open)
}
