//! What a runtime tells of, judged: sealed, let go, or refused.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use airgap_nri::{Container, PodSandbox};
use anyhow::{Context as _, Result};

use super::{
    placing::{cgroups_of, path, refuse_elsewhere},
    sealing::{lift, put, refuse_found},
};
use crate::{
    config::{Ceilings, Config},
    container::{Cgroup, arrival::await_start, find_cgroups},
    failure::{Failure, render},
    gate::{Gate, Lock, Place},
    host::{clock::now, netns::Netns},
    labels::{Asked, Limits, Terms, read_annotations},
    pod::{id_of, name_of},
    policy::Exception,
    preflight::Risk,
    seal::Existing,
    state::{Entry, Origin, Record, State, is_id},
};

/// How long a container's first process takes to be what its program will be; its runtime
/// waits.
const START: Duration = Duration::from_millis(900);

/// Judges pods and containers.
pub(crate) struct Judge {
    pub(super) state: State,
    pub(super) place: Place,
    /// What annotations may ask for.
    pub(super) limits: Limits,
    /// Where the ceiling is.
    pub(super) config: Config,
    /// Shows what becomes of a socket that is older than the seal of a pod.
    tell: fn(&str, &Existing),
    /// The sandboxes that there are of each pod, by the id of its seal.
    pub(super) sandboxes: HashMap<String, HashSet<String>>,
    /// Those are all that there are.
    pub(super) is_told: bool,
}

impl Judge {
    pub(crate) fn new(
        state: State,
        place: Place,
        config: &Config,
        accept: &[Risk],
        tell: fn(&str, &Existing),
    ) -> Self {
        Self {
            state,
            place,
            limits: config.limits(accept),
            config: config.clone(),
            tell,
            sandboxes: HashMap::new(),
            is_told: false,
        }
    }

    /// A pod's network is there, and none of its containers; the id of its seal, if that was
    /// not in force before.
    ///
    /// # Errors
    /// Why it must not be made.
    pub(crate) fn run_pod(&mut self, pod: &PodSandbox) -> Result<Option<String>, String> {
        self.there_is(pod);
        let judged = match self.asked(pod) {
            Ok(None) => {
                stays_denied(self.not_asked(pod));
                Ok(None)
            }
            Ok(Some(terms)) => self.sealed(pod, &terms).map(Some),
            Err(error) => Err(error),
        };
        match judged {
            Ok(Some((record, fresh))) => {
                log::info!("{} is sealed by its annotations", record.name);
                Ok(fresh.then_some(record.id))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.is_gone(pod);
                Err(refusal(pod, &error))
            }
        }
    }

    /// A container is to be made.
    ///
    /// # Errors
    /// Why it must not be.
    pub(crate) fn create(
        &self,
        pod: Option<&PodSandbox>,
        container: &Container,
    ) -> Result<(), String> {
        // Its pod may have been made while nobody was asked.
        self.contained(pod, &container.id, 0, |pod, terms| {
            self.ensure(pod, terms).map(drop)
        })
    }

    /// A container's first process waits to become its program.
    ///
    /// # Errors
    /// Why it must not.
    pub(crate) fn start(
        &self,
        pod: Option<&PodSandbox>,
        container: &Container,
    ) -> Result<(), String> {
        self.contained(pod, &container.id, container.pid, |pod, terms| {
            self.starts(pod, terms, container)
        })
    }

    /// Judges a container by what its pod asks for: `sealed` does what a seal takes, and one
    /// that asks for none is let go. `pid`: of its first process; 0: there is none yet.
    fn contained(
        &self,
        pod: Option<&PodSandbox>,
        id: &str,
        pid: u32,
        sealed: impl FnOnce(&PodSandbox, &Terms) -> Result<()>,
    ) -> Result<(), String> {
        let Some(pod) = pod else { return Ok(()) };
        let judged = match self.asked(pod) {
            Ok(None) => {
                stays_denied(self.let_go(id, pid));
                Ok(())
            }
            Ok(Some(terms)) => sealed(pod, &terms),
            Err(error) => Err(error),
        };
        judged.map_err(|error| refusal(pod, &error))
    }

    fn starts(&self, pod: &PodSandbox, terms: &Terms, container: &Container) -> Result<()> {
        let record = self.ensure(pod, terms)?;
        let path = record.cgroup.as_deref().unwrap_or_default();
        // Where it is decides whether it is sealed at all.
        let pid = first_process(&self.place, container).ok_or_else(|| {
            let what = format!("the first process of {} is not found", container.id);
            Failure::new(what, "see how the runtime is told to make cgroups")
        })?;
        refuse_elsewhere(pid, path)?;
        let starting = Some(pid).filter(|pid| await_start(*pid, START));
        if starting.is_none() {
            log::warn!("{}: its process {pid} is judged as it is now", record.name);
        }
        refuse_found(&self.place, &record, &pod.runtime_handler, starting)
    }

    /// What a pod asks for; `None`: not to be sealed.
    fn asked(&self, pod: &PodSandbox) -> Result<Option<Terms>> {
        let Asked::Seal(terms) = read_annotations(&pod.annotations, &self.limits) else {
            return Ok(None);
        };
        let not: Vec<_> = terms.wrong.iter().chain(&terms.ignored).cloned().collect();
        if !not.is_empty() {
            let hint = "write them anew in its manifest: docs/fleets.md";
            return Err(Failure::new(not.join("; "), hint).into());
        }
        refuse_names(&terms.rules.exits)?;
        let ceilings = Ceilings::read(&self.config);
        ceilings.refuse(&terms.rules, &terms.accept)?;
        Ok(Some(terms))
    }

    /// Seals a pod, and judges it; its record, and whether it was not sealed before. One that
    /// is refused is as before.
    fn sealed(&self, pod: &PodSandbox, terms: &Terms) -> Result<(Record, bool)> {
        let record = self.record(pod, terms)?;
        let fresh = self.put(&record, pod.pid)?;
        match refuse_found(&self.place, &record, &pod.runtime_handler, None) {
            Ok(()) => Ok((record, fresh)),
            Err(error) => {
                if fresh {
                    lift(&self.place, &self.state, &record.id)?;
                }
                Err(error)
            }
        }
    }

    /// The record of a pod's seal, which it has put in force if it was not.
    fn ensure(&self, pod: &PodSandbox, terms: &Terms) -> Result<Record> {
        let record = self.record(pod, terms)?;
        if !self.is_in_force(&record)? {
            self.put(&record, pod.pid)?;
        }
        Ok(record)
    }

    pub(super) fn record(&self, pod: &PodSandbox, terms: &Terms) -> Result<Record> {
        let id = id_of(&pod.uid);
        let since = match self.state.entry(&id) {
            Some(Entry::Known(record)) => record.since,
            _ => now(),
        };
        Ok(Record {
            name: name_of(&pod.namespace, &pod.name),
            engine: String::new(),
            rules: terms.rules.clone(),
            accepted: Risk::set(&terms.accept),
            since,
            by: Origin::Label,
            withdrawn: Vec::new(),
            by_hand: 0,
            cgroup: Some(path(pod)?),
            id,
        })
    }

    pub(super) fn put(&self, record: &Record, pid: u32) -> Result<bool> {
        let network = (pid != 0).then(|| Netns::of(pid)).transpose()?;
        put(
            &self.place,
            &self.state,
            record,
            network.as_ref(),
            self.tell,
        )
    }

    /// Whether a seal is whole, and as it is to be.
    fn is_in_force(&self, record: &Record) -> Result<bool> {
        let as_recorded = |known: &Record| {
            known.rules == record.rules
                && known.accepted == record.accepted
                && known.cgroup == record.cgroup
        };
        let known = self.state.entry(&record.id);
        if !matches!(&known, Some(Entry::Known(known)) if as_recorded(known)) {
            return Ok(false);
        }
        let Some(gate) = Gate::open(&self.place)? else {
            return Ok(false);
        };
        let number = gate.number_of(record.id.as_bytes().try_into()?);
        Ok(match number {
            Some(number) => gate.seal(number)?.complete == 1,
            None => false,
        })
    }

    /// A pod that does not ask: a seal of an earlier sandbox is not its any more.
    pub(super) fn not_asked(&self, pod: &PodSandbox) -> Result<()> {
        let id = id_of(&pod.uid);
        if self.state.entry(&id).is_some() {
            let name = name_of(&pod.namespace, &pod.name);
            log::warn!("{name} asks for no seal any more, and is not sealed");
            lift(&self.place, &self.state, &id)?;
        }
        self.let_go(&pod.id, pod.pid)
    }

    /// Out of quarantine, if there is one.
    pub(super) fn let_go(&self, id: &str, pid: u32) -> Result<()> {
        if !is_id(id) {
            return Ok(());
        }
        let Some(gate) = Gate::open(&self.place)?.filter(|gate| gate.quarantine().unwrap_or(true))
        else {
            return Ok(());
        };
        drop(gate);
        let lock = Lock::take()?;
        let gate = Gate::open(&self.place)?;
        let mut gate = gate.context("the gate is gone again")?;
        let cgroups = cgroups_of(&self.place, id, pid);
        gate.let_go(id.as_bytes().try_into()?, &cgroups, &lock)?;
        Ok(())
    }

    /// While nothing is asked. Another airgap takes the gate down with the last seal, and
    /// loading it takes longer than a runtime waits; and of a pod that was not made its
    /// runtime tells no end.
    pub(crate) fn keep_ready(&self) {
        if self.is_told {
            self.forget_missing();
        }
        if self.place.pins.exists() {
            return;
        }
        let armed = Lock::take().and_then(|lock| Gate::arm(&self.place, &lock));
        if let Err(error) = armed {
            log::error!("the gate cannot be loaded: {error:#}");
        }
    }
}

/// A pod's containers share one hosts file, which is the kubelet's.
fn refuse_names(exits: &[Exception]) -> Result<()> {
    let Some(named) = exits.iter().find(|exit| exit.to.target.net().is_none()) else {
        return Ok(());
    };
    let what = format!(
        "airgap.dev/to={}: it leads to something by its name, which a pod cannot",
        named.to
    );
    Err(Failure::new(what, "name its address").into())
}

/// A process of a container: as its runtime says, or by the cgroup that has its id.
pub(super) fn first_process(place: &Place, container: &Container) -> Option<u32> {
    if container.pid != 0 {
        return Some(container.pid);
    }
    let found = find_cgroups(&place.cgroup, &container.id);
    found.iter().find_map(Cgroup::first_process)
}

/// Of what does not ask: it is made all the same.
fn stays_denied(let_go: Result<()>) {
    if let Err(error) = let_go {
        log::error!("what asks for no seal stays denied in quarantine: {error:#}");
    }
}

/// As the pod's event has it.
fn refusal(pod: &PodSandbox, error: &anyhow::Error) -> String {
    format!(
        "airgap: the pod {} asks for a seal, and cannot be sealed: {}",
        name_of(&pod.namespace, &pod.name),
        in_a_line(error)
    )
}

/// What failed, why, and what to do.
pub(super) fn in_a_line(error: &anyhow::Error) -> String {
    let (text, _) = render(error);
    let lines: Vec<_> = text.lines().collect();
    let text = lines.join("; ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}
