//! Judging one container by its labels: sealed, let go, or forgotten.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use anyhow::Result;

use super::{
    asked::{change, is_as_wanted, is_not_as_written, wanted},
    called::{called, is_old_name},
    queue::Task,
};
use crate::{
    config::{Ceilings, Config, Policies},
    container::{Container, Engine, find_cgroups},
    gate::{Gate, Lock, Place, Reading},
    labels::Limits,
    output,
    preflight::Risk,
    seal::attach::{
        sealing,
        wanted::Site,
        written::{AskedFor, asked, without},
    },
    state::{Entry, Origin, Record, State},
};

/// So often a container is looked for that has just appeared.
const EARLY: u32 = 3;

/// What judging needs, for all threads.
pub(super) struct Judge {
    host: String,
    state: State,
    place: Place,
    /// What labels may ask for.
    limits: Limits,
    /// Where policy files and ceiling are.
    config: Config,
    /// What was written when it could last be read, and wins over labels.
    policies: Mutex<Policies>,
    /// What was said of each container: once is enough.
    said: Mutex<HashMap<String, HashSet<String>>>,
}

impl Judge {
    pub(super) fn new(
        host: String,
        state: State,
        place: Place,
        limits: Limits,
        (config, policies): (Config, Policies),
    ) -> Self {
        Self {
            host,
            state,
            place,
            limits,
            config,
            policies: Mutex::new(policies),
            said: Mutex::default(),
        }
    }

    /// Does what a task asks for; whether that went well.
    pub(super) async fn judge(&self, task: &Task) -> bool {
        if task.destroyed {
            return self.forget(&task.id);
        }
        let engine = match Engine::connect(&self.host).await {
            Ok(engine) => engine,
            Err(error) => {
                let text = format!("containers cannot be judged: {error:#}");
                // Of all of them the same.
                if self.is_news("", &text) {
                    log::error!("{text}");
                }
                return false;
            }
        };
        let (name, done) = match engine.look_up(&task.id).await {
            Ok(Some(container)) => {
                let done = self.found(&engine, &container).await;
                (container.name, done)
            }
            // Its event may come before the engine can be asked about it.
            Ok(None) if task.appeared && task.failures < EARLY => return false,
            Ok(None) => return self.not_found(&engine, &task.id),
            Err(error) => (task.id.clone(), Err(error)),
        };
        let Err(error) = done else { return true };
        // Removed meanwhile: no failure.
        if engine.has(&task.id).await.is_ok_and(|there| !there) {
            return self.not_found(&engine, &task.id);
        }
        let text = format!("{name}: {error:#}; {}", self.stands(&task.id));
        if self.is_news(&task.id, &text) {
            log::error!("{text}");
        }
        false
    }

    async fn found(&self, engine: &Engine, container: &Container) -> Result<()> {
        let (policies, ceilings) = (self.policies(), Ceilings::read(&self.config));
        if let Some(wrong) = ceilings.wrong() {
            let text = format!("no exception and no risk is given: {wrong}");
            if self.is_news("", &text) {
                log::error!("{text}");
            }
        }
        let limits = (&self.limits, &ceilings);
        match asked(&policies, limits, engine, container).await {
            None => self.let_go(container),
            Some(asked) => self.seal(engine, container, &asked, &ceilings).await,
        }
    }

    /// What is written now. While a file is wrong that is what was written before: nobody
    /// knows whom the wrong one means.
    fn policies(&self) -> Policies {
        let mut known = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        match Policies::read(&self.config) {
            Ok(policies) => *known = policies,
            Err(error) => {
                let text = format!("policy files count as they were before: {error:#}");
                if self.is_news("", &text) {
                    log::error!("{text}");
                }
            }
        }
        known.clone()
    }

    async fn seal(
        &self,
        engine: &Engine,
        container: &Container,
        asked: &AskedFor,
        ceilings: &Ceilings,
    ) -> Result<()> {
        let (terms, by) = (&asked.terms, &asked.place);
        let recorded = self.recorded(&container.id);
        let mut wanted = wanted(asked, ceilings, recorded.as_ref());
        if let Some(recorded) = recorded.as_ref().filter(|r| r.by == Origin::Label) {
            let accepted = Risk::set(&wanted.accept) | ceilings.accepted(recorded.by_hand);
            let lost = recorded.accepted & !accepted;
            without(lost, &mut wanted.rules.exits, container);
        }
        if self.is_in_force(&container.id)?
            && let Some(recorded) = &recorded
        {
            if recorded.rules.audit {
                self.warn(
                    container,
                    "it is under audit by an operator, NOT SEALED, although it is to be sealed: airgap attach seals it",
                );
            }
            if recorded.by == Origin::Label && is_not_as_written(asked, &wanted, recorded) {
                self.warn(
                    container,
                    &format!("its seal stays as it was made; {by} says otherwise, and airgap apply puts that in force"),
                );
            }
            if is_as_wanted(recorded, terms, &wanted) {
                return self.note_name(recorded, &container.name);
            }
            self.warn(container, &change(recorded, &wanted, by));
        }
        for label in &terms.wrong {
            let name = called(&container.name, &container.labels());
            let text = format!("{name}: {by} allows nothing: {label}");
            if self.is_news(&container.id, &text) {
                log::error!("{text}");
            }
        }
        for label in &terms.ignored {
            self.warn(
                container,
                &format!("{by} asks for what does not count: {label}"),
            );
        }
        let site = Site {
            engine,
            place: &self.place,
            state: &self.state,
            kernel: &Reading::default(),
            tell: output::peer,
        };
        let report = sealing::seal(&site, container, &wanted).await?;
        let ports = match report.ports.is_empty() {
            true => "no service port".to_owned(),
            false => format!("ports {}", report.ports.join(", ")),
        };
        log::info!(
            "{} ({}) is sealed by {by}, {}, {ports}",
            called(&container.name, &container.labels()),
            container.id.get(..12).unwrap_or(&container.id),
            report.state.name(),
        );
        Ok(())
    }

    /// Has what Compose renamed recorded by the name that it has now.
    fn note_name(&self, recorded: &Record, now: &str) -> Result<()> {
        if recorded.by != Origin::Label || !is_old_name(&recorded.name, now) {
            return Ok(());
        }
        let lock = Lock::take()?;
        // It may have changed before the lock was there.
        let Some(mut record) = self.recorded(&recorded.id) else {
            return Ok(());
        };
        now.clone_into(&mut record.name);
        self.state.write(&record, &lock)
    }

    fn warn(&self, container: &Container, what: &str) {
        let name = called(&container.name, &container.labels());
        let text = format!("{name}: {what}");
        if self.is_news(&container.id, &text) {
            log::warn!("{text}");
        }
    }

    fn recorded(&self, id: &str) -> Option<Record> {
        match self.state.entry(id) {
            Some(Entry::Known(record)) => Some(record),
            _ => None,
        }
    }

    /// Whether the container's seal is whole.
    fn is_in_force(&self, id: &str) -> Result<bool> {
        let Some(gate) = Gate::open(&self.place)? else {
            return Ok(false);
        };
        let Ok(key) = id.as_bytes().try_into() else {
            return Ok(false);
        };
        // One that was cut short is to be finished.
        Ok(match gate.number_of(&key) {
            Some(number) => gate.seal(number)?.complete == 1,
            None => false,
        })
    }

    /// What a container is while it could not be judged.
    fn stands(&self, id: &str) -> &'static str {
        let marked = || -> Option<bool> {
            let gate = Gate::open(&self.place).ok()??;
            let key = id.as_bytes().try_into().ok()?;
            if gate.number_of(&key).is_some() {
                return Some(true);
            }
            (gate.quarantine().ok()? && !gate.is_let_go(&key)).then_some(false)
        };
        match marked() {
            Some(true) => "its seal is in force, and it is tried again",
            Some(false) => "it stays denied in quarantine, and it is tried again",
            None => {
                "if its labels ask for a seal, IT IS OPEN until that succeeds; it is tried again"
            }
        }
    }

    fn let_go(&self, container: &Container) -> Result<()> {
        let key = container.key()?;
        let lock = Lock::take()?;
        let Some(mut gate) = Gate::open(&self.place)? else {
            return Ok(());
        };
        if !gate.quarantine()? {
            return Ok(());
        }
        if gate.standing(&key)?.is_some() || gate.is_let_go(&key) {
            return Ok(());
        }
        if self.state.entry(&container.id).is_some() {
            let text = format!(
                "{} has no label, but a record of a seal that is not in force, and is not let go: airgap restore",
                container.name
            );
            if self.is_news(&container.id, &text) {
                log::error!("{text}");
            }
            return Ok(());
        }
        let cgroups = find_cgroups(&self.place.cgroup, &container.id);
        if gate.let_go(&key, &cgroups, &lock)? > 0 {
            log::info!(
                "{} has no label and is let out of quarantine",
                container.name
            );
        }
        Ok(())
    }

    /// The engine does not know it: removed while nobody watched, unless it is
    /// another engine's. What runs stays sealed, whatever an engine that lost it
    /// says.
    fn not_found(&self, engine: &Engine, id: &str) -> bool {
        let elsewhere = self
            .recorded(id)
            .is_none_or(|record| engine.is_other(&record.engine));
        if elsewhere || !find_cgroups(&self.place.cgroup, id).is_empty() {
            return true;
        }
        self.forget(id)
    }

    /// A seal that came with a label goes with its container.
    fn forget(&self, id: &str) -> bool {
        let said = || self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let forget = || -> Result<()> {
            let lock = Lock::take()?;
            if !self.recorded(id).is_some_and(|r| r.by == Origin::Label) {
                return Ok(());
            }
            if let Some(mut gate) = Gate::open(&self.place)? {
                let seals = gate.seals()?;
                let number = seals.iter().find(|(_, seal)| seal.id == *id.as_bytes());
                if let Some((number, _)) = number {
                    gate.unseal(&[*number], &lock)?;
                }
                gate.disarm_if_idle(&lock)?;
            }
            self.state.remove([id], &lock)
        };
        match forget() {
            Ok(()) => {
                said().remove(id);
                true
            }
            Err(error) => {
                let text = format!("the seal of the removed container {id} stays: {error:#}");
                if self.is_news(id, &text) {
                    log::error!("{text}");
                }
                false
            }
        }
    }

    /// Whether this was not said of the container before.
    fn is_news(&self, id: &str, text: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.entry(id.to_owned())
            .or_default()
            .insert(text.to_owned())
    }
}
