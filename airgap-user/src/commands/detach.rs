//! `airgap detach`. Needs no engine for ids and for names that nobody has any
//! more: a seal may outlive its container.

mod again;

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use airgap_common::map::{Seal, SealNumber};
use anyhow::Result;
use clap::Args;

use super::{
    reference::{Directory, Meant, Presence, is_engineless, seals_of},
    standing,
};
use crate::{
    config::Config,
    container::{Engines, Hosts},
    failure::exit,
    gate::{Gate, Lock, Place, Reading, seal_id, seal_name},
    host::{systemd, units},
    names::{forget_names, has_names},
    notation::shell_word,
    output,
    seal::Denials,
    state::{Entry, State, is_id},
    subtree::{DropIn, MARK},
};

/// Arguments of `detach`.
#[derive(Args, Debug)]
pub struct Detach {
    /// Lift every seal on this host
    #[arg(long)]
    pub all: bool,
    /// Name, id or unique prefix of an id
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "CONTAINER"
    )]
    pub containers: Vec<String>,
}

pub(crate) async fn run(
    hosts: &Hosts,
    state: &State,
    config: &Config,
    args: &Detach,
) -> Result<u8> {
    // Without the lock: an engine may take its time.
    let meant = meant(hosts, state, &args.containers).await?;
    let lock = Lock::take()?;
    let place = Place::host()?;
    Gate::clear_remains(&place, &lock)?;
    let mut gate = Gate::open(&place)?;
    let seals = match &gate {
        Some(gate) => gate.seals()?,
        None => Vec::new(),
    };
    let (mut chosen, mut recorded) = (Vec::new(), Vec::new());
    let mut named = false;
    if args.all {
        recorded = state.entries()?;
        chosen.clone_from(&seals);
    }
    for meant in &meant {
        let before = chosen.len();
        // With what killed runs left of it.
        chosen.extend(seals.iter().filter(|(_, seal)| seal_id(seal) == meant.id));
        // Recorded and not in force: there is only the record to remove.
        if chosen.len() == before && !recorded.iter().any(|e: &Entry| e.id() == meant.id) {
            recorded.extend(state.entry(&meant.id));
        }
    }
    chosen.sort_by_key(|(number, _)| *number);
    chosen.dedup_by_key(|(number, _)| *number);
    // The kernel first: cut short, it comes up sealed after a reboot.
    if let Some(gate) = &mut gate {
        let numbers: Vec<_> = chosen.iter().map(|(number, _)| *number).collect();
        named = numbers.iter().any(|number| has_names(gate, *number));
        // Before its counts go, and its record.
        let own = own_attempts(gate, state, &chosen);
        let mut lifted = gate.unseal(&numbers, &lock)?;
        state.remove(lifted.iter().map(|lifted| lifted.id.as_str()), &lock)?;
        for lifted in &mut lifted {
            let now = meant.iter().find(|meant| meant.id == lifted.id);
            if let Some(Presence::There(name)) = now.map(|meant| &meant.presence) {
                lifted.name.clone_from(name);
            }
        }
        let mut later = HashSet::new();
        let mut lifted: Vec<_> = lifted.iter().rev().collect();
        lifted.retain(|lifted| later.insert(&lifted.id));
        for lifted in lifted.into_iter().rev() {
            output::unsealed(lifted, own.get(&lifted.id).copied().unwrap_or(0))?;
        }
    }
    let chosen_ids: HashSet<_> = chosen.iter().map(|(_, seal)| seal_id(seal)).collect();
    recorded.retain(|entry| !chosen_ids.contains(entry.id()));
    state.remove(recorded.iter().map(Entry::id), &lock)?;
    recorded.iter().try_for_each(output::forgotten)?;
    let names = chosen.iter().map(|(_, seal)| seal_name(seal));
    names
        .chain(recorded.iter().map(|entry| entry.name().to_owned()))
        .for_each(|name| stays(&name));
    if let Some(gate) = gate
        && gate.disarm_if_idle(&lock)?
    {
        log::info!("no container is sealed any more: the gate is gone from the kernel");
    } else if chosen.is_empty() && recorded.is_empty() {
        log::info!("no container is sealed on this host");
    }
    if let Some(mut gate) = Gate::open(&place)?
        && !chosen.is_empty()
        && gate.is_apart()?
        // It holds where it is.
        && let Err(error) = gate.attach_where_needed(&Reading::default(), &lock)
    {
        log::warn!("the hooks stay attached where they were: {error:#}");
    }
    // An engine may take its time.
    drop(lock);
    if named {
        forget_names_of(hosts, &chosen).await;
    }
    let recorded = recorded.iter().map(|entry| entry.id().to_owned());
    let mut ids: Vec<_> = chosen_ids.into_iter().chain(recorded).collect();
    ids.retain(|id| !is_engineless(id));
    ids.sort_unstable();
    again::tell(hosts, config, &ids).await;
    Ok(exit::OK)
}

/// How many of the attempts that were refused `airgap verify` made, by id: `list` and
/// `status` count none of them.
fn own_attempts(gate: &Gate, state: &State, seals: &[(SealNumber, Seal)]) -> HashMap<String, u64> {
    let mut own = HashMap::new();
    for (number, seal) in seals {
        let id = seal_id(seal);
        if let Some((_, counters)) = gate.state(*number) {
            let tried = state.own_attempts(&id, *number, seal.since);
            own.insert(id, Denials::from(&counters).without(&tried).by_verify);
        }
    }
    own
}

/// Says that what confines a service is still there: it is no part of the seal.
fn stays(name: &str) {
    let Some(unit) = systemd::unit_of(name) else {
        return;
    };
    let drop_in = DropIn::path_of(unit);
    let confines = fs::read_to_string(&drop_in).is_ok_and(|text| text.starts_with(MARK));
    // That has it wait for the restore at boot.
    let bound = Path::new("/").join(units::bound(unit).path);
    let bound = bound.to_string_lossy();
    let there = [
        confines.then_some(&*drop_in),
        Path::new(&*bound).exists().then_some(&*bound),
    ];
    let there: Vec<_> = there.into_iter().flatten().collect();
    if there.is_empty() {
        return;
    }
    let files: Vec<_> = there.iter().map(|path| shell_word(path)).collect();
    let [reload, restart] = DropIn::commands(unit);
    // Settings of what waits for what need no restart.
    let restart = if confines {
        format!("; {restart}")
    } else {
        String::new()
    };
    log::info!(
        "{} {}; to take it away: rm {}; {reload}{restart}",
        there.join(" and "),
        if there.len() == 1 { "stays" } else { "stay" },
        files.join(" ")
    );
}

/// Takes the names of their exceptions out of the hosts files of those that there are.
async fn forget_names_of(hosts: &Hosts, seals: &[(SealNumber, Seal)]) {
    let engines = Engines::connect(hosts).await;
    for (_, seal) in seals {
        if let Some((_, container)) = engines.by_id(&seal_id(seal)).await {
            forget_names(&container);
        }
    }
}

/// All of them, or none is lifted.
async fn meant(hosts: &Hosts, state: &State, references: &[String]) -> Result<Vec<Meant>> {
    let seals = seals_of(standing()?.as_ref())?;
    // What an id stands for, nobody has to be asked.
    let is_known =
        |id: &str| seals.iter().any(|(_, seal)| seal_id(seal) == id) || state.entry(id).is_some();
    let (ids, names): (Vec<String>, Vec<String>) = references
        .iter()
        .cloned()
        .partition(|reference| is_id(reference) && is_known(reference));
    let mut meant: Vec<Meant> = ids
        .into_iter()
        .map(|id| Meant {
            id,
            presence: Presence::NotKnown,
            container: None,
        })
        .collect();
    let directory = Directory::open(hosts, &seals, state, &names).await?;
    for name in &names {
        meant.push(directory.find(name).await?);
    }
    Ok(meant)
}
