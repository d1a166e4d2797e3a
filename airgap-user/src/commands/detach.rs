//! `airgap detach`. Needs no engine: a seal may outlive its container.

use std::collections::HashSet;

use anyhow::Result;

use super::find_seal;
use crate::{
    cli::Detach,
    failure::exit,
    gate::{Gate, Lock, Place, seal_id},
    output,
    state::{Entry, State},
};

pub(super) fn run(state: &State, args: &Detach) -> Result<u8> {
    let lock = Lock::take()?;
    let place = Place::host()?;
    Gate::clear_remains(&place, &lock)?;
    let mut gate = Gate::open(&place)?;
    let seals = match &gate {
        Some(gate) => gate.seals()?,
        None => Vec::new(),
    };
    let (mut chosen, mut recorded) = (Vec::new(), Vec::new());
    if args.all {
        recorded = state.entries()?;
        chosen.clone_from(&seals);
    }
    for reference in &args.containers {
        match find_seal(&seals, reference) {
            // With what killed runs left of it.
            Ok((_, found)) => chosen.extend(seals.iter().filter(|(_, s)| s.id == found.id)),
            Err(error) => match state.find(reference)? {
                // Recorded and not in force: there is only the record to remove.
                Some(entry) if !seals.iter().any(|(_, s)| seal_id(s) == entry.id()) => {
                    recorded.push(entry);
                }
                _ => return Err(error),
            },
        }
    }
    chosen.sort_by_key(|(number, _)| *number);
    chosen.dedup_by_key(|(number, _)| *number);
    // The kernel first: cut short, it comes up sealed after a reboot.
    if let Some(gate) = &mut gate {
        let numbers: Vec<_> = chosen.iter().map(|(number, _)| *number).collect();
        let lifted = gate.unseal(&numbers, &lock)?;
        state.remove(lifted.iter().map(|lifted| lifted.id.as_str()), &lock)?;
        let mut later = HashSet::new();
        let mut lifted: Vec<_> = lifted.iter().rev().collect();
        lifted.retain(|lifted| later.insert(&lifted.id));
        lifted.into_iter().rev().try_for_each(output::unsealed)?;
    }
    let chosen_ids: HashSet<_> = chosen.iter().map(|(_, seal)| seal_id(seal)).collect();
    recorded.retain(|entry| !chosen_ids.contains(entry.id()));
    state.remove(recorded.iter().map(Entry::id), &lock)?;
    recorded.iter().try_for_each(output::forgotten)?;
    if let Some(gate) = gate
        && gate.disarm_if_idle(&lock)?
    {
        log::info!("no container is sealed any more: the gate is gone from the kernel");
    } else if chosen.is_empty() && recorded.is_empty() {
        log::info!("no container is sealed on this host");
    }
    Ok(exit::OK)
}
