//! Lists of exceptions: which of them there is room for, and what two of them have in
//! common. Pure.

use airgap_common::map::{EXCEPTIONS_PER_SEAL, SLOTS};

use super::{Exception, unions};
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
    let numbered: Vec<_> = (1..)
        .zip(&settled)
        .map(|(n, one)| (n, one, &[][..]))
        .collect();
    unions(&numbered)?;
    Ok(settled)
}

/// Those that both lists have, each until the earlier of its two ends
/// and with the shorter of its two holds.
pub fn narrower(standing: &[Exception], other: &[Exception]) -> Vec<Exception> {
    let both = standing.iter().filter_map(|one| {
        let same = other.iter().find(|other| other.to == one.to)?;
        Some(Exception {
            until: earlier(one.until, same.until),
            hold: one.hold.min(same.hold),
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
        same.is_some_and(|other| {
            earlier(one.until, other.until) == one.until && one.hold <= other.hold
        })
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

pub(super) fn holds_for(exception: &Exception, net: &Cidr) -> bool {
    let own = exception.to.target.net();
    // Loopback is meant by who names it, and by no prefix that happens to hold it.
    let wide = |own: &Cidr| net.addr.is_loopback() && !own.addr.is_loopback();
    own.is_some_and(|own| own.len <= net.len && own.overlaps(net) && !wide(&own))
}

/// A prefix for whose addresses more hold than there is room for.
fn crowded(exceptions: &[Exception]) -> Option<Cidr> {
    let mut nets = exceptions.iter().filter_map(|one| one.to.target.net());
    nets.find(|net| {
        let holding = exceptions.iter().filter(|one| holds_for(one, net));
        holding.count() > SLOTS
    })
}
