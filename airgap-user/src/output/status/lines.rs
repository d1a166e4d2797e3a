//! What is shut, what may open later, what is older: one line each.

use crate::{
    coverage::{CONFIGURATION, REBOOT, Vector, When, takes_sockets},
    notation::escape,
    seal::Existing,
    technique::vector::{TCP, UDP},
};

/// Ways that are named where not all are.
const FIRST: usize = 3;

/// What cannot leave now: all of it, or the first ways and how many there are more.
pub(super) fn shut(coverage: &[Vector], in_full: bool) -> String {
    let covered = coverage.iter().filter(|vector| {
        vector.covered && vector.when == When::Now && vector.vector != CONFIGURATION
    });
    let own = takes_sockets(coverage);
    let short = |vector: &Vector| match vector.vector {
        TCP | UDP if own => format!("{} of its own sockets", vector.short()),
        _ => vector.short().to_owned(),
    };
    let ways: Vec<_> = covered.map(short).collect();
    match ways.len().saturating_sub(FIRST) {
        more @ 2.. if !in_full => {
            let first = ways[..FIRST].join(", ");
            format!("{first}, and {more} ways more (status --explain)")
        }
        _ => ways.join(", "),
    }
}

/// What somebody could do, and what to run against it.
pub(super) fn consequence(vector: &Vector) -> String {
    let effect = escape(vector.effect.as_deref().unwrap_or(vector.vector));
    match &vector.mend {
        Some(mend) => format!("{effect}; do: {}", escape(mend)),
        None => effect.into_owned(),
    }
}

/// What may open it later, each event once: what somebody could do then, until when.
pub(super) fn later(coverage: &[Vector]) -> Vec<String> {
    let mut events: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for vector in coverage
        .iter()
        .filter(|vector| !vector.covered && vector.when == When::Later)
    {
        let event = vector.event();
        if events.contains(&event) {
            continue;
        }
        events.push(event);
        let effect = escape(vector.effect.as_deref().unwrap_or(vector.vector));
        let mend = vector.mend.as_deref().map(escape);
        lines.push(match mend {
            // What a watch does, too.
            Some(mend) if vector.vector != REBOOT && mend.starts_with("airgap attach ") => {
                format!("{effect} until you run: {mend} (it changes nothing else; a running airgap watch does so itself)")
            }
            Some(mend) => format!("{effect}; do: {mend}"),
            None => effect.into_owned(),
        });
    }
    lines
}

/// How many sockets that are older than the seal became what.
pub(super) fn older(existing: &[Existing]) -> String {
    let counted = ["cut", "kept", "blocked", "open"].map(|action| {
        let count = existing.iter().filter(|e| e.action == action).count();
        (action, count)
    });
    let parts: Vec<_> = counted
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(action, count)| format!("{count} {action}"))
        .collect();
    format!(
        "sockets older than the seal: {} (each is in --json)",
        parts.join(", ")
    )
}
