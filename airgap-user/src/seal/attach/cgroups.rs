//! Marking the cgroups of a container: from then on its seal is in force there.

use std::{path::Path, time::Duration};

use airgap_common::map::SealNumber;
use anyhow::Result;

use crate::{
    container::{Budget, Cgroup, Container, find_cgroups, interfaces_of, locate, own_networks},
    gate::{Gate, Lock, Next, Place, Reading, Sealed},
};

/// Time to find the networks whose frames are guarded at once; more are found later.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Where a container is to be sealed; one that does not run may come anywhere.
pub(crate) fn next_of(place: &Place, container: &Container) -> Next {
    let live = container
        .pid
        .and_then(|pid| locate(&place.cgroup, &container.id, pid).ok());
    live.map_or(Next::Anywhere, |cgroup| Next::At(cgroup.path))
}

/// Once it is sealed the hooks may be attached to less than the root. It holds either way.
pub(crate) fn attach_where_needed(gate: &mut Gate, kernel: &Reading, lock: &Lock) {
    let done = match gate.is_apart() {
        // Where its cgroup is was seen to before.
        Ok(true) => Ok(false),
        Ok(false) => gate.attach_where_needed(kernel, lock),
        Err(error) => Err(error),
    };
    match done {
        Ok(false) => {}
        Ok(true) => log::debug!("the hooks are attached to single cgroups now"),
        Err(error) => log::warn!("the hooks stay attached to the root: {error:#}"),
    }
}

/// Marks the cgroups that exist, and guards their interfaces. From the id on the kernel
/// marks each new one, so what is there now is all that is left to do.
pub(crate) fn mark_cgroups(
    gate: &mut Gate,
    number: SealNumber,
    container: &Container,
    lock: &Lock,
) -> Result<()> {
    let root = gate.place().cgroup.clone();
    let first = container
        .pid
        .map(|pid| (pid, locate(&root, &container.id, pid)));
    let mut marked: Vec<Cgroup> = Vec::new();
    // The engine's own number first: the rest of the tree may be large.
    if let Some((_, Ok(cgroup))) = &first {
        mark_one(gate, number, cgroup, lock)?;
        marked.push(cgroup.clone());
    }
    for cgroup in find_cgroups(&root, &container.id) {
        if !marked.contains(&cgroup) {
            mark_one(gate, number, &cgroup, lock)?;
            marked.push(cgroup);
        }
    }
    if let Some((pid, Err(error))) = first
        && marked.is_empty()
        && Path::new(&format!("/proc/{pid}")).exists()
    {
        // It runs, and nowhere where it could be sealed.
        return Err(error);
    }
    guard_at_once(gate, number, container, &marked, lock)
}

/// Marks what an audit that comes back has of cgroups: it has a new number, and they went
/// with the old one.
pub(crate) fn again(
    gate: &mut Gate,
    sealed: Sealed,
    container: &Container,
    lock: &Lock,
) -> Result<()> {
    if sealed.renewed {
        return Ok(());
    }
    mark_cgroups(gate, sealed.number, container, lock)?;
    gate.complete(sealed.number, lock)
}

/// One that has ended meanwhile needs no mark.
fn mark_one(gate: &mut Gate, number: SealNumber, cgroup: &Cgroup, lock: &Lock) -> Result<()> {
    match gate.seal_cgroup(number, cgroup, lock) {
        Err(_) if !cgroup.path.exists() => Ok(()),
        done => {
            done?;
            log::debug!("{} is marked", cgroup.path.display());
            Ok(())
        }
    }
}

/// Frames of the namespace that the engine made, and of those that a short look finds.
fn guard_at_once(
    gate: &mut Gate,
    number: SealNumber,
    container: &Container,
    cgroups: &[Cgroup],
    lock: &Lock,
) -> Result<()> {
    if container.pid.is_none() {
        return Ok(());
    }
    let networks = own_networks(container.sandbox(), cgroups, &mut Budget::of(AT_ONCE));
    let found = match interfaces_of(&networks) {
        Ok(found) => found,
        // Tried again after the look, which says what is not known.
        Err(error) => {
            log::debug!("interfaces are not known yet: {error:#}");
            return Ok(());
        }
    };
    match gate.guard_frames(number, &found, lock) {
        Err(_) if cgroups.iter().all(|cgroup| !cgroup.path.exists()) => Ok(()),
        done => done,
    }
}
