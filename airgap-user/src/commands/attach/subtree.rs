//! `airgap attach --cgroup`, `--unit`, `--slice`: a cgroup that is no container's, sealed by its path.
//!
//! As for containers: what can be judged is judged before anything changes, then the cgroup
//! is marked, then its tasks are looked at again, and nothing is cut until all is judged.

mod asked;
mod exits;
mod hardening;
mod marking;

use std::os::fd::AsRawFd as _;

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};

use super::Attach;
use crate::{
    config::{Ceilings, Config},
    container::Look,
    failure::{Failure, exit},
    gate::{Gate, Lock, Place, Reading, Standing, UnderWay, mount_bpffs},
    host::systemd::Unit,
    output::{self, Detail},
    policy::Rules,
    preflight::{Facts, Finding},
    seal::{
        Existing, Report, Seen,
        attach::{
            older_sockets::{self, Found, Layers, Terms, cut_exits},
            refusing::{not_accepted, refuse_broken, refuse_forgeable, refuse_gaps},
            wanted::Wanted,
        },
    },
    state::{Entry, Record, State},
    subtree::{self, DropIn, Service, Subtree},
};
use asked::{refuse, unaccepted, wanted};
pub(in crate::commands) use exits::change_exits;
use hardening::{closed, not_running};

/// What is to be sealed, and where that is recorded.
#[derive(Clone, Copy)]
struct Site<'a> {
    place: &'a Place,
    state: &'a State,
    kernel: &'a Reading,
    subtree: &'a Subtree,
    /// Whose cgroup it is; `None`: a path was named.
    unit: Option<&'a Unit>,
    wanted: &'a Wanted,
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

/// Seals it, says what is in force, and returns its number with the report's exit code;
/// `None` as the number: nothing was to be changed.
pub(super) fn run(
    state: &State,
    config: &Config,
    args: &Attach,
) -> Result<(Option<SealNumber>, u8)> {
    let wanted = wanted(args, Ceilings::read(config))?;
    let place = Place::host()?;
    let unit = match (&args.unit, &args.slice) {
        (Some(unit), _) => Some(Unit::named(unit, false)?),
        (None, Some(slice)) => Some(Unit::named(slice, true)?),
        (None, None) => None,
    };
    if let (true, Some(unit)) = (args.harden, unit.as_ref().filter(|unit| !unit.is_service())) {
        let what = format!(
            "{} is no service: a drop-in cannot confine what runs in it",
            unit.name
        );
        return Err(Failure::new(what, "attach without --harden").into());
    }
    let subtree = match &unit {
        Some(unit) => Subtree::of_unit(&place.cgroup, unit)?,
        None => Subtree::named(&place.cgroup, args.cgroup.as_deref().unwrap_or_default())?,
    };
    let kernel = Reading::begin(&place);
    let site = Site {
        place: &place,
        state,
        kernel: &kernel,
        subtree: &subtree,
        unit: unit.as_ref(),
        wanted: &wanted,
    };
    let (rules, accepted) = site.before()?;
    wanted.refuse_above(&subtree.name, rules.as_ref(), accepted)?;
    let rules = wanted.rules_after(rules.as_ref());
    refuse_forgeable(&rules, &subtree.name)?;
    let accepted = wanted.accepted_after(accepted);
    // A gate that does not stand may have hooks once it does: those are judged then.
    let (mut look, facts) = site.look(&rules, true)?;
    let found = unaccepted(&facts, accepted);
    if let Some(unit) = site.service(&found) {
        let service = Service::of(unit, &subtree, look.as_mut(), &rules.ports);
        let lacks = DropIn::of(unit, &found, &service);
        match (args.harden, args.dry_run) {
            (true, true) => output::raw(&lacks.text)?,
            (false, _) if !lacks.is_empty => output::lacks(&unit.name, &lacks),
            _ => {}
        }
        if args.harden && look.is_none() {
            return Err(not_running(unit).into());
        }
    }
    refuse(&subtree, &closed(&found, args.harden))?;
    if args.dry_run {
        log::info!(
            "{} would be sealed, as far as can be told before: nothing was changed",
            subtree.name
        );
        return Ok((None, exit::OK));
    }
    if mount_bpffs()? {
        log::info!("mounted bpffs at /sys/fs/bpf");
    }
    let report = site
        .seal(args.harden)
        .with_context(|| format!("cannot seal {}", subtree.name))?;
    let fresh = Detail {
        fresh: true,
        ..Detail::default()
    };
    output::report(&report, args.json, fresh)?;
    Ok((Some(report.seal), report.code()))
}

impl Site<'_> {
    /// What its seal or its record allows, and has accepted, already.
    fn before(&self) -> Result<(Option<Rules>, u64)> {
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
    fn service(&self, found: &[Finding]) -> Option<&Unit> {
        let closed = found.iter().any(DropIn::closes);
        self.unit.filter(|unit| unit.is_service() && closed)
    }

    /// Looks at its tasks, or where it has none at its unit's settings. `likely`: where no gate stands, hooks count that it would have.
    fn look(&self, rules: &Rules, likely: bool) -> Result<(Option<Look>, Facts)> {
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
    fn seal(&self, harden: bool) -> Result<Report> {
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
        let tell = |peer: &Existing| output::peer(&self.subtree.name, peer);
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
