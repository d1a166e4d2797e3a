//! What policy files and labels make of one container.

use anyhow::Result;

use super::{
    exit_change::ExitChange,
    wanted::{Site, Wanted},
};
use crate::{
    config::{Ceilings, Policies, Written},
    container::{Container, Engine},
    labels::{self, Asked, Limits, Terms},
    policy::{Exception, Rules},
    preflight::{Risk, Surroundings, judge_exits},
    state::{Entry, Origin},
};

/// What is written of it, if anything is.
///
/// # Errors
/// If several files mean it, or it is not known whether one does.
pub(crate) async fn written<'a>(
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
pub(crate) fn wanted(
    site: &Site<'_>,
    container: &Container,
    written: &Written,
    ceilings: &Ceilings,
) -> Wanted {
    let (before, accepted) = match site.state.entry(&container.id) {
        Some(Entry::Known(record)) => (record.rules.exits, record.accepted),
        _ => (Vec::new(), 0),
    };
    let mut beside = written.beside(&before);
    let around = Surroundings::of(container);
    // One that cannot be followed is refused, and not taken for what it holds.
    if ceilings.wrong().is_none() {
        beside.retain(|exit| {
            let above = above(exit, &around, ceilings);
            for line in &above {
                let name = &container.name;
                log::warn!("{name}: above this host's ceiling, and not renewed: {line}");
            }
            above.is_empty()
        });
    }
    // What they were allowed with stays accepted, and for them alone.
    let of_file = judge_exits(&written.rules.exits, &around);
    let mut accept = written.accept.clone();
    for found in judge_exits(&beside, &around) {
        let by_file = of_file.iter().any(|one| one.risk == found.risk);
        let known = accepted & found.risk.bit() != 0 && !accept.contains(&found.risk);
        if known && !by_file {
            accept.push(found.risk);
        }
    }
    let mut rules = written.rules.clone();
    rules.exits.extend(beside);
    Wanted {
        rules,
        ports_named: true,
        from_named: true,
        exits: ExitChange::Replace,
        accept,
        accept_alone: true,
        full: false,
        refuse: true,
        by: Origin::Operator,
        ceilings: ceilings.clone(),
    }
}

/// What of an exception, and of the risks that it has, is above the ceiling.
fn above(exit: &Exception, around: &Surroundings, ceilings: &Ceilings) -> Vec<String> {
    let risks = judge_exits(std::slice::from_ref(exit), around);
    let risks: Vec<_> = risks.iter().map(|found| found.risk).collect();
    let rules = Rules {
        exits: vec![exit.clone()],
        ..Rules::NOTHING
    };
    ceilings.above(&rules, Risk::set(&risks))
}

/// Without the exceptions of a seal that have a risk of `lost`, which was accepted, and is
/// above the ceiling now.
pub(crate) fn without(lost: u64, exits: &mut Vec<Exception>, container: &Container) {
    if lost & Risk::OF_EXITS == 0 {
        return;
    }
    let around = Surroundings::of(container);
    exits.retain(|exit| {
        let found = judge_exits(std::slice::from_ref(exit), &around);
        found.iter().all(|found| lost & found.risk.bit() == 0)
    });
}

/// What a container is to be without an operator's command.
pub(crate) struct AskedFor {
    /// The seal.
    pub(crate) terms: Terms,
    /// Where that is written.
    pub(crate) place: String,
    /// In a policy file, and not in its labels.
    pub(crate) by_file: bool,
}

/// What a container is to be without an operator's command: what is written of it, or else
/// what its labels ask for, within the ceiling. `None`: nothing asks for a seal.
///
/// Where it is not known which file counts, nothing is allowed, and a seal that stands stays.
pub(crate) async fn asked(
    policies: &Policies,
    (limits, ceilings): (&Limits, &Ceilings),
    engine: &Engine,
    container: &Container,
) -> Option<AskedFor> {
    let by_file = |terms, place| {
        Some(AskedFor {
            terms,
            place,
            by_file: true,
        })
    };
    match written(policies, engine, container).await {
        Ok(None) => {}
        Ok(Some(written)) => {
            let terms = capped(terms(written), ceilings, ["", " = "]);
            let terms = around(terms, container, "to ", "accept = ");
            return by_file(terms, written.place());
        }
        Err(error) => {
            return by_file(Terms::closed(error.to_string()), "policy files".to_owned());
        }
    }
    let image = engine.image_labels(container).await;
    match labels::read(&container.labels(), image.as_ref(), limits) {
        Asked::Nothing => None,
        Asked::Seal(terms) => {
            // First: an exception goes with the risk that it has.
            let terms = capped(terms, ceilings, ["airgap.", "="]);
            Some(AskedFor {
                terms: around(terms, container, "airgap.to=", "airgap.accept="),
                place: "its label".to_owned(),
                by_file: false,
            })
        }
    }
}

/// Without what is above the ceiling, which is named.
fn capped(mut terms: Terms, ceilings: &Ceilings, [before, between]: [&str; 2]) -> Terms {
    let accept = Risk::set(&terms.accept);
    let above = ceilings.above(&terms.rules, accept);
    // What stands is not taken back because of a typing error.
    terms.in_doubt |= ceilings.wrong().is_some();
    terms.ignored.extend(above.into_iter().map(|line| {
        let (key, rest) = line.split_once(' ').unwrap_or((&line, ""));
        format!("{before}{key}{between}{rest}: above this host's ceiling")
    }));
    terms.rules = ceilings.narrowed(terms.rules);
    terms.accept = Risk::of_set(ceilings.accepted(accept));
    terms
}

/// As it is written, for `airgap watch`, which seals whatever is found.
fn terms(written: &Written) -> Terms {
    Terms {
        rules: written.rules.clone(),
        accept: written.accept.clone(),
        wrong: Vec::new(),
        ignored: Vec::new(),
        in_doubt: false,
    }
}

/// Without the exceptions that lead where nothing accepts it.
fn around(terms: Terms, container: &Container, to: &str, accept: &str) -> Terms {
    match terms.rules.exits.is_empty() {
        true => terms,
        false => terms.within(&Surroundings::of(container), to, accept),
    }
}
