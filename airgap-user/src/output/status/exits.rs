//! One exception: what it opens, until when, and how it was used.

use std::fmt::Write as _;

use super::second;
use crate::notation::escape;
use crate::seal::ExitRow;

pub(super) fn line(exit: &ExitRow, red: &str, reset: &str) -> String {
    let state = match exit.state {
        "in-force" => "IN FORCE".to_owned(),
        "ended" => "ENDED".to_owned(),
        _ => format!("{red}CLOSED{reset}"),
    };
    let mut out = format!("{}  {state}", exit.to);
    match (exit.state, exit.ends) {
        ("ended", Some(at)) => {
            let _ = write!(out, " at {}Z: new ones are refused", second(at));
        }
        ("in-force", Some(at)) => {
            let _ = write!(out, " until {}Z: {}", second(at), exit.opens);
        }
        ("in-force", None) => {
            let _ = write!(out, ": {}", exit.opens);
        }
        _ if let Some(why) = &exit.why => {
            let _ = write!(out, ": {}", escape(why));
        }
        _ => out += ": it is recorded, and not in force",
    }
    if !exit.addresses.is_empty() {
        let _ = write!(out, "; at {}", exit.addresses.join(", "));
    }
    if let Some(until) = exit.held_until {
        let _ = write!(
            out,
            " until {}Z, {}",
            second(until),
            match exit.looked_after {
                Some(false) => "and nobody looks again: run airgap watch or airgap keep",
                _ => "unless airgap watch or airgap keep looks again",
            }
        );
    }
    if let Some(reason) = &exit.reason {
        let _ = write!(out, " ({})", escape(reason));
    }
    out
}

/// Far sides that are named; of more only how many.
const NAMED: usize = 3;

/// What is connected still, although it would be let out no more; `None`: nothing.
pub(crate) fn after_end(exit: &ExitRow) -> Option<String> {
    let open = &exit.open_after_end;
    let named: Vec<_> = open.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match open.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!named.is_empty()).then(|| {
        format!(
            "still connected to {}{more}: that goes on until one side closes (airgap disallow cuts)",
            named.join(", ")
        )
    })
}

/// How it was used; `None`: not at all.
pub(crate) fn used(exit: &ExitRow) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(last) = exit.last_used {
        if exit.connections > 0 {
            parts.push(counted(exit.connections, "connection"));
        }
        parts.push(format!(
            "{} of {} out",
            counted(exit.packets_out, "packet"),
            counted(exit.bytes_out, "byte")
        ));
        parts.push(format!(
            "{} of {} in",
            counted(exit.packets_in, "packet"),
            counted(exit.bytes_in, "byte")
        ));
        parts.push(format!("last {}Z", second(last)));
    }
    if exit.refused_after_end > 0 {
        parts.push(format!("{} refused after its end", exit.refused_after_end));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn counted(n: u64, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
