//! What a change took back in the end, or is itself taken back.

use anyhow::{Context as _, Result};

use super::{before::in_force, cgroups::again, marked::Marked, wanted::Site};
use crate::{
    container::Container,
    failure::Failure,
    gate::{Gate, Lock, Sealing, Standing},
    policy::Exception,
    state::Entry,
};

/// Takes out of force what was left in it until all was judged.
///
/// # Errors
/// If another airgap has replaced the seal, or a map cannot be written.
pub(crate) fn withdraw_pending(site: &Site<'_>, marked: &Marked) -> Result<()> {
    let lock = Lock::take()?;
    let gate = Gate::open(site.place)?;
    let mut gate = gate.context("the gate is gone again")?;
    let key = marked.container.key()?;
    if gate.number_of(&key) != Some(marked.number) {
        return Err(Failure::new(
            "another airgap has lifted or replaced the seal meanwhile",
            "attach again",
        )
        .into());
    }
    // As it is recorded now: another may have changed it since.
    if let Some(Entry::Known(record)) = site.state.entry(&marked.record.id) {
        gate.mend_exits(&key, Some(&record.rules.exits), &lock)?;
    }
    Ok(())
}

/// The record as it was, where the kernel is as it was, too. Where that could not be put
/// back, the record stays: it is the narrower of the two.
pub(crate) fn put_back(
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

/// Lifts what `mark` has put in force, unless somebody else has taken it over since;
/// returns `why`, with what that meant for the container.
pub(crate) fn take_back(site: &Site<'_>, marked: Marked, why: anyhow::Error) -> anyhow::Error {
    let lifted = || -> Result<bool> {
        let lock = Lock::take()?;
        let Some(mut gate) = Gate::open(site.place)? else {
            return Ok(false);
        };
        let key = marked.container.key()?;
        if gate.number_of(&key) != Some(marked.number) {
            return Ok(false);
        }
        if let Some(before) = &marked.before
            && let Some(Entry::Known(mut record)) = site.state.entry(&marked.record.id)
            && site.state.raw(&record.id)? != Some(marked.record.encode()?)
        {
            // Another has changed it since: of that only what this one added goes.
            let added = |exit: &Exception| {
                let has = |list: &[Exception]| list.iter().any(|one| one.to == exit.to);
                has(&marked.record.rules.exits) && !has(&before.exits)
            };
            record.rules.exits.retain(|exit| !added(exit));
            site.state.write(&record, &lock)?;
            gate.mend_exits(&key, Some(&record.rules.exits), &lock)?;
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
                .and_then(|sealed| again(&mut gate, sealed, &marked.container, &lock)),
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
        Ok(true) if marked.record.rules.audit => log::warn!("the audit ends again"),
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
