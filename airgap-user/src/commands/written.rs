//! What policy files make of one container.

use anyhow::Result;

use super::{
    exit_change::ExitChange,
    wanted::{Site, Wanted},
};
use crate::{
    config::{Policies, Written},
    container::{Container, Engine},
    labels::{self, Asked, Limits, Terms},
    preflight::Surroundings,
    state::{Entry, Origin},
};

/// What is written of it, if anything is.
///
/// # Errors
/// If several files mean it, or it is not known whether one does.
pub(super) async fn written<'a>(
    policies: &'a Policies,
    engine: &Engine,
    container: &Container,
) -> Result<Option<&'a Written>> {
    if policies.is_empty() {
        return Ok(None);
    }
    let image = engine.image_labels(container).await;
    Ok(policies.of(&container.name, &container.labels(), image.as_ref())?)
}

/// The seal as it is written, beside what `airgap allow` opened: for an operator who asks
/// for it.
pub(super) fn wanted(site: &Site<'_>, container: &Container, written: &Written) -> Wanted {
    let before = match site.state.entry(&container.id) {
        Some(Entry::Known(record)) => record.rules.exits,
        _ => Vec::new(),
    };
    Wanted {
        rules: written.rules_beside(&before),
        ports_named: true,
        from_named: true,
        exits: ExitChange::Replace,
        accept: written.accept.clone(),
        accept_alone: true,
        full: false,
        refuse: true,
        by: Origin::Operator,
    }
}

/// What a container is to be without an operator's command: what is written of it, or else
/// what its labels ask for; with where that is written. `None`: nothing asks for a seal.
///
/// Where it is not known which file counts, nothing is allowed, and a seal that stands stays.
pub(super) async fn asked(
    policies: &Policies,
    limits: &Limits,
    engine: &Engine,
    container: &Container,
) -> Option<(Terms, String)> {
    match written(policies, engine, container).await {
        Ok(None) => {}
        Ok(Some(written)) => return Some((terms(container, written), written.place())),
        Err(error) => return Some((Terms::closed(error.to_string()), "policy files".to_owned())),
    }
    let image = engine.image_labels(container).await;
    match labels::read(&container.labels(), image.as_ref(), limits) {
        Asked::Nothing => None,
        Asked::Seal(terms) => {
            let terms = around(terms, container, "airgap.to=", "airgap.accept=");
            Some((terms, "its label".to_owned()))
        }
    }
}

/// As it is written, for `airgap watch`, which seals whatever is found.
fn terms(container: &Container, written: &Written) -> Terms {
    let terms = Terms {
        rules: written.rules.clone(),
        accept: written.accept.clone(),
        wrong: Vec::new(),
        ignored: Vec::new(),
        in_doubt: false,
    };
    around(terms, container, "to ", "accept = ")
}

/// Without the exceptions that lead where nothing accepts it.
fn around(terms: Terms, container: &Container, to: &str, accept: &str) -> Terms {
    match terms.rules.exits.is_empty() {
        true => terms,
        false => terms.within(&Surroundings::of(container), to, accept),
    }
}
