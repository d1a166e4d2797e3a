//! What a label's seal is to be, beside what is recorded. Pure.

use crate::{
    commands::{exit_change::ExitChange, wanted::Wanted},
    labels::Terms,
    policy::Rules,
    preflight::Risk,
    state::{Origin, Record},
};

/// What labels make of a container of which this is recorded. Pure.
pub(super) fn wanted(terms: &Terms, recorded: Option<&Record>) -> Wanted {
    // What an operator recorded, and is not in force, comes back as it was.
    if let Some(recorded) = recorded.filter(|r| r.by == Origin::Operator) {
        return Wanted {
            rules: recorded.rules.clone(),
            ports_named: false,
            from_named: false,
            exits: ExitChange::Keep,
            accept: Vec::new(),
            accept_alone: false,
            full: false,
            refuse: false,
            by: Origin::Operator,
        };
    }
    let mut rules = terms.rules.clone();
    // A container's labels never change: what once kept clients out still does.
    if let Some(recorded) = recorded
        && rules.clients.is_empty()
    {
        rules.clients.clone_from(&recorded.rules.clients);
    }
    // An operator's own word stands beside the label's.
    if let Some(recorded) = recorded {
        let mut exits = rules.exits.clone();
        // And what he took back stays so, although the label has it still.
        exits.retain(|exit| !recorded.withdrawn.contains(&exit.to));
        for allowed in recorded.rules.exits.iter().filter(|exit| exit.allowed) {
            exits.retain(|exit| exit.to != allowed.to);
            exits.push(allowed.clone());
        }
        rules.exits = exits;
    }
    Wanted {
        rules,
        ports_named: true,
        from_named: true,
        exits: ExitChange::Replace,
        accept: terms.accept.clone(),
        accept_alone: false,
        full: false,
        refuse: false,
        by: Origin::Label,
    }
}

fn bits(risks: &[Risk]) -> u64 {
    risks.iter().fold(0, |set, risk| set | risk.bit())
}

/// Whether the seal in force is the label's, or an operator's. While it is not
/// known what the image says, it stays as it is.
pub(super) fn is_as_wanted(recorded: &Record, terms: &Terms, wanted: &Wanted) -> bool {
    recorded.by == Origin::Operator
        || terms.in_doubt
        || (recorded.rules.is_within(&wanted.rules)
            && wanted.rules.is_within(&recorded.rules)
            && recorded.accepted == bits(&wanted.accept) | recorded.by_hand)
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
        told(&wanted.rules, bits(&wanted.accept))
    )
}

#[cfg(test)]
mod tests;
