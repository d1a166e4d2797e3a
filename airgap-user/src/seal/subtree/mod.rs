//! Sealing a cgroup that is no container's, by its path (`airgap attach --cgroup`, `--unit`,
//! `--slice`).
//!
//! As for containers: what can be judged is judged before anything changes, then the cgroup
//! is marked, then its tasks are looked at again, and nothing is cut until all is judged.

mod exits;
mod hardening;
mod marking;

use std::os::fd::AsRawFd as _;

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};

pub(crate) use self::{
    exits::change_exits,
    hardening::{closed, not_running},
};
use super::{
    Existing, Report, Seen,
    attach::{
        older_sockets::{self, Found, Layers, Terms, cut_exits},
        refusing::{not_accepted, refuse_broken, refuse_findings, refuse_gaps},
        wanted::Wanted,
    },
};
use crate::{
    container::Look,
    failure::{Failure, exit},
    gate::{Gate, Lock, Place, Reading, Standing, UnderWay},
    host::systemd::Unit,
    policy::{Rules, To},
    preflight::{Facts, Finding, judge},
    state::{Entry, Record, State},
    subtree::{self, DropIn, Subtree},
};

/// What is to be sealed, and where that is recorded.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) place: &'a Place,
    pub(crate) state: &'a State,
    pub(crate) kernel: &'a Reading,
    pub(crate) subtree: &'a Subtree,
    /// Whose cgroup it is; `None`: a path was named.
    pub(crate) unit: Option<&'a Unit>,
    pub(crate) wanted: &'a Wanted,
    pub(crate) show: Show,
}

/// Shows what is done meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Show {
    /// What becomes of a socket that is older than the seal of what is called so.
    pub(crate) peer: fn(&str, &Existing),
    /// What a unit is about to be restarted under.
    pub(crate) hardens: fn(&str, &DropIn),
}

/// A seal that is in force, and what was before.
struct Marked {
    number: SealNumber,
    record: Record,
    /// Sockets older than it were not judged yet.
    fresh: bool,
    before: Option<Standing>,
    earlier: Option<Vec<u8>>,
}

impl Site<'_> {
    /// What its seal or its record allows, and has accepted, already.
    pub(crate) fn before(&self) -> Result<(Option<Rules>, u64)> {
        let lock = Lock::take()?;
        Gate::clear_remains(self.place, &lock)?;
        if let Some(standing) = self.standing()? {
            return Ok((Some(standing.rules()), standing.accepted));
        }
        Ok(match self.state.entry(&self.subtree.id) {
            Some(Entry::Known(record)) => (Some(record.rules), record.accepted),
            _ => (None, 0),
        })
    }

    fn standing(&self) -> Result<Option<Standing>> {
        match Gate::open(self.place)? {
            Some(gate) => gate.standing(&self.subtree.key()?),
            None => Ok(None),
        }
    }

    /// The unit, if it is a service of which something was found.
    pub(crate) fn service(&self, found: &[Finding]) -> Option<&Unit> {
        let closed = found.iter().any(DropIn::closes);
        self.unit.filter(|unit| unit.is_service() && closed)
    }

    /// Looks at its tasks, or where it has none at its unit's settings. `likely`: where no gate stands, hooks count that it would have.
    pub(crate) fn look(&self, rules: &Rules, likely: bool) -> Result<(Option<Look>, Facts)> {
        let running = self.subtree.cgroup.as_ref();
        let running = running.filter(|cgroup| cgroup.first_process().is_some());
        let mut look = running
            .map(|cgroup| Look::at_subtree(cgroup.clone()))
            .transpose()?;
        let hooks = match Gate::open(self.place)? {
            Some(gate) => gate.security().in_force().is_some(),
            None => likely,
        };
        let mut facts = subtree::gather(
            &self.place.cgroup,
            self.subtree,
            look.as_mut(),
            hooks,
            &rules.exits,
        )
        .serving(&rules.ports, &rules.clients);
        if let (None, Some(unit)) = (&look, self.unit) {
            facts.subtree.extend(subtree::expected(unit, hooks));
        }
        if let Some(unit) = self.unit.filter(|unit| unit.is_service()) {
            facts.subtree.extend(subtree::with_all_rights(unit));
        }
        Ok((look, facts))
    }

    /// On an error everything, kernel, record and unit, is as before.
    pub(crate) fn seal(&self, harden: bool) -> Result<Report> {
        let _under_way = UnderWay::begin(&self.subtree.id)?;
        let mut marked = self.mark()?;
        let mut hardening = None;
        let done = match self.unit.filter(|_| harden) {
            Some(unit) => self.harden(unit, &mut marked, &mut hardening),
            None => self.settle(&marked),
        };
        match done {
            Ok(report) => Ok(report),
            Err(error) => {
                if let Err(more) = self.take_back(&marked) {
                    log::error!(
                        "{} stays sealed, the seal cannot be lifted again: {more:#}",
                        self.subtree.name
                    );
                }
                // Last: it may be the seal by which it does not come up.
                if let Some(hardening) = hardening {
                    hardening.undo();
                }
                Err(error)
            }
        }
    }

    /// Looks at what is marked, judges it, reads the seal back, and ends what is older.
    fn settle(&self, marked: &Marked) -> Result<Report> {
        let (mut look, facts) = self.look(&marked.record.rules, false)?;
        if self.wanted.refuse {
            refuse(self.subtree, &not_accepted(&facts, marked.record.accepted))?;
            self.subtree.refuse_newcomers()?;
        }
        let gate = || Gate::open(self.place)?.context("the gate is gone again");
        let sockets = match &mut look {
            Some(look) if marked.fresh => {
                let storage = gate()?.storage()?;
                Found::now(look, Some(storage.as_raw_fd()), marked.number, true)?
            }
            _ => Found::default(),
        };
        let seen = Seen {
            look: look.as_ref(),
            facts: &facts,
        };
        let report = self.read_back(marked, &seen)?;
        if self.wanted.full {
            refuse_gaps(&report.coverage)?;
        }
        let gate = gate()?;
        match &mut look {
            Some(look) if marked.fresh => {
                let ended = self.end_older(&gate, marked, look, &sockets)?;
                Ok(report.with_existing(ended))
            }
            Some(look) => {
                cut_exits(&gate, marked.number, look)?;
                Ok(report)
            }
            None => Ok(report),
        }
    }

    fn read_back(&self, marked: &Marked, seen: &Seen<'_>) -> Result<Report> {
        let lock = Lock::take()?;
        let gate = Gate::open(self.place)?;
        let mut gate = gate.context("the gate is gone again")?;
        if gate.number_of(&self.subtree.key()?) != Some(marked.number) {
            let what = "another airgap has lifted or replaced the seal meanwhile";
            return Err(Failure::new(what, "attach again").into());
        }
        gate.complete(marked.number, &lock)?;
        let seal = gate.seal(marked.number)?;
        let entry = self.state.entry(&self.subtree.id);
        let report = Report::with(
            &gate,
            marked.number,
            &seal,
            None,
            entry.as_ref(),
            Some(seen),
        )?;
        refuse_broken(&report, "airgap doctor says what this host can do")?;
        Ok(report)
    }

    /// Cuts and keeps the sockets that are older than the seal, and names them.
    fn end_older(
        &self,
        gate: &Gate,
        marked: &Marked,
        look: &mut Look,
        sockets: &Found,
    ) -> Result<Vec<Existing>> {
        let layers = Layers::without_frames(gate);
        let terms = Terms {
            audit: false,
            keep: self.wanted.keeps(),
            ports: &marked.record.rules.ports,
            layers,
        };
        let tell = |peer: &Existing| (self.show.peer)(&self.subtree.name, peer);
        let mut ended = older_sockets::settle(gate, marked.number, look, sockets, &terms, tell);
        let carried = older_sockets::carried_in(look, layers, true);
        carried.iter().for_each(tell);
        ended.extend(carried);
        // Handshakes that were under way when it was marked have ended by now.
        let storage = gate.storage()?;
        let late = Found::now(look, Some(storage.as_raw_fd()), marked.number, true)?;
        let late = late.without(sockets);
        let late = older_sockets::settle(gate, marked.number, look, &late, &terms, tell);
        ended.extend(late);
        Ok(ended)
    }
}

/// Nobody looks after addresses of names for it.
pub(crate) fn refuse_names<'a>(mut named: impl Iterator<Item = &'a To>) -> Result<()> {
    let Some(to) = named.find(|to| to.target.net().is_none()) else {
        return Ok(());
    };
    let what = format!("{to} leads to something by its name, which only a container can");
    let failure = Failure::new(what, "name its address in --to").with_code(exit::USAGE);
    Err(failure.into())
}

pub(crate) fn unaccepted(facts: &Facts, accepted: u64) -> Vec<Finding> {
    let mut found = judge(facts);
    found.retain(|finding| accepted & finding.risk.bit() == 0);
    found
}

/// Refuses what was found, by name.
pub(crate) fn refuse(subtree: &Subtree, found: &[Finding]) -> Result<()> {
    let who = format!("{} could leave around a seal", subtree.name);
    refuse_findings(&who, found, Finding::mend)
}
