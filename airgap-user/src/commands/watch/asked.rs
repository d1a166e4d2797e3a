//! What a label's seal is to be, beside what is recorded. Pure.

use crate::{
    config::Ceilings,
    labels::Terms,
    policy::{Rules, clients_of_both},
    preflight::Risk,
    seal::attach::{exit_change::ExitChange, wanted::Wanted, written::AskedFor},
    state::{Origin, Record},
};

/// What labels and files make of a container of which this is recorded. Pure.
pub(super) fn wanted(asked: &AskedFor, ceilings: &Ceilings, recorded: Option<&Record>) -> Wanted {
    let terms = &asked.terms;
    let mut wanted = Wanted {
        rules: terms.rules.clone(),
        ports_named: true,
        from_named: true,
        exits: ExitChange::Replace,
        accept: terms.accept.clone(),
        accept_alone: false,
        full: false,
        refuse: false,
        by: Origin::Label,
        ceilings: ceilings.clone(),
    };
    let Some(recorded) = recorded else {
        return wanted;
    };
    // What an operator recorded, and is not in force, comes back as it was.
    if recorded.by == Origin::Operator {
        return Wanted {
            rules: recorded.rules.clone(),
            ports_named: false,
            from_named: false,
            exits: ExitChange::Keep,
            accept: Vec::new(),
            by: Origin::Operator,
            ..wanted
        };
    }
    // A file may say more by now: that an operator looks at first (airgap apply). What was
    // sealed before anything could be known of it allows nothing.
    if asked.by_file && !recorded.rules.ports.is_empty() {
        let accepted = ceilings.accepted(recorded.accepted & !recorded.by_hand);
        return Wanted {
            rules: ceilings.narrowed(recorded.rules.clone()),
            accept: Risk::of_set(accepted),
            ..wanted
        };
    }
    // A container's labels never change: what once kept clients out still does.
    wanted.rules.clients = clients_of_both(&recorded.rules.clients, &wanted.rules.clients);
    // An operator's own word stands beside the label's, and what he took back stays so,
    // although the label has it still.
    let mut exits = wanted.rules.exits.clone();
    exits.retain(|exit| !recorded.withdrawn.contains(&exit.to));
    for allowed in recorded.rules.exits.iter().filter(|exit| exit.allowed) {
        exits.retain(|exit| exit.to != allowed.to);
        exits.push(allowed.clone());
    }
    wanted.rules.exits = exits;
    wanted.rules = ceilings.narrowed(wanted.rules);
    wanted
}

/// What a file says otherwise than a seal that stands, and only an operator puts in force.
pub(super) fn is_not_as_written(asked: &AskedFor, wanted: &Wanted, recorded: &Record) -> bool {
    let (written, has) = (&asked.terms.rules, &wanted.rules);
    let own = |rules: &Rules| {
        let mut rules = rules.clone();
        rules
            .exits
            .retain(|exit| !exit.allowed && !recorded.withdrawn.contains(&exit.to));
        rules
    };
    let (written, has) = (own(written), own(has));
    asked.by_file
        && !asked.terms.in_doubt
        && (!written.is_within(&has)
            || !has.is_within(&written)
            || Risk::set(&asked.terms.accept) != Risk::set(&wanted.accept))
}

/// Whether the seal in force is the label's, or an operator's. While it is not
/// known what the image says, it stays as it is.
pub(super) fn is_as_wanted(recorded: &Record, terms: &Terms, wanted: &Wanted) -> bool {
    recorded.by == Origin::Operator
        || terms.in_doubt
        || (recorded.rules.is_within(&wanted.rules)
            && wanted.rules.is_within(&recorded.rules)
            && recorded.accepted
                == Risk::set(&wanted.accept) | wanted.ceilings.accepted(recorded.by_hand))
}

/// What becomes another seal than it was, for the log.
pub(super) fn change(recorded: &Record, wanted: &Wanted, by: &str) -> String {
    let told = |rules: &Rules, accepted: u64| {
        let ports: Vec<_> = rules.ports.iter().map(ToString::to_string).collect();
        let clients: Vec<_> = rules.clients.iter().map(ToString::to_string).collect();
        let exits: Vec<_> = rules.exits.iter().map(|e| e.to.to_string()).collect();
        let or = |list: Vec<String>, none: &str| match list.is_empty() {
            true => none.to_owned(),
            false => list.join(", "),
        };
        let risks = Risk::names(accepted).into_iter().map(str::to_owned);
        format!(
            "ports {}, clients {}, exceptions {}, accepted {}",
            or(ports, "none"),
            or(clients, "any"),
            or(exits, "none"),
            or(risks.collect(), "none")
        )
    };
    format!(
        "the seal by {by} changes: it had {}; now {}",
        told(&recorded.rules, recorded.accepted),
        told(&wanted.rules, Risk::set(&wanted.accept))
    )
}

#[cfg(test)]
mod tests;
