//! Which seal a container's name, id or prefix of an id stands for.
//!
//! A name means what the engine calls so now. What a seal was recorded under
//! counts only where the engine knows no such name, and then only for a
//! container that is gone.

mod resolve;

use airgap_common::map::{Seal, SealNumber};
use anyhow::Result;

use self::resolve::resolve;
use crate::{
    command::{PREFIX, is_command},
    container::{Container, Engine, find_cgroups},
    failure::{Failure, exit},
    gate::{Gate, Place, seal_id, seal_name},
    state::{Entry, State},
    subtree::{self, id_of, is_subtree},
    systemd::{self, PREFIX as UNIT},
};

/// A seal in force, or only recorded.
#[derive(Clone, Debug)]
pub(super) struct Known {
    id: String,
    /// Name when it was sealed.
    name: String,
    /// Socket of another engine than the one that is asked, if it has it.
    elsewhere: Option<String>,
}

/// What the engine says that a reference stands for.
#[derive(Clone, Debug)]
pub(super) enum Says {
    /// A container, with the name that it has now.
    Container { id: String, name: String },
    /// The beginning of so many ids.
    Several(usize),
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

/// What is sealed on this host, and the engine that knows what it is called.
pub(super) struct Directory {
    known: Vec<Known>,
    engine: Option<Engine>,
}

impl Directory {
    /// Does not ask the engine where nothing is sealed, or nothing is asked for.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub(super) async fn open(
        host: Option<&str>,
        seals: &[(SealNumber, Seal)],
        state: &State,
        references: &[String],
    ) -> Result<Self> {
        let entries = state.entries()?;
        let commands = known(seals, &entries, None);
        // Of a command no engine knows anything.
        let engine = match (seals.is_empty() && entries.is_empty())
            || references
                .iter()
                .all(|r| is_engineless_name(r) || engineless(&commands, r).is_some())
        {
            true => None,
            false => match Engine::connect(host).await {
                Ok(engine) => Some(engine),
                Err(error) => {
                    log::warn!(
                        "names are as recorded, and whether containers are still there is not known: {error:#}"
                    );
                    None
                }
            },
        };
        Ok(Self {
            known: known(seals, &entries, engine.as_ref()),
            engine,
        })
    }

    /// The engine, if it answers.
    pub(super) fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
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
        if let (None, Presence::There(_), Some(engine)) =
            (&meant.container, &meant.presence, &self.engine)
        {
            meant.container = engine.find(&meant.id).await.ok();
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
            log::warn!(
                "{} ('{name}' when it was sealed) is of another engine, which was not asked: --host {other}",
                short(&meant.id)
            );
        }
        Ok(meant)
    }

    async fn ask(&self, reference: &str) -> (Says, Option<Container>, Vec<Listed>) {
        let Some(engine) = &self.engine else {
            return (Says::Silent, None, Vec::new());
        };
        let asked = async {
            let found = engine.look_up(reference).await?;
            Ok::<_, anyhow::Error>((found, engine.list().await?))
        };
        let (found, listed) = match asked.await {
            Ok(found) => found,
            Err(error) => {
                log::warn!("names are as recorded: {error:#}");
                return (Says::Silent, None, Vec::new());
            }
        };
        let listed: Vec<Listed> = listed.into_iter().map(|(id, name, _)| (id, name)).collect();
        let says = match &found {
            Some(container) => Says::Container {
                id: container.id.clone(),
                name: container.name.clone(),
            },
            None => match listed.iter().filter(|l| begins(&l.0, reference)).count() {
                several @ 2.. => Says::Several(several),
                _ => Says::Nothing,
            },
        };
        (says, found, listed)
    }
}

/// The seals in force of a gate.
pub(super) fn seals_of(gate: Option<&Gate>) -> Result<Vec<(SealNumber, Seal)>> {
    gate.map_or_else(|| Ok(Vec::new()), Gate::seals)
}

fn known(seals: &[(SealNumber, Seal)], entries: &[Entry], engine: Option<&Engine>) -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    let mut add = |id: &str, name: String| {
        let entry = entries.iter().find(|entry| entry.id() == id);
        let (name, elsewhere) = match entry {
            // The kernel keeps only the beginning of a long name.
            Some(Entry::Known(record)) => {
                let other = engine.is_some_and(|e| e.is_other(&record.engine));
                (record.name.clone(), other.then(|| record.engine.clone()))
            }
            _ => (name, None),
        };
        if !known.iter().any(|k| k.id == id) {
            known.push(Known {
                id: id.to_owned(),
                name,
                elsewhere,
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

/// Whether this is an id of which no engine knows anything.
pub(super) fn is_engineless(id: &str) -> bool {
    is_command(id) || is_subtree(id)
}

/// Whether no engine has to be asked what this stands for: a name that no container can have,
/// or a whole id of what is none.
pub(super) fn is_engineless_name(reference: &str) -> bool {
    let kinds = [PREFIX, subtree::PREFIX, UNIT];
    kinds.iter().any(|kind| reference.starts_with(kind)) || is_engineless(reference)
}

/// Refuses a command, a unit or a cgroup where only a container will do.
///
/// # Errors
/// If the reference is such a name.
pub(super) fn refuse_engineless(reference: &str) -> Result<()> {
    if let Some(path) = reference.strip_prefix(subtree::PREFIX) {
        let what = format!("'{reference}' is a cgroup, and no container");
        return Err(Failure::new(what, format!("airgap attach --cgroup {path}")).into());
    }
    if let Some(unit) = reference.strip_prefix(UNIT) {
        let what = format!("'{reference}' is a unit, and no container");
        return Err(Failure::new(what, format!("airgap attach --unit {unit}")).into());
    }
    refuse_command(reference)
}

/// Refuses a command: what it may do is said when it is started.
///
/// # Errors
/// If the reference is one's name or id.
pub(super) fn refuse_command(reference: &str) -> Result<()> {
    if !reference.starts_with(PREFIX) && !is_command(reference) {
        return Ok(());
    }
    let what = format!("'{reference}' is a command, and what it may do is as it was started");
    Err(Failure::new(what, "end it, and run it again: airgap exec --help").into())
}

/// The command, the unit or the cgroup that a reference stands for: by its name, which no
/// container can have, or by its id. A unit is its cgroup's path, too; a short name is a
/// service's, or a slice's.
fn engineless<'a>(known: &'a [Known], reference: &str) -> Option<&'a Known> {
    let mut names = vec![reference.to_owned()];
    if let Some(unit) = reference.strip_prefix(UNIT) {
        let whole = [false, true].map(|slice| systemd::whole(unit, slice).ok());
        names.extend(whole.iter().flatten().map(|name| format!("{UNIT}{name}")));
    }
    let id = reference.strip_prefix(subtree::PREFIX).map(id_of);
    let its = |name: &String| {
        known
            .iter()
            .find(|known| is_engineless(&known.id) && known.name == *name)
    };
    let by_id = || {
        let ids = [Some(reference), id.as_deref()];
        let mut all = known.iter().filter(|known| is_engineless(&known.id));
        all.find(|known| ids.contains(&Some(&known.id)))
    };
    names.iter().find_map(its).or_else(by_id)
}

/// The same where the reference is another name of a unit's.
fn by_alias<'a>(known: &'a [Known], reference: &str) -> Option<&'a Known> {
    let unit = systemd::whole(reference.strip_prefix(UNIT)?, false).ok()?;
    let name = format!("{UNIT}{}", systemd::real_name(&unit)?);
    engineless(known, &name)
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
