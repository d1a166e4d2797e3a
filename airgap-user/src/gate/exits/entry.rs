//! An exception as `EXCEPTIONS` has it. Pure.

use airgap_common::map::{Exception as Entry, REASON_LEN, SealNumber, TARGET_LEN};

use super::Exit;
use crate::policy::{Cidr, Exception, Hold, Target, To};

pub(super) fn entry(seal: SealNumber, exit: &Exit) -> Entry {
    let exception = &exit.exception;
    let (addr, bits) = exception
        .to
        .target
        .net()
        .map_or(Default::default(), Cidr::key);
    let name = match &exception.to.target {
        Target::Net(_) => String::new(),
        // As it is written: no name of a host has a colon.
        target => target.to_string(),
    };
    Entry {
        seal,
        addr,
        bits,
        allowed: exception.allowed.into(),
        slot: exception.slot(exit.number),
        since: exit.since,
        reason: padded::<REASON_LEN>(exception.reason.as_deref().unwrap_or_default()),
        hold: exception.hold.map_or(0, Hold::nanos),
        target: padded::<TARGET_LEN>(&name),
    }
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut padded = [0; N];
    let len = text.len().min(N);
    padded[..len].copy_from_slice(&text.as_bytes()[..len]);
    padded
}

/// Up to the first NUL; `None`: there is nothing.
fn text(padded: &[u8]) -> Option<String> {
    let end = padded.iter().position(|byte| *byte == 0);
    let text = &padded[..end.unwrap_or(padded.len())];
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

pub(super) fn exception(entry: &Entry) -> Exception {
    let name = text(&entry.target);
    Exception {
        hold: (entry.target[0] != 0).then(|| Hold::of_nanos(entry.hold)),
        to: match name.and_then(|name| name.parse().ok()) {
            Some(target) => To::of_slot(target, &entry.slot),
            None => To::of_map(entry.addr, entry.bits, &entry.slot),
        },
        until: (entry.slot.until != 0).then_some(entry.slot.until),
        allowed: entry.allowed != 0,
        reason: text(&entry.reason),
    }
}
