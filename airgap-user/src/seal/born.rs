//! The seal of a container that is about to begin, of which nothing is known but that it asks
//! for one: no service port, until its labels or an attach say what it may do.

use anyhow::{Context as _, Result};

use super::attach::cgroups::mark_cgroups;
use crate::{
    container::Container,
    gate::{Gate, Lock, Sealing},
    host::clock::now,
    policy::Rules,
    state::{Origin, Record, State},
};

/// Seals it, recorded first. On an error there is no seal, and no record.
///
/// # Errors
/// If record or gate cannot be written.
pub(crate) fn shut(
    mut gate: Gate,
    state: &State,
    container: &Container,
    engine: String,
    lock: &Lock,
) -> Result<()> {
    let id = &container.id;
    let record = Record {
        id: id.clone(),
        name: id.get(..12).unwrap_or(id).to_owned(),
        engine,
        rules: Rules::NOTHING,
        accepted: 0,
        since: now(),
        by: Origin::Label,
        withdrawn: Vec::new(),
        by_hand: 0,
        cgroup: None,
    };
    state.write(&record, lock)?;
    let key = container.key()?;
    let sealed = gate.seal_id(
        &Sealing {
            id: &key,
            name: &record.name,
            policy: record.rules.compile_in(false),
            clients: &[],
            exits: &[],
            accepted: 0,
            since: record.since,
        },
        lock,
    );
    let done = sealed.and_then(|sealed| {
        mark_cgroups(&mut gate, sealed.number, container, lock)?;
        // Nothing of it has run: there is nothing older to judge.
        gate.complete(sealed.number, lock)
    });
    if let Err(error) = done {
        // It does not start: what could be left of its seal is nobody's.
        lift(gate, state, id, lock)?;
        return Err(error);
    }
    Ok(())
}

/// Lifts a seal, and forgets it.
///
/// # Errors
/// If gate or record cannot be written.
pub(crate) fn lift(mut gate: Gate, state: &State, id: &str, lock: &Lock) -> Result<()> {
    let key = id.as_bytes().try_into().context("it is no container id")?;
    if let Some(number) = gate.number_of(key) {
        gate.unseal(&[number], lock)?;
    }
    gate.disarm_if_idle(lock)?;
    state.remove([id], lock)
}
