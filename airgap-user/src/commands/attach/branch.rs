//! `airgap attach --cgroup`: a cgroup that is no container's, sealed by its path.
//!
//! As for containers: what can be judged is judged before anything changes, then the cgroup
//! is marked, then its tasks are looked at again, and nothing is cut until all is judged.

mod asked;

use std::os::fd::AsRawFd as _;

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};

use super::{
    super::{
        existing::{self, Found, Layers, Terms, cut_exits},
        refusing::{not_accepted, refuse_gaps},
        report::Seen,
        wanted::Wanted,
    },
    Attach,
};
use asked::{bits, refuse, unaccepted, wanted};

use crate::{
    branch::{self, Branch},
    clock::now,
    container::Look,
    coverage::SealState,
    failure::{Failure, exit},
    gate::{Gate, Lock, Place, Reading, Sealing, Standing, UnderWay, mount_bpffs},
    output::{self, Detail},
    policy::{Exception, Rules},
    preflight::Facts,
    seal::{Existing, Report},
    state::{Entry, Origin, Record, State},
};

/// What is to be sealed, and where that is recorded.
struct Site<'a> {
    place: &'a Place,
    state: &'a State,
    kernel: &'a Reading,
    branch: &'a Branch,
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
pub(super) fn run(state: &State, args: &Attach, path: &str) -> Result<(Option<SealNumber>, u8)> {
    let wanted = wanted(args)?;
    let place = Place::host()?;
    let branch = Branch::named(&place.cgroup, path)?;
    let kernel = Reading::begin(&place);
    let site = Site {
        place: &place,
        state,
        kernel: &kernel,
        branch: &branch,
        wanted: &wanted,
    };
    let (rules, accepted) = site.before()?;
    let rules = wanted.rules_after(rules.as_ref());
    let accepted = accepted | bits(&wanted.accept);
    // A gate that does not stand may have hooks once it does: those are judged then.
    let (_, facts) = site.look(&rules.exits, true)?;
    refuse(&branch, &unaccepted(&facts, accepted))?;
    if args.dry_run {
        log::info!(
            "{} would be sealed, as far as can be told before: nothing was changed",
            branch.name
        );
        return Ok((None, exit::OK));
    }
    if mount_bpffs()? {
        log::info!("mounted bpffs at /sys/fs/bpf");
    }
    let report = site
        .seal()
        .with_context(|| format!("cannot seal {}", branch.name))?;
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
        Ok(match self.state.entry(&self.branch.id) {
            Some(Entry::Known(record)) => (Some(record.rules), record.accepted),
            _ => (None, 0),
        })
    }

    fn standing(&self) -> Result<Option<Standing>> {
        match Gate::open(self.place)? {
            Some(gate) => gate.standing(&self.branch.key()?),
            None => Ok(None),
        }
    }

    /// Looks at its tasks. `likely`: where no gate stands, hooks count that it would have.
    fn look(&self, exits: &[Exception], likely: bool) -> Result<(Option<Look>, Facts)> {
        let running = self.branch.cgroup.as_ref();
        let running = running.filter(|cgroup| cgroup.first_process().is_some());
        let mut look = running
            .map(|cgroup| Look::at_branch(cgroup.clone()))
            .transpose()?;
        let hooks = match Gate::open(self.place)? {
            Some(gate) => gate.security().in_force().is_some(),
            None => likely,
        };
        let facts = branch::gather(&self.place.cgroup, self.branch, look.as_mut(), hooks, exits);
        Ok((look, facts))
    }

    /// On an error everything, kernel and record, is as before.
    fn seal(&self) -> Result<Report> {
        let _under_way = UnderWay::begin(&self.branch.id)?;
        let marked = self.mark()?;
        match self.settle(&marked) {
            Ok(report) => Ok(report),
            Err(error) => {
                if let Err(more) = self.take_back(&marked) {
                    log::error!(
                        "{} stays sealed, the seal cannot be lifted again: {more:#}",
                        self.branch.name
                    );
                }
                Err(error)
            }
        }
    }

    /// Record, gate, path and cgroup, in that order.
    fn mark(&self) -> Result<Marked> {
        let lock = Lock::take()?;
        Gate::clear_remains(self.place, &lock)?;
        let earlier = self.state.raw(&self.branch.id)?;
        let recorded = match self.state.entry(&self.branch.id) {
            Some(Entry::Known(record)) => Some(record),
            _ => None,
        };
        let before = self.standing()?;
        let rules_before = before.as_ref().map(Standing::rules);
        let rules_before = rules_before.or_else(|| recorded.as_ref().map(|r| r.rules.clone()));
        let accepted = match (&before, &recorded) {
            (Some(before), _) => before.accepted,
            (None, Some(recorded)) => recorded.accepted,
            (None, None) => 0,
        };
        let record = Record {
            id: self.branch.id.clone(),
            name: self.branch.name.clone(),
            engine: String::new(),
            rules: self.wanted.rules_after(rules_before.as_ref()),
            accepted: accepted | bits(&self.wanted.accept),
            since: recorded.map_or_else(now, |record| record.since),
            by: Origin::Operator,
            withdrawn: Vec::new(),
            by_hand: 0,
            cgroup: Some(self.branch.path.clone()),
        };
        // First of all: from here on a reboot comes up sealed, whatever happens.
        let done = self.state.write(&record, &lock);
        match done.and_then(|()| self.in_kernel(&record, before.as_ref(), &lock)) {
            Ok((number, fresh)) => Ok(Marked {
                number,
                record,
                fresh,
                before,
                earlier,
            }),
            Err(error) => {
                Gate::clear_remains(self.place, &lock)?;
                self.state
                    .put_back(&self.branch.id, earlier.as_deref(), &lock)?;
                Err(error)
            }
        }
    }

    fn in_kernel(
        &self,
        record: &Record,
        before: Option<&Standing>,
        lock: &Lock,
    ) -> Result<(SealNumber, bool)> {
        let mut gate = Gate::arm_for(None, self.kernel, self.place, lock)?;
        let key = self.branch.key()?;
        let sealed = gate.seal_id(&sealing(&key, record), lock);
        let done = sealed.and_then(|sealed| {
            let marked = gate
                .seal_path(sealed.number, &self.branch.path, lock)
                .and_then(|()| match &self.branch.cgroup {
                    Some(cgroup) => match gate.seal_cgroup(sealed.number, cgroup, lock) {
                        // The kernel has marked the one that came in its place.
                        Err(_) if !cgroup.path.exists() => Ok(()),
                        done => done,
                    },
                    None => Ok(()),
                });
            match marked {
                Ok(()) => Ok(sealed),
                Err(error) if before.is_none() => {
                    gate.unseal(&[sealed.number], lock)?;
                    Err(error)
                }
                Err(error) => Err(error),
            }
        });
        match done {
            Ok(sealed) => {
                let whole = gate.seal(sealed.number)?.complete == 1;
                Ok((sealed.number, !sealed.renewed || !whole))
            }
            Err(error) => {
                if let Some(before) = before {
                    gate.seal_id(&as_before(&key, record, before), lock)?;
                }
                gate.disarm_if_idle(lock)?;
                Err(error)
            }
        }
    }

    /// Looks at what is marked, judges it, reads the seal back, and ends what is older.
    fn settle(&self, marked: &Marked) -> Result<Report> {
        let (mut look, facts) = self.look(&marked.record.rules.exits, false)?;
        refuse(self.branch, &not_accepted(&facts, marked.record.accepted))?;
        self.branch.refuse_newcomers()?;
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
        if gate.number_of(&self.branch.key()?) != Some(marked.number) {
            let what = "another airgap has lifted or replaced the seal meanwhile";
            return Err(Failure::new(what, "attach again").into());
        }
        gate.complete(marked.number, &lock)?;
        let seal = gate.seal(marked.number)?;
        let entry = self.state.entry(&self.branch.id);
        let report = Report::with(
            &gate,
            marked.number,
            &seal,
            None,
            entry.as_ref(),
            Some(seen),
        )?;
        if report.state == SealState::Broken {
            return Err(Failure::new(
                format!(
                    "the kernel does not show the seal in force: {}",
                    report.problems.join("; ")
                ),
                "airgap doctor says what this host can do",
            )
            .into());
        }
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
            keep: self.wanted.keeps(),
            ports: &marked.record.rules.ports,
            layers,
        };
        let tell = |peer: &Existing| output::peer(&self.branch.name, peer);
        let mut ended = existing::settle(gate, marked.number, look, sockets, &terms, tell);
        let carried = existing::carried_in(look, layers, true);
        carried.iter().for_each(tell);
        ended.extend(carried);
        // Handshakes that were under way when it was marked have ended by now.
        let storage = gate.storage()?;
        let late = Found::now(look, Some(storage.as_raw_fd()), marked.number, true)?;
        let late = late.without(sockets);
        let late = existing::settle(gate, marked.number, look, &late, &terms, tell);
        ended.extend(late);
        Ok(ended)
    }

    /// Lifts what `mark` has put in force, unless somebody else has taken it over since.
    fn take_back(&self, marked: &Marked) -> Result<()> {
        let lock = Lock::take()?;
        let Some(mut gate) = Gate::open(self.place)? else {
            return Ok(());
        };
        let key = self.branch.key()?;
        if gate.number_of(&key) != Some(marked.number) {
            return Ok(());
        }
        match &marked.before {
            Some(before) => {
                gate.seal_id(&as_before(&key, &marked.record, before), &lock)?;
            }
            None => {
                gate.unseal(&[marked.number], &lock)?;
                gate.disarm_if_idle(&lock)?;
            }
        }
        self.state
            .put_back(&self.branch.id, marked.earlier.as_deref(), &lock)
    }
}

fn sealing<'a>(key: &'a [u8; airgap_common::map::ID_LEN], record: &'a Record) -> Sealing<'a> {
    Sealing {
        id: key,
        name: &record.name,
        policy: record.rules.compile_on_host(),
        clients: &record.rules.clients,
        exits: &record.rules.exits,
        accepted: record.accepted,
        since: record.since,
    }
}

fn as_before<'a>(
    key: &'a [u8; airgap_common::map::ID_LEN],
    record: &'a Record,
    before: &'a Standing,
) -> Sealing<'a> {
    Sealing {
        policy: before.policy,
        clients: &before.clients,
        exits: &before.exits,
        accepted: before.accepted,
        ..sealing(key, record)
    }
}
