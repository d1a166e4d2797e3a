//! Guarding veths that come later, for as long as a display runs: a restart and
//! `docker network connect` make new ones, which no kernel hook tells of.
//!
//! It narrows that gap and does not close it: what is in force without anybody
//! running is what `status` says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use airgap_common::map::{SealNumber, Stat};
use anyhow::Result;

use crate::{
    container::{all_cgroups, interfaces},
    gate::{Gate, Lock, seal_id},
};

/// Polls for which a reborn cgroup is watched closely, until its network is up.
const CLOSELY: u32 = 250;

/// Keeps the seals of one display guarded.
pub(super) struct Keeper {
    seals: Vec<(SealNumber, String)>,
    /// Where each was last; a restart comes up there again.
    places: Vec<(SealNumber, PathBuf)>,
    reborn: u64,
    closely: u32,
}

impl Keeper {
    /// Keeps these seals.
    ///
    /// # Errors
    /// If the map of seals cannot be read.
    pub(super) fn new(gate: &Gate, seals: &[SealNumber]) -> Result<Self> {
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
    pub(super) fn follow_all(&mut self, gate: &Gate) -> Result<()> {
        let all = gate.seals()?.into_iter();
        self.seals = all.map(|(n, seal)| (n, seal_id(&seal))).collect();
        let seals = &self.seals;
        self.places
            .retain(|(number, _)| seals.iter().any(|(kept, _)| kept == number));
        Ok(())
    }

    /// Looks after them; `thorough`: wherever they may be, and for networks
    /// that were connected. What fails is tried again at the next look.
    pub(super) fn look(&mut self, gate: &mut Gate, thorough: bool) {
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
                Err(error) => log::debug!("{}: {error:#}", place.display()),
            }
        }
    }

    fn find(&mut self, gate: &Gate) {
        for (id, cgroup) in all_cgroups(&gate.place().cgroup) {
            let seal = self.seals.iter().find(|(_, sealed)| *sealed == id);
            if let Some((number, _)) = seal
                && !self.places.iter().any(|(_, known)| *known == cgroup.path)
            {
                self.places.push((*number, cgroup.path));
            }
        }
    }
}

/// Guards what is not guarded; returns the names of those interfaces.
fn guard(gate: &mut Gate, number: SealNumber, place: &Path) -> Result<Vec<String>> {
    let Some((member, pid)) = first_process(place) else {
        return Ok(Vec::new());
    };
    if is_own_namespace(pid) {
        // The runtime has not unshared it yet.
        return Ok(Vec::new());
    }
    let found = interfaces(pid)?;
    // The number may have been another process' meanwhile.
    if !processes(&member).contains(&pid) {
        return Ok(Vec::new());
    }
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

/// A process of a cgroup and the directory it is in: engines and init systems
/// put theirs into directories below, which all are of one network namespace
/// unless the container has made more, and those have no veth on the host.
fn first_process(place: &Path) -> Option<(PathBuf, u32)> {
    if let Some(pid) = processes(place).first() {
        return Some((place.to_owned(), *pid));
    }
    let below = fs::read_dir(place).into_iter().flatten().flatten();
    below
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .find_map(|entry| first_process(&entry.path()))
}

fn processes(place: &Path) -> Vec<u32> {
    let procs = fs::read_to_string(place.join("cgroup.procs")).unwrap_or_default();
    procs.lines().filter_map(|pid| pid.parse().ok()).collect()
}

fn is_own_namespace(pid: u32) -> bool {
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    of(&pid.to_string()) == of("self")
}

#[cfg(test)]
mod tests {
    use super::first_process;
    use std::fs;

    #[test]
    fn finds_a_process_in_a_directory_below() {
        let root = std::env::temp_dir().join(format!("airgap-keep-{}", std::process::id()));
        let inner = root.join("container/init.scope");
        fs::create_dir_all(&inner).unwrap();
        fs::write(root.join("cgroup.procs"), "").unwrap();
        assert_eq!(first_process(&root), None);
        fs::write(inner.join("cgroup.procs"), "4711\n4712\n").unwrap();
        assert_eq!(first_process(&root), Some((inner, 4711)));
        fs::remove_dir_all(root).unwrap();
    }
}
