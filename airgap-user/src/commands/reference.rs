//! Which seal a container's name, id or prefix of an id stands for.
//!
//! A name means what the engine calls so now. What a seal was recorded under
//! counts only where the engine knows no such name, and then only for a
//! container that is gone.

mod engineless;
mod resolve;

use airgap_common::map::{Seal, SealNumber};
use anyhow::Result;
use futures_util::future::join_all;

pub(super) use self::engineless::{
    is_engineless, is_engineless_name, refuse_command, refuse_engineless, refuse_pod,
};
use self::{
    engineless::{by_alias, engineless},
    resolve::resolve,
};
use crate::{
    container::{Container, Engine, Engines, Hosts, find_cgroups},
    failure::{Failure, exit},
    gate::{Gate, Place, seal_id, seal_name},
    host::systemd::PREFIX as UNIT,
    notation::shell_word,
    pod,
    preflight::Risk,
    state::{Entry, Record, State},
    subtree,
};

/// A seal in force, or only recorded.
#[derive(Clone, Debug)]
pub(super) struct Known {
    id: String,
    /// Name when it was sealed.
    name: String,
    /// Socket of another engine than those that answer, if it has it.
    elsewhere: Option<String>,
    /// What `airgap attach` takes to seal another one as this one is, as far as that is
    /// recorded; each option after a blank.
    options: String,
}

/// What the engine says that a reference stands for.
#[derive(Clone, Debug)]
pub(super) enum Says {
    /// A container, with the name that it has now.
    Container { id: String, name: String },
    /// The beginning of so many ids.
    Several(usize),
    /// A sealed container of several engines each: their ids.
    Each(Vec<String>),
    /// No container.
    Nothing,
    /// It does not answer.
    Silent,
}

/// Whether a sealed container is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Under this name.
    There(String),
    /// The engine has no such container any more.
    Gone,
    /// The engine that has it was not asked, or does not answer.
    NotKnown,
}

/// Id and name, now, of a container that the engine has.
type Listed = (String, String);

/// The container that a reference stands for, of which there is a seal or a record.
#[derive(Debug)]
pub(super) struct Meant {
    pub(super) id: String,
    pub(super) presence: Presence,
    /// The engine's whole answer, if it is there.
    pub(super) container: Option<Container>,
}

impl Meant {
    pub(super) fn is_gone(&self) -> bool {
        self.presence == Presence::Gone
    }

    /// Its name now, or else the recorded one.
    pub(super) fn name(&self, seal: &Seal) -> String {
        match &self.presence {
            Presence::There(name) => name.clone(),
            _ => seal_name(seal),
        }
    }

    /// Its seal, if one is in force. What a killed attach or detach left has a
    /// lower number than what came after.
    pub(super) fn seal(&self, seals: &[(SealNumber, Seal)]) -> Option<(SealNumber, Seal)> {
        let its = seals.iter().filter(|(_, seal)| seal_id(seal) == self.id);
        its.max_by_key(|(number, _)| *number).copied()
    }

    /// The same.
    ///
    /// # Errors
    /// If none is in force.
    pub(super) fn in_force(&self, seals: &[(SealNumber, Seal)]) -> Result<(SealNumber, Seal)> {
        self.seal(seals).ok_or_else(|| {
            let what = format!(
                "the seal of {} is recorded and not in force",
                short(&self.id)
            );
            Failure::new(what, "airgap restore")
                .with_code(exit::NOT_SEALED)
                .into()
        })
    }
}

/// What is sealed on this host, and the engines that know what it is called.
pub(super) struct Directory {
    known: Vec<Known>,
    engines: Engines,
}

impl Directory {
    /// Does not ask the engine where nothing is asked for that it could know.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub(super) async fn open(
        hosts: &Hosts,
        seals: &[(SealNumber, Seal)],
        state: &State,
        references: &[String],
    ) -> Result<Self> {
        let entries = state.entries()?;
        let commands = known(seals, &entries, &Engines::none());
        // Of a command no engine knows anything.
        let engines = match references
            .iter()
            .all(|r| is_engineless_name(r) || engineless(&commands, r).is_some())
        {
            true => Engines::none(),
            false => Engines::connect(hosts).await,
        };
        if !commands.is_empty() {
            warn_of_silent(&engines, &entries);
        }
        Ok(Self {
            known: known(seals, &entries, &engines),
            engines,
        })
    }

    /// The engine that a record names, if it answers.
    pub(super) fn engine_of(&self, recorded: &str) -> Option<&Engine> {
        self.engines.of(recorded)
    }

    /// What `reference` stands for.
    ///
    /// # Errors
    /// If that is not sealed, or not one.
    pub(super) async fn find(&self, reference: &str) -> Result<Meant> {
        let named = engineless(&self.known, reference);
        if let Some(known) = named.or_else(|| by_alias(&self.known, reference)) {
            return Ok(Meant {
                id: known.id.clone(),
                presence: Presence::There(known.name.clone()),
                container: None,
            });
        }
        if is_engineless_name(reference) {
            return Err(none_of(reference, &self.known).into());
        }
        let (says, mut container, listed) = self.ask(reference).await;
        let (id, presence) = resolve(reference, &says, &listed, &self.known)?;
        let mut meant = Meant {
            container: container.take_if(|c| c.id == id),
            id,
            presence,
        };
        if let (None, Presence::There(_)) = (&meant.container, &meant.presence) {
            let found = self.engines.by_id(&meant.id).await;
            meant.container = found.map(|(_, container)| container);
        }
        let known = self.known.iter().find(|k| k.id == meant.id);
        let (name, elsewhere) = known.map_or(("", None), |k| (&*k.name, k.elsewhere.as_deref()));
        // What runs is there, whatever an engine that lost it says.
        if meant.is_gone()
            && Place::host().is_ok_and(|place| !find_cgroups(&place.cgroup, &meant.id).is_empty())
        {
            meant.presence = Presence::NotKnown;
            log::warn!(
                "the engine does not know {} ('{name}' when it was sealed), which runs",
                short(&meant.id)
            );
        } else if meant.is_gone() {
            log::warn!(
                "the container {} ('{name}' when it was sealed) is gone; its seal stays until: airgap detach {}",
                short(&meant.id),
                short(&meant.id)
            );
        } else if let (Presence::NotKnown, Some(other)) = (&meant.presence, elsewhere) {
            let why = match self.engines.why_silent_of(other) {
                Some(error) => format!("which does not answer: {error:#}"),
                None => format!("which was not asked: --host {other}"),
            };
            log::warn!(
                "{} ('{name}' when it was sealed) is of another engine, {why}",
                short(&meant.id)
            );
        }
        Ok(meant)
    }

    async fn ask(&self, reference: &str) -> (Says, Option<Container>, Vec<Listed>) {
        if self.engines.is_empty() {
            return (Says::Silent, None, Vec::new());
        }
        let each = self.engines.iter().map(|engine| engine.look_up(reference));
        let asked = async {
            let found: Result<Vec<_>> = join_all(each).await.into_iter().collect();
            Ok::<_, anyhow::Error>((found?, self.engines.list().await?))
        };
        let (found, listed) = match asked.await {
            Ok(found) => found,
            Err(error) => {
                log::warn!("names are as recorded: {error:#}");
                return (Says::Silent, None, Vec::new());
            }
        };
        let listed = listed.into_iter().flat_map(|(_, listed)| listed);
        let listed: Vec<Listed> = listed.map(|(id, name, _)| (id, name)).collect();
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        // Of two engines' containers of one name the sealed one is meant.
        if found.len() > 1 {
            let sealed = |container: &Container| self.known.iter().any(|k| k.id == container.id);
            match found.iter().filter(|container| sealed(container)).count() {
                0 => found.truncate(1),
                _ => found.retain(sealed),
            }
        }
        let says = match found.as_slice() {
            [container] => Says::Container {
                id: container.id.clone(),
                name: container.name.clone(),
            },
            [] => match listed.iter().filter(|l| begins(&l.0, reference)).count() {
                several @ 2.. => Says::Several(several),
                _ => Says::Nothing,
            },
            each => Says::Each(each.iter().map(|container| container.id.clone()).collect()),
        };
        let found = match says {
            Says::Container { .. } => found.pop(),
            _ => None,
        };
        (says, found, listed)
    }
}

/// Says that one does not answer of which something is sealed, or that none does.
pub(super) fn warn_of_silent(engines: &Engines, entries: &[Entry]) {
    let recorded = entries.iter().filter_map(|entry| match entry {
        Entry::Known(record) if !is_engineless(&record.id) => Some(&record.engine),
        _ => None,
    });
    let mut silent = recorded.filter_map(|engine| engines.why_silent_of(engine));
    let none = || engines.why_silent().filter(|_| engines.is_empty());
    if let Some(error) = silent.next().or_else(none) {
        log::warn!(
            "names are as recorded, and whether containers are still there is not known: {error:#}"
        );
    }
}

/// The seals in force of a gate.
pub(super) fn seals_of(gate: Option<&Gate>) -> Result<Vec<(SealNumber, Seal)>> {
    gate.map_or_else(|| Ok(Vec::new()), Gate::seals)
}

/// Where a container is that none of those who answer has: of what no record tells, the one
/// that does not answer may.
fn elsewhere(engines: &Engines, recorded: Option<&str>) -> Option<String> {
    if engines.is_empty() {
        return None;
    }
    match recorded {
        Some(recorded) => engines.of(recorded).is_none().then(|| recorded.to_owned()),
        None => engines.silent().next().map(str::to_owned),
    }
}

fn known(seals: &[(SealNumber, Seal)], entries: &[Entry], engines: &Engines) -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    let mut add = |id: &str, name: String| {
        let entry = entries.iter().find(|entry| entry.id() == id);
        let (name, elsewhere, options) = match entry {
            // The kernel keeps only the beginning of a long name.
            Some(Entry::Known(record)) => (
                record.name.clone(),
                elsewhere(engines, Some(&record.engine)),
                options(record),
            ),
            _ => (name, elsewhere(engines, None), String::new()),
        };
        if !known.iter().any(|k| k.id == id) {
            known.push(Known {
                id: id.to_owned(),
                name,
                elsewhere,
                options,
            });
        }
    };
    for (_, seal) in seals.iter().rev() {
        add(&seal_id(seal), seal_name(seal));
    }
    for entry in entries {
        add(entry.id(), entry.name().to_owned());
    }
    known
}

/// What of a record `airgap attach` takes: exceptions that end are none of it.
fn options(record: &Record) -> String {
    let rules = &record.rules;
    let mut options = String::new();
    let mut add = |option: &str, value: &str| {
        options += &format!(" {option} {}", shell_word(value));
    };
    let ports: Vec<_> = rules.ports.iter().map(ToString::to_string).collect();
    if !ports.is_empty() {
        add("-p", &ports.join(","));
        for client in &rules.clients {
            add("--from", &client.to_string());
        }
    }
    for exit in rules.exits.iter().filter(|exit| exit.until.is_none()) {
        add("--to", &exit.to.to_string());
    }
    for risk in Risk::of_set(record.accepted) {
        add("--accept", risk.name());
    }
    options
}

/// No seal is of what no engine knows.
fn none_of(reference: &str, known: &[Known]) -> Failure {
    let all = known.iter().filter(|known| is_engineless(&known.id));
    let names: Vec<_> = all.map(|known| &*known.name).collect();
    let seal = match (
        reference.strip_prefix(UNIT),
        reference.strip_prefix(subtree::PREFIX),
    ) {
        (Some(unit), _) => format!("airgap attach --unit {unit}"),
        (_, Some(path)) => format!("airgap attach --cgroup {path}"),
        _ if pod::is_name(reference) => {
            "annotations of a pod's manifest ask for a seal (airgap nri)".to_owned()
        }
        _ => "a command's seal ends with it: airgap list".to_owned(),
    };
    let hint = match names.is_empty() {
        true => seal,
        false => format!("sealed: {}; {seal}", names.join(", ")),
    };
    Failure::new(format!("{reference} is not sealed"), hint).with_code(exit::NOT_SEALED)
}

fn short(id: &str) -> &str {
    &id[..12.min(id.len())]
}

fn begins(id: &str, reference: &str) -> bool {
    !reference.is_empty() && id.starts_with(reference)
}

#[cfg(test)]
mod tests;
