//! The mark: record, gate, id, cgroups and frames, in that order, under the gate's lock.
//! Nothing here reads what the container can prolong.

use std::time::Instant;

use airgap_common::map::ID_LEN;
use anyhow::Result;

use super::{
    before::in_force,
    cgroups::{again, attach_where_needed, mark_cgroups, next_of},
    exit_change::both,
    marked::Marked,
    refusing::{refuse_forgeable, refuse_opening},
    taking_back::put_back,
    wanted::{Site, Wanted},
};
use crate::{
    container::{Container, locate},
    gate::{Gate, Lock, Place, Sealed, Sealing, Standing},
    host::clock::{self, now},
    policy::{Rules, with_room},
    preflight::Risk,
    state::{Entry, Origin, Record},
};

/// Puts a container under seal. On an error everything is as before.
///
/// # Errors
/// If record or gate cannot be written, or the container is where no seal can be.
pub(crate) fn mark(site: &Site<'_>, container: &Container, wanted: &Wanted) -> Result<Marked> {
    let lock = Lock::take()?;
    Gate::clear_remains(site.place, &lock)?;
    let earlier = site.state.raw(&container.id)?;
    let recorded = match site.state.entry(&container.id) {
        Some(Entry::Known(record)) => Some(record),
        _ => None,
    };
    let key = container.key()?;
    let mut whole = false;
    if let Some(mut gate) = Gate::open(site.place)? {
        // What a change that was cut short took back stays so.
        let exits = recorded.as_ref().map(|record| &record.rules.exits[..]);
        gate.mend_exits(&key, exits, &lock)?;
        let seal = gate.number_of(&key).map(|number| gate.seal(number));
        whole = seal.is_some_and(|seal| seal.is_ok_and(|seal| seal.complete == 1));
    }
    let before = in_force(site.place, container)?;
    // The kernel knows best; a record counts where the seal was not restored.
    let rules_before = before.as_ref().map(Standing::rules);
    let rules_before = rules_before.or_else(|| recorded.as_ref().map(|r| r.rules.clone()));
    let by_hand = wanted.exits.is_by_hand();
    let accepted_before = match (&before, &recorded) {
        // Beside what the label accepted, which is its seal's still.
        (_, Some(recorded)) if by_hand && recorded.by == Origin::Label => recorded.accepted,
        (_, Some(recorded)) if recorded.by == Origin::Label => recorded.accepted_by_operator(),
        (Some(before), _) => before.accepted,
        (None, Some(recorded)) => recorded.accepted,
        (None, None) => 0,
    };
    let accepted = wanted.accepted_after(accepted_before);
    let mut rules = wanted.rules_after(rules_before.as_ref());
    refuse_opening(&rules, rules_before.as_ref(), &container.name)?;
    refuse_forgeable(&rules, &container.name)?;
    let audit = rules.audit;
    // What is over makes room for what is not.
    rules.exits = with_room(rules.exits, clock::since_boot_nanos());
    let (withdrawn, accepted_by_hand) = match (&recorded, wanted.by) {
        (Some(recorded), Origin::Label) => (
            wanted.exits.withdrawn(
                &recorded.withdrawn,
                rules_before.as_ref().map_or(&[], |rules| &rules.exits[..]),
            ),
            recorded.by_hand
                | if by_hand {
                    Risk::set(&wanted.accept)
                } else {
                    0
                },
        ),
        _ => (Vec::new(), 0),
    };
    let standing = before.as_ref().filter(|_| whole).map(Standing::rules);
    // Where a risk is not accepted any more, it is to be seen whether it is there.
    let keeps = before.as_ref().is_none_or(|b| b.accepted & !accepted == 0);
    let narrows = standing.as_ref().is_some_and(|standing| {
        wanted.exits.is_withdrawal() || keeps && rules.is_narrower_than(standing)
    });
    let pending = standing
        .filter(|standing| wanted.refuse && !narrows && standing.audit == rules.audit)
        .and_then(|standing| both(&rules, &standing.exits));
    let recorded_cgroup = recorded.as_ref().and_then(|record| record.cgroup.clone());
    let record = Record {
        id: container.id.clone(),
        name: container.name.clone(),
        engine: site.engine.host().to_owned(),
        rules,
        accepted,
        // What was audited is sealed from now on.
        since: recorded
            .filter(|recorded| recorded.rules.audit == audit)
            .map_or_else(now, |recorded| recorded.since),
        by: wanted.by,
        withdrawn,
        by_hand: accepted_by_hand,
        cgroup: place_of(site.place, container, recorded_cgroup),
    };
    let change = Change {
        record: &record,
        rules: pending.as_ref().unwrap_or(&record.rules),
        before: before.as_ref(),
        narrows,
    };
    let torn = before.is_none() && earlier.is_some();
    let ports_by_default = !wanted.ports_named && rules_before.is_none();
    // First of all: from here on a reboot comes up sealed, whatever happens.
    let done = match site.state.write(&record, &lock) {
        Ok(()) => in_kernel(site, container, &change, &lock),
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
                narrows,
                pending,
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

fn sealing_of<'a>(key: &'a [u8; ID_LEN], record: &'a Record, rules: &'a Rules) -> Sealing<'a> {
    Sealing {
        id: key,
        name: &record.name,
        policy: rules.compile_in(Risk::share_network(record.accepted)),
        clients: &rules.clients,
        exits: &rules.exits,
        accepted: record.accepted,
        since: record.since,
    }
}

/// Where a pod's cgroup is: as the kernel says while it runs, else as Podman does. The kernel
/// marks what is made there; a container's it knows by its name.
fn place_of(place: &Place, container: &Container, recorded: Option<String>) -> Option<String> {
    let pod = container.pod.as_ref()?;
    let live = container
        .pid
        .and_then(|pid| locate(&place.cgroup, &container.id, pid).ok());
    let live = live.and_then(|cgroup| {
        let below = cgroup.path.strip_prefix(&place.cgroup).ok()?;
        Some(format!("/{}", below.to_str()?))
    });
    live.or_else(|| pod.path.clone()).or(recorded)
}

fn drop_replaced(place: &Place, lock: &Lock) -> Result<()> {
    let Some(mut gate) = Gate::open(place)? else {
        return Ok(());
    };
    gate.drop_replaced(lock).map(drop)
}

/// The seal, what was open although unjudged, and whether its sockets are to be judged.
type InForce = (Sealed, Option<Vec<u64>>, bool);

/// What is to be in force at first, and what was before.
struct Change<'a> {
    record: &'a Record,
    rules: &'a Rules,
    before: Option<&'a Standing>,
    narrows: bool,
}

fn in_kernel(
    site: &Site<'_>,
    container: &Container,
    change: &Change<'_>,
    lock: &Lock,
) -> Result<InForce> {
    // What only took back is never undone.
    let before = change.before.filter(|_| !change.narrows);
    let first = container.sandbox();
    let next = next_of(site.place, container);
    let mut gate = Gate::arm_for(&next, first.as_ref(), site.kernel, site.place, lock)?;
    let key = container.key()?;
    let sealing = sealing_of(&key, change.record, change.rules);
    let as_before = |gate: &mut Gate, before: &Standing| {
        let before = Sealing {
            policy: before.policy,
            clients: &before.clients,
            exits: &before.exits,
            accepted: before.accepted,
            ..sealing_of(&key, change.record, change.rules)
        };
        let sealed = gate.seal_id(&before, lock)?;
        again(gate, sealed, container, lock)
    };
    let open = gate.open_unjudged(sealing.id);
    let sealed = open.and_then(|open| Ok((gate.seal_id(&sealing, lock)?, open)));
    let (sealed, open) = match sealed {
        Ok(sealed) => sealed,
        Err(error) => {
            if let Some(before) = before
                && let Err(more) = as_before(&mut gate, before)
            {
                log::warn!("what was in force before cannot be put back: {more:#}");
            }
            gate.disarm_if_idle(lock)?;
            return Err(error);
        }
    };
    // One that was cut short judged no socket.
    let fresh = !sealed.renewed
        || gate
            .seal(sealed.number)
            .is_ok_and(|seal| seal.complete != 1);
    let placed = match &change.record.cgroup {
        Some(path) => gate.seal_path(sealed.number, path, lock),
        None => Ok(()),
    };
    match placed.and_then(|()| mark_cgroups(&mut gate, sealed.number, container, lock)) {
        Ok(()) => {
            attach_where_needed(&mut gate, site.kernel, lock);
            Ok((sealed, open, fresh))
        }
        // What was in force before comes back; what is new and unfinished goes.
        Err(error) if let Some(before) = before => {
            as_before(&mut gate, before)?;
            Err(error)
        }
        // It stays sealed, as it was or as it is wanted.
        Err(error) if change.before.is_some() => Err(error),
        Err(error) => {
            gate.withdraw(sealed.number, open.as_deref(), lock)?;
            gate.disarm_if_idle(lock)?;
            Err(error)
        }
    }
}
