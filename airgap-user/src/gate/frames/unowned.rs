//! Veths that come up: guarded at once, whosever they are, and made somebody's as soon
//! as that is known. The kernel side does so too, when a sealed task makes a socket.

use airgap_common::map::{
    MAX_WAITING_VETHS, SealNumber, Stat, Switch, UNOWNED, Veth, Waiting, name,
};
use anyhow::{Context as _, Result};

use super::{Gate, PROGRAMS, Place, origin};
use crate::{
    container::HostEnd,
    gate::{hash, lock::VethLock},
};

/// A veth that has come up, by its host's end.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The host's end; its addresses and MAC only if the owner is known.
    pub end: HostEnd,
    /// Cookie of the network namespace at its other end, if it could be read.
    pub network: Option<u64>,
    /// Seal of the container in that namespace, if one was found.
    pub owner: Option<SealNumber>,
    /// The bridge may be known later.
    pub settling: bool,
}

impl Gate {
    /// Guards a veth that has come up, in this thread's network namespace; waits for no
    /// other airgap. Returns whose it is by now: an owner that is known stays.
    ///
    /// # Errors
    /// If the map cannot be written, or the kernel refuses an attachment. If the gate was
    /// taken down meanwhile.
    pub fn guard_arrival(place: &Place, arrival: &Arrival) -> Result<Option<SealNumber>> {
        let _veths = VethLock::take()?;
        let Some(mut gate) = Self::open(place)? else {
            return Ok(None);
        };
        gate.arrived(arrival)
    }

    /// Ends the guard of a veth that is nobody's, or gone.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub fn unguard_arrival(place: &Place, index: u32) -> Result<()> {
        let _veths = VethLock::take()?;
        let Some(mut gate) = Self::open(place)? else {
            return Ok(());
        };
        match gate.veths.get(&index, 0) {
            Ok(veth) if veth.seal == UNOWNED || !gate.runs_on(index) => {
                gate.drop_veth(index)?;
                gate.forget_waiting()
            }
            _ => Ok(()),
        }
    }

    /// Whether a frame program runs on this interface.
    fn runs_on(&self, index: u32) -> bool {
        PROGRAMS.iter().any(|program| self.is_alive(index, program))
    }

    fn arrived(&mut self, arrival: &Arrival) -> Result<Option<SealNumber>> {
        let Arrival { end, owner, .. } = arrival;
        let before = self.runs_on(end.index);
        let known = self.veths.get(&end.index, 0).ok().filter(|_| before);
        // First the programs: an entry whose veth has none counts as one that is gone.
        if !self.attach_programs(end)? {
            return Ok(None);
        }
        let host = origin::Host::read()?;
        let mut veth = host.veth(owner.unwrap_or(UNOWNED), end.index)?;
        if veth.is_port() {
            self.write_bridge(&host, veth.bridge, end)?;
        }
        if veth.bridge == 0 && arrival.settling {
            veth.bridge = Veth::UNPLUGGED;
        }
        let mut is_known = false;
        // Whose it is was known already, or the kernel side has found out.
        if let Some(known) = known
            && let Ok(now) = self.veths.get(&end.index, 0)
        {
            if owner.is_none() {
                veth.seal = now.seal;
            }
            is_known = known == veth;
        }
        if !is_known {
            self.write_veth(end.index, veth)?;
        }
        // Its network may be known later than the veth itself.
        if let Some(cookie) = arrival.network
            && veth.seal == UNOWNED
            && let Err(error) = self.wait_for_owner(cookie, end.index)
        {
            log::warn!("{} waits for its owner's next look: {error:#}", end.name);
        }
        if is_known {
            return Ok(owned(veth.seal));
        }
        if let Some(number) = owner {
            self.announceable(end)?;
            // Lifted meanwhile: nobody would take this entry away.
            if self.seal(*number).is_err() {
                self.drop_veth(end.index)?;
                return Ok(None);
            }
        }
        Ok(owned(veth.seal))
    }

    fn write_veth(&mut self, index: u32, veth: Veth) -> Result<()> {
        if self.veths.insert(index, veth, 0).is_ok() {
            return Ok(());
        }
        // Full of those that are gone.
        self.forget_dead_veths()?;
        self.veths
            .insert(index, veth, 0)
            .context("cannot write the map VETHS")
    }

    /// Notes that a veth is to be the seal's that makes the first socket in a network.
    fn wait_for_owner(&mut self, network: u64, index: u32) -> Result<()> {
        let mut waiting = hash::<u64, Waiting>(&self.place, name::WAITING)?;
        let mut value = waiting.get(&network, 0).unwrap_or_default();
        if value.veths.contains(&index) {
            return Ok(());
        }
        let Some(free) = free_slot(&value.veths, |index| self.runs_on(index)) else {
            log::warn!("{MAX_WAITING_VETHS} veths of one network wait for their owner already");
            return Ok(());
        };
        value.veths[free] = index;
        self.set_switch(Switch::Waiting, true)?;
        if waiting.insert(network, value, 0).is_err() {
            self.forget_waiting()?;
            waiting
                .insert(network, value, 0)
                .context("cannot write the map WAITING")?;
        }
        // Whoever found nothing there before may have turned it off meanwhile.
        self.set_switch(Switch::Waiting, true)
    }

    /// Forgets what waits for veths that are gone.
    pub(super) fn forget_waiting(&mut self) -> Result<()> {
        let mut waiting = hash::<u64, Waiting>(&self.place, name::WAITING)?;
        let all: Vec<_> = waiting
            .iter()
            .collect::<Result<_, _>>()
            .context("cannot read the map WAITING")?;
        for (network, value) in all {
            let mut left = value;
            for index in &mut left.veths {
                if self.veths.get(index, 0).is_err() {
                    *index = 0;
                }
            }
            if left == Waiting::default() {
                waiting
                    .remove(&network)
                    .context("cannot write the map WAITING")?;
            } else if left != value {
                waiting
                    .insert(network, left, 0)
                    .context("cannot write the map WAITING")?;
            }
        }
        if waiting.keys().next().is_none() {
            self.set_switch(Switch::Waiting, false)?;
            // Another may have written something since.
            let some = waiting.keys().next().is_some();
            self.set_switch(Switch::Waiting, some)?;
        }
        Ok(())
    }

    /// Counts a veth of a sealed container that was guarded as it came; `late`: a program
    /// of the container's may have run before. Two at once may count as one.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub fn count_arrival(place: &Place, late: bool) -> Result<()> {
        let _veths = VethLock::take()?;
        let Some(mut gate) = Self::open(place)? else {
            return Ok(());
        };
        for (stat, more) in [(Stat::Guarded, 1), (Stat::GuardedLate, u64::from(late))] {
            let now = gate.stat(stat);
            gate.stats
                .set(stat as u32, now + more, 0)
                .context("cannot write the map STATS")?;
        }
        Ok(())
    }

    /// The seal of a cgroup, by its id.
    pub fn seal_of(&self, cgroup: u64) -> Option<SealNumber> {
        self.cgroups.get(&cgroup, 0).ok().map(|member| member.of)
    }
}

const fn owned(seal: SealNumber) -> Option<SealNumber> {
    if seal == UNOWNED { None } else { Some(seal) }
}

/// Where one more veth can be noted: a network that outlives its veths has had others. Pure.
fn free_slot(veths: &[u32], is_guarded: impl Fn(u32) -> bool) -> Option<usize> {
    veths
        .iter()
        .position(|index| *index == 0 || !is_guarded(*index))
}

#[cfg(test)]
mod tests {
    use super::free_slot;

    #[test]
    fn veths_that_are_gone_keep_no_other_from_waiting() {
        assert_eq!(free_slot(&[7, 0, 0, 0], |_| true), Some(1));
        assert_eq!(free_slot(&[7, 8, 9, 10], |_| true), None);
        assert_eq!(free_slot(&[7, 8, 9, 10], |index| index != 9), Some(2));
    }
}
