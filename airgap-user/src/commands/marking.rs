//! The mark: record, gate, id, cgroups and frames, in that order, under the gate's lock.
//! Nothing here reads what the container can prolong.

use std::{path::Path, time::Instant};

use airgap_common::map::SealNumber;
use anyhow::Result;

use super::sealing::{Site, Wanted, in_force, now};
use crate::{
    container::{Budget, Cgroup, Container, find_cgroups, interfaces_of, locate, own_networks},
    gate::{Gate, Lock, Place, Sealed, Sealing, Standing},
    state::{Entry, Origin, Record},
};

/// Time to find the networks whose frames are guarded at once; more are found later.
const AT_ONCE: std::time::Duration = std::time::Duration::from_millis(100);

/// A seal that is in force, and what is needed to lift it again.
pub(super) struct Marked {
    pub(super) number: SealNumber,
    pub(super) record: Record,
    /// Sockets older than it were not judged yet.
    pub(super) fresh: bool,
    /// Nobody named a port: it has the default one.
    pub(super) ports_by_default: bool,
    container: Container,
    before: Option<Standing>,
    earlier: Option<Vec<u8>>,
    open: Option<Vec<u64>>,
    since: Instant,
}

/// Puts a container under seal. On an error everything is as before.
///
/// # Errors
/// If record or gate cannot be written, or the container is where no seal can be.
pub(super) fn mark(site: &Site<'_>, container: &Container, wanted: &Wanted) -> Result<Marked> {
    let lock = Lock::take()?;
    Gate::clear_remains(site.place, &lock)?;
    let before = in_force(site.place, container)?;
    let earlier = site.state.raw(&container.id)?;
    let recorded = match site.state.entry(&container.id) {
        Some(Entry::Known(record)) => Some(record),
        _ => None,
    };
    // The kernel knows best; a record counts where the seal was not restored.
    let rules_before = before.as_ref().map(Standing::rules);
    let rules_before = rules_before.or_else(|| recorded.as_ref().map(|r| r.rules.clone()));
    let accepted_before = match (&before, &recorded) {
        (_, Some(recorded)) if recorded.by == Origin::Label => recorded.accepted_by_operator(),
        (Some(before), _) => before.accepted,
        (None, Some(recorded)) => recorded.accepted,
        (None, None) => 0,
    };
    let record = Record {
        id: container.id.clone(),
        name: container.name.clone(),
        engine: site.engine.host().to_owned(),
        rules: wanted.rules_after(rules_before.as_ref()),
        accepted: wanted.accept.iter().fold(0, |set, risk| set | risk.bit()) | accepted_before,
        since: recorded.map_or_else(now, |r| r.since),
        by: wanted.by,
    };
    let torn = before.is_none() && earlier.is_some();
    let ports_by_default = !wanted.ports_named && rules_before.is_none();
    // First of all: from here on a reboot comes up sealed, whatever happens.
    let done = match site.state.write(&record, &lock) {
        Ok(()) => in_kernel(site, container, &record, before.as_ref(), &lock),
        Err(error) => Err(error),
    };
    match done {
        Ok((sealed, open, fresh)) => {
            if torn && let Err(error) = drop_replaced(site.place, &lock) {
                log::warn!("what is left of an earlier attach is listed still: {error:#}");
            }
            Ok(Marked {
                number: sealed.number,
                record,
                fresh,
                ports_by_default,
                container: container.clone(),
                before,
                earlier,
                open,
                since: Instant::now(),
            })
        }
        Err(error) => {
            Gate::clear_remains(site.place, &lock)?;
            put_back(site, container, before.as_ref(), earlier.as_deref(), &lock);
            Err(error)
        }
    }
}

/// The record as it was, where the kernel is as it was, too. Where that could not be put
/// back, the record stays: it is the narrower of the two.
fn put_back(
    site: &Site<'_>,
    container: &Container,
    before: Option<&Standing>,
    earlier: Option<&[u8]>,
    lock: &Lock,
) {
    if in_force(site.place, container).is_ok_and(|now| now.as_ref() == before)
        && let Err(error) = site.state.put_back(&container.id, earlier, lock)
    {
        log::debug!("the record stays: {error:#}");
    }
}

/// Lifts what [`mark`] has put in force, unless somebody else has taken it over since;
/// returns `why`, with what that meant for the container.
pub(super) fn take_back(site: &Site<'_>, marked: Marked, why: anyhow::Error) -> anyhow::Error {
    let lifted = || -> Result<bool> {
        let lock = Lock::take()?;
        let Some(mut gate) = Gate::open(site.place)? else {
            return Ok(false);
        };
        let key = marked.container.key()?;
        if gate.number_of(&key) != Some(marked.number) {
            return Ok(false);
        }
        let done = match &marked.before {
            // What was in force before comes back.
            Some(before) => gate
                .seal_id(
                    &Sealing {
                        id: &key,
                        name: &marked.container.name,
                        policy: before.policy,
                        clients: &before.clients,
                        exits: &before.exits,
                        accepted: before.accepted,
                        since: marked.record.since,
                    },
                    &lock,
                )
                .map(drop),
            None => gate
                .withdraw(marked.number, marked.open.as_deref(), &lock)
                .and_then(|()| gate.disarm_if_idle(&lock))
                .map(drop),
        };
        Gate::clear_remains(site.place, &lock)?;
        put_back(
            site,
            &marked.container,
            marked.before.as_ref(),
            marked.earlier.as_deref(),
            &lock,
        );
        done.map(|()| marked.before.is_none())
    };
    match lifted() {
        Ok(true) if marked.fresh => log::warn!(
            "the seal is lifted again; for {} ms what the container called was refused",
            marked.since.elapsed().as_millis()
        ),
        Ok(_) => {}
        Err(error) => log::error!(
            "{} stays sealed, the seal cannot be lifted again: {error:#}",
            marked.container.name
        ),
    }
    why
}

fn drop_replaced(place: &Place, lock: &Lock) -> Result<()> {
    let Some(mut gate) = Gate::open(place)? else {
        return Ok(());
    };
    gate.drop_replaced(lock).map(drop)
}

/// The seal, what was open although unjudged, and whether its sockets are to be judged.
type InForce = (Sealed, Option<Vec<u64>>, bool);

fn in_kernel(
    site: &Site<'_>,
    container: &Container,
    record: &Record,
    before: Option<&Standing>,
    lock: &Lock,
) -> Result<InForce> {
    let first = container.sandbox();
    let mut gate = Gate::arm_for(first.as_ref(), site.kernel, site.place, lock)?;
    let key = container.key()?;
    let sealing = Sealing {
        id: &key,
        name: &container.name,
        policy: record.rules.compile(),
        clients: &record.rules.clients,
        exits: &record.rules.exits,
        accepted: record.accepted,
        since: record.since,
    };
    let open = gate.open_unjudged(sealing.id);
    let sealed = open.and_then(|open| Ok((gate.seal_id(&sealing, lock)?, open)));
    let (sealed, open) = match sealed {
        Ok(sealed) => sealed,
        Err(error) => {
            gate.disarm_if_idle(lock)?;
            return Err(error);
        }
    };
    // One that was cut short judged no socket.
    let fresh = !sealed.renewed
        || gate
            .seal(sealed.number)
            .is_ok_and(|seal| seal.complete != 1);
    match mark_cgroups(&mut gate, sealed.number, container, lock) {
        Ok(()) => Ok((sealed, open, fresh)),
        // What was in force before comes back; what is new and unfinished goes.
        Err(error) if let Some(before) = before => {
            gate.seal_id(
                &Sealing {
                    policy: before.policy,
                    clients: &before.clients,
                    exits: &before.exits,
                    accepted: before.accepted,
                    ..sealing
                },
                lock,
            )?;
            Err(error)
        }
        Err(error) => {
            gate.withdraw(sealed.number, open.as_deref(), lock)?;
            gate.disarm_if_idle(lock)?;
            Err(error)
        }
    }
}

/// Marks the cgroups that exist, and guards their interfaces. From the id on the kernel
/// marks each new one, so what is there now is all that is left to do.
fn mark_cgroups(
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
