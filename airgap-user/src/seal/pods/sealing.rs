//! Putting the seal of a pod in force, and lifting it.

use std::time::Duration;

use airgap_common::{
    cgroup::container_id,
    map::{ID_LEN, SealNumber},
};
use anyhow::{Context as _, Result};

use crate::{
    container::{Look, interfaces_of},
    failure::Failure,
    gate::{Gate, Lock, Next, Place, Reading, UnderWay},
    host::netns::Netns,
    preflight::{Facts, judge},
    seal::{
        Existing,
        recorded::{seal_id, seal_running},
    },
    state::{Entry, Record, State},
    subtree::Subtree,
};

/// A pod may be looked at so long: its runtime waits.
const LOOK: Duration = Duration::from_millis(500);

/// Puts a record in force, with all that runs below its cgroup; whether it was not before. On
/// an error everything is as before.
///
/// # Errors
/// If record or gate cannot be written.
pub(super) fn put(
    place: &Place,
    state: &State,
    record: &Record,
    network: Option<&Netns>,
    tell: fn(&str, &Existing),
) -> Result<bool> {
    let _under_way = UnderWay::begin(&record.id)?;
    let lock = Lock::take()?;
    let key: [u8; ID_LEN] = record.id.as_bytes().try_into()?;
    let next = match &record.cgroup {
        Some(path) => Next::At(place.cgroup.join(path.trim_start_matches('/'))),
        None => Next::Anywhere,
    };
    let mut gate = Gate::arm_for(&next, network, &Reading::default(), place, &lock)?;
    let earlier = state.raw(&record.id)?;
    // It may be elsewhere now, where it was made anew.
    if let Some(number) = gate.number_of(&key)
        && gate.path_of(number)? != record.cgroup
    {
        gate.unseal(&[number], &lock)?;
    }
    let fresh = gate.number_of(&key).is_none();
    // First of all: from here on a reboot comes up sealed, whatever happens.
    let done = state
        .write(record, &lock)
        .and_then(|()| in_kernel(&mut gate, record, &lock, tell));
    match done {
        Ok(()) => Ok(fresh),
        Err(error) => {
            if fresh && let Some(number) = gate.number_of(&key) {
                gate.unseal(&[number], &lock)?;
            }
            state.put_back(&record.id, earlier.as_deref(), &lock)?;
            Err(error)
        }
    }
}

fn in_kernel(
    gate: &mut Gate,
    record: &Record,
    lock: &Lock,
    tell: fn(&str, &Existing),
) -> Result<()> {
    let entry = Entry::Known(record.clone());
    let sealed = seal_id(gate, &entry, lock)?;
    let path = record.cgroup.as_deref().context("a pod has a cgroup")?;
    if let Some(cgroup) = Subtree::at(&gate.place().cgroup, path).cgroup {
        seal_running(gate, &entry, sealed, &cgroup, lock, tell)?;
        free_denied(gate, sealed.number, path, lock)?;
    }
    gate.complete(sealed.number, lock)
}

/// Containers that quarantine has denied everything, as nobody had judged them, are under the
/// pod's seal from now on.
fn free_denied(gate: &mut Gate, number: SealNumber, path: &str, lock: &Lock) -> Result<()> {
    let denied = gate.quarantined()?;
    if denied.is_empty() {
        return Ok(());
    }
    let root = gate.place().cgroup.clone();
    let below = root.join(path.trim_start_matches('/'));
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if container_id(&name).is_none() {
            continue;
        }
        let its = Subtree::at(&root, &format!("{path}/{name}")).cgroup;
        if let Some(cgroup) = its.filter(|cgroup| denied.contains(&cgroup.id)) {
            gate.seal_cgroup(number, &cgroup, lock)?;
        }
    }
    Ok(())
}

/// Looks at all that runs of a pod, guards interfaces that have come, and refuses what leads
/// around its seal and was not accepted. `runtime`: of its runtime class; `starting`: a process
/// that waits to become a program of its.
///
/// # Errors
/// With all that was found.
pub(super) fn refuse_found(
    place: &Place,
    record: &Record,
    runtime: &str,
    starting: Option<u32>,
) -> Result<()> {
    let path = record.cgroup.as_deref().context("a pod has a cgroup")?;
    let cgroup = Subtree::at(&place.cgroup, path).cgroup;
    let running = cgroup.filter(|cgroup| cgroup.first_process().is_some());
    let mut look = running.map(|cgroup| Look::within_time(vec![cgroup], LOOK, starting));
    let mut facts = Facts::of_pod(look.as_mut(), &record.rules);
    facts.runtime = Some(runtime.to_owned()).filter(|runtime| !runtime.is_empty());
    if let Some(look) = &look {
        let interfaces = interfaces_of(&look.networks)?;
        let lock = Lock::take()?;
        let gate = Gate::open(place)?;
        let mut gate = gate.context("the gate is gone again")?;
        let number = gate.number_of(record.id.as_bytes().try_into()?);
        gate.guard_frames(
            number.context("its seal is gone again")?,
            &interfaces,
            &lock,
        )?;
    }
    let mut found = judge(&facts);
    found.retain(|finding| record.accepted & finding.risk.bit() == 0);
    if found.is_empty() {
        return Ok(());
    }
    let named = found.iter().map(|f| format!("{} ({})", f.what, f.risk));
    let named: Vec<_> = named.collect();
    let mut mends: Vec<_> = found.iter().map(|f| f.mend()).collect();
    mends.sort_unstable();
    mends.dedup();
    Err(Failure::new(
        format!("it could leave around a seal: {}", named.join("; ")),
        format!(
            "{}; or accept it by name in airgap.dev/accept, where the node lets it",
            mends.join("; ")
        ),
    )
    .into())
}

/// Lifts a seal, and forgets it.
///
/// # Errors
/// If gate or record cannot be written.
pub(super) fn lift(place: &Place, state: &State, id: &str) -> Result<()> {
    let lock = Lock::take()?;
    if let Some(mut gate) = Gate::open(place)?
        && let Some(number) = gate.number_of(id.as_bytes().try_into()?)
    {
        gate.unseal(&[number], &lock)?;
    }
    // The gate stays: the next pod is not to wait for it.
    state.remove([id], &lock)
}
