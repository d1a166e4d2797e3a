//! What is there already, before a change.

use anyhow::Result;

use super::wanted::Site;
use crate::{
    container::Container,
    gate::{Gate, Lock, Place, Standing},
    policy::Rules,
    state::{Entry, Origin, State},
};

/// What its seal or its record allows already; `None`: it has neither.
pub(crate) fn rules_before(site: &Site<'_>, container: &Container) -> Result<Option<Rules>> {
    let _lock = Lock::take()?;
    let standing = in_force(site.place, container)?.map(|standing| standing.rules());
    Ok(standing.or_else(|| match site.state.entry(&container.id) {
        Some(Entry::Known(record)) => Some(record.rules),
        _ => None,
    }))
}

/// Risks that the container's seal or its record has accepted.
pub(crate) fn accepted_before(place: &Place, state: &State, container: &Container) -> Result<u64> {
    let lock = Lock::take()?;
    Gate::clear_remains(place, &lock)?;
    Ok(
        match (in_force(place, container)?, state.entry(&container.id)) {
            (_, Some(Entry::Known(record))) if record.by == Origin::Label => {
                record.accepted_by_operator()
            }
            (Some(standing), _) => standing.accepted,
            (None, Some(Entry::Known(record))) => record.accepted,
            _ => 0,
        },
    )
}

/// All risks that it has accepted, whoever accepted them; none: it has no seal.
pub(crate) fn accepted_in_force(site: &Site<'_>, container: &Container) -> Result<u64> {
    let _lock = Lock::take()?;
    if let Some(standing) = in_force(site.place, container)? {
        return Ok(standing.accepted);
    }
    Ok(match site.state.entry(&container.id) {
        Some(Entry::Known(record)) => record.accepted,
        _ => 0,
    })
}

pub(crate) fn in_force(place: &Place, container: &Container) -> Result<Option<Standing>> {
    match Gate::open(place)? {
        Some(gate) => gate.standing(&container.key()?),
        None => Ok(None),
    }
}
