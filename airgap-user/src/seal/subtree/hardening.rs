//! `attach --harden`: puts the drop-in of a service in force, and takes it away again.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{Marked, Site, marking::sealing, refuse, unaccepted};
use crate::{
    failure::Failure,
    gate::{Gate, Lock, cgroup_mount},
    host::{
        installed,
        systemd::{ANSWER, JOB, Unit, systemctl},
        units::{self, Boot},
    },
    policy::Rules,
    preflight::{Finding, Risk},
    seal::Report,
    subtree::{DropIn, MARK, Service, Subtree},
};

/// From a process of systemd's to the service's program: 0.4 s in an emulated machine.
const START: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

impl Site<'_> {
    /// Sealed already, the service starts anew under the drop-in that it lacks. `begun`: what
    /// is to be undone on an error.
    pub(super) fn harden<'a>(
        &self,
        unit: &'a Unit,
        marked: &mut Marked,
        begun: &mut Option<Hardening<'a>>,
    ) -> Result<Report> {
        let rules = &marked.record.rules;
        let (mut look, facts) = self.look(rules, false)?;
        let found = unaccepted(&facts, marked.record.accepted);
        if found.is_empty() {
            return self.settle_bound(unit, marked);
        }
        if look.is_none() {
            return Err(not_running(unit).into());
        }
        refuse(self.subtree, &closed(&found, true))?;
        let service = Service::of(unit, self.subtree, look.as_mut(), &rules.ports);
        drop(look);
        let drop_in = DropIn::of(unit, &found, &service);
        self.accept(marked, &drop_in.accept)?;
        if drop_in.is_empty {
            return self.settle_bound(unit, marked);
        }
        let hardening = Hardening::plan(unit, drop_in)?;
        (self.show.hardens)(&unit.name, &hardening.drop_in);
        begun.insert(hardening).install()?;
        let unit = Unit::named(&unit.name, false)?;
        let subtree = Subtree::of_unit(&self.place.cgroup, &unit)?;
        let site = Site {
            subtree: &subtree,
            unit: Some(&unit),
            ..*self
        };
        let report = site.settle(marked)?;
        match report.running {
            true => Ok(report),
            false => Err(ended(&unit).into()),
        }
    }

    /// What lacks nothing is not restarted; that it waits for the restore at boot needs none.
    fn settle_bound(&self, unit: &Unit, marked: &Marked) -> Result<Report> {
        log::info!("{} lacks nothing: it is not restarted", unit.name);
        let Some(bound) = bound(unit) else {
            return self.settle(marked);
        };
        let reload = || systemctl(&["--system", "daemon-reload"], JOB);
        bind(&bound, true)?;
        let report = reload()
            .map_err(Into::into)
            .and_then(|_| self.settle(marked));
        if report.is_err() {
            let undone = bind(&bound, false).and_then(|()| Ok(reload()?));
            if let Err(more) = undone {
                log::error!("/{} is still there: {more:#}", bound.path);
            }
        }
        report
    }

    /// Accepts what a drop-in closes and nobody can see closed.
    fn accept(&self, marked: &mut Marked, risks: &[Risk]) -> Result<()> {
        self.wanted.ceilings.refuse(&Rules::NOTHING, risks)?;
        let lock = Lock::take()?;
        marked.record.accepted |= Risk::set(risks);
        self.state.write(&marked.record, &lock)?;
        let gate = Gate::open(self.place)?;
        let mut gate = gate.context("the gate is gone again")?;
        let key = self.subtree.key()?;
        gate.seal_id(&sealing(&key, &marked.record), &lock)?;
        Ok(())
    }
}

/// What is left of what was found; `harden`: once a drop-in has closed what it can.
pub(crate) fn closed(found: &[Finding], harden: bool) -> Vec<Finding> {
    let left = found
        .iter()
        .filter(|found| !harden || !DropIn::closes(found));
    left.cloned().collect()
}

fn ended(unit: &Unit) -> Failure {
    let what = format!("{} has ended right after its start", unit.name);
    let hint = format!("journalctl -u {} says why", unit.name);
    Failure::new(what, hint)
}

pub(crate) fn not_running(unit: &Unit) -> Failure {
    let what = format!(
        "{} does not run: what it needs is seen from its processes",
        unit.name
    );
    let hint = format!("systemctl start {}, and attach again", unit.name);
    Failure::new(what, hint)
}

/// A drop-in that is to be in force, and what was there before.
pub(super) struct Hardening<'a> {
    unit: &'a Unit,
    drop_in: DropIn,
    earlier: Option<String>,
    /// That has it wait for the restore at boot; `None`: there is one, or no restore.
    bound: Option<units::Unit>,
}

impl<'a> Hardening<'a> {
    /// Somebody else's file is not overwritten.
    ///
    /// # Errors
    /// If there is one, or it cannot be read.
    fn plan(unit: &'a Unit, drop_in: DropIn) -> Result<Self> {
        let path = Path::new(&drop_in.path);
        let earlier = path.exists().then(|| fs::read_to_string(path)).transpose();
        let earlier = earlier.with_context(|| format!("cannot read {}", drop_in.path))?;
        if earlier.as_ref().is_some_and(|text| !text.starts_with(MARK)) {
            let what = format!("{} is there, and airgap has not written it", drop_in.path);
            return Err(Failure::new(what, "give it another name, and attach again").into());
        }
        Ok(Self {
            unit,
            drop_in,
            earlier,
            bound: bound(unit),
        })
    }

    /// Writes it, and starts the service anew under it.
    fn install(&self) -> Result<()> {
        self.write(Some(&self.drop_in.text))?;
        self.bind(true)?;
        self.apply()
    }

    /// Takes it away again, and starts the service as it was.
    pub(super) fn undo(&self) {
        let done = self.bind(false);
        let done = done.and_then(|()| self.write(self.earlier.as_deref()));
        match done.and_then(|()| self.apply()) {
            Ok(()) => log::warn!(
                "{} runs as before: {} is gone again",
                self.unit.name,
                self.drop_in.path
            ),
            Err(error) => log::error!(
                "{} is not as before ({error:#}): see to {}",
                self.unit.name,
                self.drop_in.path
            ),
        }
    }

    fn apply(&self) -> Result<()> {
        systemctl(&["--system", "daemon-reload"], JOB)?;
        systemctl(&["--system", "restart", "--", &self.unit.name], JOB).map_err(
            |mut failure| {
                failure.hint = Some(format!("journalctl -u {} says why", self.unit.name));
                failure
            },
        )?;
        let state = ["--system", "is-active", "--", &self.unit.name];
        if systemctl(&state, ANSWER).is_err() {
            return Err(ended(self.unit).into());
        }
        self.await_programs();
        Ok(())
    }

    /// Waits until its processes run what they are to run: before that they have all that
    /// systemd has. What does not come to an end is judged as it is.
    fn await_programs(&self) {
        let end = Instant::now() + START;
        while self.is_starting() && Instant::now() < end {
            thread::sleep(PAUSE);
        }
    }

    /// Whether one of its processes is still systemd's, which puts the name in brackets.
    fn is_starting(&self) -> bool {
        let at = cgroup_mount().map(|root| root.join(self.unit.path.trim_start_matches('/')));
        let procs = at
            .ok()
            .map(|at| fs::read_to_string(at.join("cgroup.procs")));
        let procs = procs.and_then(Result::ok).unwrap_or_default();
        procs.lines().any(|pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm.starts_with('(')
        })
    }

    /// Has it wait for the restore at boot, or no longer.
    fn bind(&self, bound: bool) -> Result<()> {
        self.bound.as_ref().map_or(Ok(()), |file| bind(file, bound))
    }

    fn write(&self, text: Option<&str>) -> Result<()> {
        let path = Path::new(&self.drop_in.path);
        units::put(path, text).with_context(|| format!("cannot write {}", self.drop_in.path))
    }
}

/// What has a unit wait for the restore at boot; `None`: it does, or nothing restores.
fn bound(unit: &Unit) -> Option<units::Unit> {
    // However engines stand to it.
    let restores = !matches!(installed::boot(), Boot::Missing | Boot::Disabled);
    let bound = units::bound(&unit.name);
    (restores && !Path::new("/").join(&bound.path).exists()).then_some(bound)
}

fn bind(file: &units::Unit, bound: bool) -> Result<()> {
    let path = Path::new("/").join(&file.path);
    let text = file.content.as_deref().filter(|_| bound);
    units::put(&path, text).with_context(|| format!("cannot change {}", path.display()))
}
