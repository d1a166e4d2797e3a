//! Containers that nobody has judged: while the switch is on, they start
//! denied everything, and stay so until they are sealed or let go.

use airgap_common::map::{ID_LEN, MAX_JUDGED, Member, QUARANTINED, SealNumber, Switch, name};
use anyhow::{Context as _, Result};
use aya::maps::MapError;

use super::{Gate, Lock, Next, Reading, arm::NO_DENIALS};
use crate::container::{Cgroup, find_cgroups};

const BPF_EXIST: u64 = 2;

impl Gate {
    /// Whether the kernel denies containers that nobody has judged.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn quarantine(&self) -> Result<bool> {
        self.switch(Switch::Quarantine)
    }

    /// Turns it on or off; off lets go of what is denied by it.
    ///
    /// # Errors
    /// If a map cannot be written.
    pub fn set_quarantine(&mut self, on: bool, lock: &Lock) -> Result<()> {
        if on {
            // It denies ids wherever they come.
            self.attach_for(&Next::Anywhere, &Reading::default(), lock)?;
            // Its refusals are counted like any seal's.
            if self.counters.get(&QUARANTINED, 0).is_err() {
                self.counters
                    .insert(QUARANTINED, NO_DENIALS, 0)
                    .context("cannot write the map COUNTERS")?;
            }
        }
        self.set_switch(Switch::Quarantine, on)?;
        if !on {
            for cgroup in self.cgroups_of(QUARANTINED)? {
                self.release(cgroup)?;
            }
            let _ = self.counters.remove(&QUARANTINED);
        }
        Ok(())
    }

    /// Cgroup ids that are denied because nobody has judged their container.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn quarantined(&self) -> Result<Vec<u64>> {
        self.cgroups_of(QUARANTINED)
    }

    /// Judges a container as not to be sealed: neither its cgroups that are
    /// denied now nor later ones are. Returns how many were let go.
    ///
    /// # Errors
    /// If a map cannot be written.
    pub fn let_go(&mut self, id: &[u8; ID_LEN], cgroups: &[Cgroup], _lock: &Lock) -> Result<usize> {
        // First, so that a start in between is not denied again.
        self.remember_judged(id)?;
        let mut count = 0;
        for cgroup in cgroups {
            if self
                .cgroups
                .get(&cgroup.id, 0)
                .is_ok_and(|member| member.of == QUARANTINED)
            {
                self.release(cgroup.id)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// The cgroups of `id` that are open now, where nobody has judged it: what
    /// [`Self::withdraw`] is to leave open. `None` without quarantine, and for
    /// one that was judged. Walks the whole cgroup tree.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn open_unjudged(&self, id: &[u8; ID_LEN]) -> Result<Option<Vec<u64>>> {
        if !self.quarantine()? || self.is_let_go(id) {
            return Ok(None);
        }
        let mut open = Vec::new();
        for cgroup in find_cgroups(&self.place.cgroup, &String::from_utf8_lossy(id)) {
            match self.cgroups.get(&cgroup.id, 0) {
                Err(MapError::KeyNotFound) => open.push(cgroup.id),
                found => drop(found.context("cannot read the map CGROUPS")?),
            }
        }
        Ok(Some(open))
    }

    /// Lifts a new seal that could not be finished; whoever nobody had judged
    /// before is denied everything again. `open` is what
    /// [`Self::open_unjudged`] was before the seal.
    ///
    /// # Errors
    /// If a map cannot be read or written.
    pub fn withdraw(
        &mut self,
        number: SealNumber,
        open: Option<&[u64]>,
        lock: &Lock,
    ) -> Result<()> {
        let Some(open) = open else {
            return self.unseal(&[number], lock).map(drop);
        };
        // What the seal let its sockets do ends with the first mark; `lift` settles.
        self.unsettle()?;
        // The id first: what is born from here on is denied for being unjudged.
        self.unseal_id(&self.seal(number)?.id)?;
        let members = self.members()?.into_iter();
        for (cgroup, member) in members.filter(|(_, member)| member.of == number) {
            let member = Member {
                seal: QUARANTINED,
                of: QUARANTINED,
                ..member
            };
            if !open.contains(&cgroup)
                && let Err(error) = self.cgroups.insert(cgroup, member, BPF_EXIST)
                && self.cgroups.get(&cgroup, 0).is_ok()
            {
                return Err(error).context("cannot write the map CGROUPS");
            }
        }
        self.lift(&[number]).map(drop)
    }

    /// Whether a container was judged as not to be sealed.
    pub fn is_let_go(&self, id: &[u8; ID_LEN]) -> bool {
        // Where nobody was, there is no map.
        let judged = self.known_table::<[u8; ID_LEN], u32>(name::JUDGED);
        judged.is_ok_and(|judged| judged.is_some_and(|judged| judged.get(id, 0).is_ok()))
    }

    pub(super) fn remember_judged(&self, id: &[u8; ID_LEN]) -> Result<()> {
        self.table::<[u8; ID_LEN], u32>(name::JUDGED, MAX_JUDGED)?
            .insert(id, 1, 0)
            .context("cannot write the map JUDGED")
    }

    pub(super) fn forget_judged(&self, id: &[u8; ID_LEN]) {
        if let Ok(Some(mut judged)) = self.known_table::<[u8; ID_LEN], u32>(name::JUDGED) {
            let _ = judged.remove(id);
        }
    }

    fn release(&mut self, cgroup: u64) -> Result<()> {
        // Released by the kernel meanwhile: it has counted it out of the hints.
        if self.cgroups.remove(&cgroup).is_ok() {
            self.hints()?.remove(cgroup);
        }
        Ok(())
    }
}
