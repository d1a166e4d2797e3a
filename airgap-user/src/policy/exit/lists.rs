//! Lists of exceptions: which of them there is room for, what two of them have in common,
//! and their form in the map. Pure.

use std::collections::BTreeMap;

use airgap_common::map::{EXCEPTIONS_PER_SEAL, Exits, SLOTS};

use super::Exception;
use crate::policy::Cidr;

/// Sorts, and leaves each destination in once: the last one counts.
///
/// # Errors
/// If there are too many, or too many hold for one address.
pub fn settled(exceptions: Vec<Exception>) -> Result<Vec<Exception>, String> {
    let mut settled: Vec<Exception> = Vec::new();
    for exception in exceptions {
        settled.retain(|other| other.to != exception.to);
        settled.push(exception);
    }
    if settled.len() > EXCEPTIONS_PER_SEAL {
        return Err(format!(
            "{} exceptions, at most {EXCEPTIONS_PER_SEAL} are possible",
            settled.len()
        ));
    }
    let numbered: Vec<_> = (1..).zip(&settled).collect();
    unions(&numbered)?;
    Ok(settled)
}

/// Those that both lists have, each until the earlier of its two ends.
pub fn narrower(standing: &[Exception], other: &[Exception]) -> Vec<Exception> {
    let both = standing.iter().filter_map(|one| {
        let same = other.iter().find(|other| other.to == one.to)?;
        Some(Exception {
            until: earlier(one.until, same.until),
            ..one.clone()
        })
    });
    both.collect()
}

/// The earlier of two ends; `None`: never.
pub fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (end, None) | (None, end) => end,
    }
}

/// Whether `exceptions` open nothing that `others` do not, nor longer.
pub fn within(exceptions: &[Exception], others: &[Exception]) -> bool {
    exceptions.iter().all(|one| {
        let same = others.iter().find(|other| other.to == one.to);
        same.is_some_and(|other| earlier(one.until, other.until) == one.until)
    })
}

/// Leaves out what is over at `now`, the boot clock's nanoseconds, where the others find
/// no room beside it: what ended first goes first.
pub fn with_room(mut exceptions: Vec<Exception>, now: u64) -> Vec<Exception> {
    loop {
        let crowded = crowded(&exceptions);
        if crowded.is_none() && exceptions.len() <= EXCEPTIONS_PER_SEAL {
            return exceptions;
        }
        let over = exceptions
            .iter()
            .enumerate()
            .filter(|(_, one)| one.is_over(now) && crowded.is_none_or(|net| holds_for(one, &net)));
        let Some((first, _)) = over.min_by_key(|(_, one)| one.until) else {
            return exceptions;
        };
        exceptions.remove(first);
    }
}

fn holds_for(exception: &Exception, net: &Cidr) -> bool {
    exception.to.net.len <= net.len && exception.to.net.overlaps(net)
}

/// A prefix for whose addresses more hold than there is room for.
fn crowded(exceptions: &[Exception]) -> Option<Cidr> {
    let mut nets = exceptions.iter().map(|one| one.to.net);
    nets.find(|net| {
        let holding = exceptions.iter().filter(|one| holds_for(one, net));
        holding.count() > SLOTS
    })
}

/// What the map holds of them: for each prefix all that hold for its addresses, as a
/// look-up finds the longest prefix alone.
///
/// # Errors
/// If more than a map value has room for hold for one address.
pub fn unions(numbered: &[(u32, &Exception)]) -> Result<Vec<(Cidr, Exits)>, String> {
    let mut prefixes = BTreeMap::new();
    for (_, exception) in numbered {
        let net = exception.to.net;
        prefixes.insert((net.addr, net.len), net);
    }
    let mut unions = Vec::new();
    for net in prefixes.into_values() {
        let holding = numbered.iter().filter(|(_, one)| holds_for(one, &net));
        let slots: Vec<_> = holding.map(|(number, one)| one.slot(*number)).collect();
        if slots.len() > SLOTS {
            return Err(format!(
                "{} exceptions hold for {net}, at most {SLOTS} are possible; write ranges of ports",
                slots.len()
            ));
        }
        let mut exits = Exits::EMPTY;
        exits.slots[..slots.len()].copy_from_slice(&slots);
        unions.push((net, exits));
    }
    Ok(unions)
}
