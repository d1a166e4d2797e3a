//! `airgap detach`. Needs no engine: a seal may outlive its container.

use anyhow::Result;

use super::find_seal;
use crate::{
    cli::Detach,
    failure::exit,
    gate::{Gate, Lock, Place},
    output,
};

pub(super) fn run(args: &Detach) -> Result<u8> {
    let lock = Lock::take()?;
    let place = Place::host()?;
    Gate::clear_remains(&place, &lock)?;
    let Some(mut gate) = Gate::open(&place)? else {
        for reference in &args.containers {
            find_seal(&[], reference)?;
        }
        log::info!("no container is sealed on this host");
        return Ok(exit::OK);
    };
    let seals = gate.seals()?;
    let mut chosen = if args.all {
        seals
    } else {
        let chosen: Result<Vec<_>> = args
            .containers
            .iter()
            .map(|r| find_seal(&seals, r))
            .collect();
        chosen?
    };
    chosen.sort_by_key(|(number, _)| *number);
    chosen.dedup_by_key(|(number, _)| *number);
    for (number, _) in chosen {
        output::unsealed(&gate.unseal(number, &lock)?)?;
    }
    if gate.disarm_if_idle(&lock)? {
        log::info!("no container is sealed any more: the gate is gone from the kernel");
    }
    Ok(exit::OK)
}
