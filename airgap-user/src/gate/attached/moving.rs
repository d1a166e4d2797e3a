//! Moving the hooks between the root and the cgroups just below it.

use std::collections::{BTreeMap, BTreeSet};

use airgap_common::map::{SealNumber, Stat, Switch};
use anyhow::{Context as _, Result, bail};

use super::{
    super::{
        Gate, Lock, Reading, arm,
        links::{replace_pin, unlink},
        object, sys,
    },
    Next, Spot, Top, cgroup_hooks, is_cgroup_pin, is_gone, open, pin, pinned, spots_of, top_of,
    tops,
};

/// Whether the hooks are attached where they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// They are.
    Right,
    /// Something was born where nothing is attached, and is denied every socket.
    Unguarded,
    /// They belong elsewhere, or a move was cut short.
    Wrong,
    /// They could be attached to less than they are.
    Less,
}

impl Gate {
    /// Whether the hooks are attached where they should be.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn placing(&self) -> Result<Placing> {
        if self.stat(Stat::Unguarded) != 0 {
            return Ok(Placing::Unguarded);
        }
        let in_force = self.security().in_force().is_some();
        let wanted = spots_of(&self.wanted(&Next::Nothing, in_force)?);
        let now = self.spots()?;
        Ok(match () {
            () if self.switch(Switch::Moving)? => Placing::Wrong,
            () if now == wanted => Placing::Right,
            () if now.contains(&None) => Placing::Less,
            // Something is in none of those places.
            () if !wanted.iter().all(|spot| now.contains(spot)) => Placing::Wrong,
            () => Placing::Less,
        })
    }

    /// Has the hooks attached where they are needed, and nowhere else: every seal's cgroup is
    /// below one that they are attached to, or they are at the root. Returns whether they
    /// were moved.
    ///
    /// # Errors
    /// If they cannot be moved; then both places are attached, or the one that was.
    pub fn attach_where_needed(&mut self, kernel: &Reading, lock: &Lock) -> Result<bool> {
        self.remember_tops()?;
        let in_force = self.security_under(lock).in_force().is_some();
        let wanted = self.wanted(&Next::Nothing, in_force)?;
        self.move_to(&wanted, kernel)
    }

    /// The same for something that is to be sealed: before it is.
    pub(in super::super) fn attach_for(
        &mut self,
        next: &Next,
        kernel: &Reading,
        lock: &Lock,
    ) -> Result<bool> {
        if self.switch(Switch::Moving)? {
            // A move that was cut short.
            let spots = self.spots()?;
            self.remove_others(&spots)?;
            arm::end_moving(self)?;
        }
        if !self.is_apart()? {
            return Ok(false);
        }
        if self.security_under(lock).in_force().is_none() {
            return self.move_to(&[], kernel);
        }
        let top = match next {
            Next::Nothing => return Ok(false),
            Next::At(path) => top_of(&self.place.cgroup, path),
            Next::Anywhere => None,
        };
        let Some(top) = top else {
            return self.move_to(&[], kernel);
        };
        let members = self.members()?;
        // Sockets outlive the directory that they were made in.
        let is_used = |top: &Top| members.iter().any(|(_, member)| member.top == top.id);
        let now = self.spots()?;
        let kept = now
            .iter()
            .filter(|spot| !is_gone(spot) || spot.iter().any(is_used));
        let mut tops: Vec<Top> = kept.flatten().cloned().collect();
        if tops.contains(&top) {
            return Ok(false);
        }
        tops.push(top);
        self.move_to(&few(tops), kernel).or_else(|error| {
            log::warn!("the hooks are attached to the root: {error:#}");
            self.move_to(&[], kernel)
        })
    }

    /// Whether what is attached judges what is in this cgroup.
    pub(in super::super) fn is_guarded(&self, top: u64) -> Result<bool> {
        Ok(!self.is_apart()? || self.attached()?.get(&top, 0).is_ok())
    }

    /// Where the hooks should be for all that is sealed, and for what is to be; `in_force`: the
    /// security hooks are. Empty: at the root.
    pub(in super::super) fn wanted(&self, next: &Next, in_force: bool) -> Result<Vec<Top>> {
        if !in_force || self.quarantine()? {
            return Ok(Vec::new());
        }
        let more = match next {
            Next::Nothing => Some(None),
            Next::At(path) => top_of(&self.place.cgroup, path).map(Some),
            Next::Anywhere => None,
        };
        let (Some(mut tops), Some(more)) = (self.tops_of_all()?, more) else {
            return Ok(Vec::new());
        };
        tops.extend(more);
        tops.sort();
        tops.dedup();
        Ok(few(tops))
    }

    /// The cgroups just below the root that all seals are in; `None`: one is in none, or in
    /// one that is gone, or was never seen.
    fn tops_of_all(&self) -> Result<Option<Vec<Top>>> {
        let members = self.members()?;
        let placed: BTreeSet<_> = members.iter().map(|(_, member)| member.of).collect();
        let mut ids: BTreeSet<_> = members.iter().map(|(_, member)| member.top).collect();
        for (number, seal) in self.seals()? {
            if !placed.contains(&number) {
                ids.insert(seal.top);
            }
        }
        let there = tops(&self.place.cgroup)?;
        let found = ids.iter().map(|id| {
            let path = there.get(id)?.clone();
            Some(Top { id: *id, path })
        });
        Ok(found.collect())
    }

    /// A container that has ended is where it was last: its cgroup's mark may be gone then.
    fn remember_tops(&mut self) -> Result<()> {
        let members = self.members()?;
        let mut tops: BTreeMap<SealNumber, BTreeSet<u64>> = BTreeMap::new();
        for (_, member) in &members {
            tops.entry(member.of).or_default().insert(member.top);
        }
        for (number, tops) in tops {
            let Ok(mut seal) = self.seals.get(&number, 0) else {
                continue;
            };
            if let (Some(top), false) = (tops.first(), tops.contains(&seal.top)) {
                seal.top = *top;
                let written = self.seals.insert(number, seal, 0);
                written.context("cannot write the map SEALS")?;
            }
        }
        Ok(())
    }

    /// Moves the hooks to these cgroups, to the root if there are none. The new places are
    /// attached and read back before anything leaves the old.
    pub(in super::super) fn move_to(&mut self, tops: &[Top], kernel: &Reading) -> Result<bool> {
        let now = self.spots()?;
        let wanted = spots_of(tops);
        if now == wanted {
            // What a move that was cut short has left.
            self.remove_others(&wanted)?;
            arm::end_moving(self)?;
            return Ok(false);
        }
        // An older airgap that still runs would put its programs in the place of newer ones.
        if self.info()?.object != object::digest() {
            bail!(
                "the programs in the kernel are those of another build of airgap: end the older one that runs (airgap watch)"
            );
        }
        if now.contains(&None) || wanted.contains(&None) {
            // Programs of one load cannot tell whether they are called twice.
            arm::load_again(self, tops, kernel)?;
            return Ok(true);
        }
        // Siblings: no cgroup is below two of them.
        let from = now.iter().find(|spot| !is_gone(spot));
        let from = from.or(now.first()).context("nothing is attached")?;
        let programs = cgroup_hooks()
            .map(|hook| {
                let link = self.link(&pin(hook, from))?;
                let program = sys::program(link.program);
                program.with_context(|| format!("cannot use the program of {}", hook.link))
            })
            .collect::<Result<Vec<_>>>()?;
        for spot in wanted.iter().filter(|spot| !now.contains(spot)) {
            let dir = open(&self.place, spot)?;
            for (hook, program) in cgroup_hooks().zip(&programs) {
                let link = sys::attach_cgroup(program, &dir, hook.attach_type);
                let link = link.with_context(|| format!("cannot attach {}", hook.program))?;
                replace_pin(&self.place, &pin(hook, spot), link)?;
            }
            self.read_back(spot)?;
        }
        if !self.go_by(tops)? {
            arm::load_again(self, &[], kernel)?;
            return Ok(true);
        }
        self.remove_others(&wanted)?;
        Ok(true)
    }

    /// Has the kernel take these for guarded, and no others; returns whether all that is sealed
    /// is below them, also what was born before the kernel went by that.
    pub(in super::super) fn go_by(&mut self, tops: &[Top]) -> Result<bool> {
        self.set_attached(tops)?;
        // Where no id is sealed nothing is born so.
        if tops.is_empty() || self.is_idle()? {
            return Ok(true);
        }
        // What is being born by what was before is entered then.
        if let Err(error) = sys::wait_for_programs() {
            log::debug!("cannot wait for programs that run: {error}");
            return Ok(false);
        }
        let members = self.members()?;
        Ok(members
            .iter()
            .all(|(_, member)| tops.iter().any(|top| top.id == member.top)))
    }

    /// Errs unless every hook of a spot is attached there now.
    pub(in super::super) fn read_back(&self, spot: &Spot) -> Result<()> {
        let broken = self.broken_at(spot);
        if !broken.is_empty() {
            bail!(
                "the kernel does not show what was attached: {}",
                broken.join("; ")
            );
        }
        Ok(())
    }

    /// What the kernel takes for guarded when a cgroup is born. Nothing new is believed in
    /// before it is attached, and nothing that is to go after this.
    fn set_attached(&mut self, tops: &[Top]) -> Result<()> {
        let mut attached = self.attached()?;
        let known: Vec<u64> = attached.keys().flatten().collect();
        for top in tops {
            attached
                .insert(top.id, 1, 0)
                .context("cannot write the map ATTACHED")?;
        }
        self.set_switch(Switch::Apart, !tops.is_empty())?;
        for id in known {
            if !tops.iter().any(|top| top.id == id) {
                attached
                    .remove(&id)
                    .context("cannot write the map ATTACHED")?;
            }
        }
        Ok(())
    }

    /// Removes the links that are in none of these places.
    pub(in super::super) fn remove_others(&self, spots: &[Spot]) -> Result<()> {
        let links = self.place.pins.join("links");
        let kept: BTreeSet<String> = spots
            .iter()
            .flat_map(|spot| cgroup_hooks().map(move |hook| pin(hook, spot)))
            .collect();
        for name in pinned(&links)? {
            if is_cgroup_pin(&name) && !kept.contains(&name) {
                unlink(&links.join(&name))?;
            }
        }
        Ok(())
    }
}

/// Most cgroups that the hooks are attached to; beyond that the root costs no more.
const MOST: usize = 16;

/// These, or none, which stands for the root, if they are many. Pure.
fn few(tops: Vec<Top>) -> Vec<Top> {
    if tops.len() > MOST { Vec::new() } else { tops }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Top, few};

    #[test]
    fn many_places_are_the_root() {
        let tops = |n: usize| -> Vec<Top> {
            let top = |id| Top {
                id: id as u64,
                path: format!("/{id}").into(),
            };
            (0..n).map(top).collect()
        };
        assert_eq!(few(tops(MOST)).len(), MOST);
        assert!(few(tops(MOST + 1)).is_empty());
    }
}
