//! What was opened by name, and how it was used.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use super::{super::clock, escaped, table};
use crate::seal::ExitRow;

pub(super) const CONNECTIONS: &str = "Connections";
pub(super) const REFUSED: &str = "Refused after its end";

/// Each exception, with the kernel's own counts.
pub(super) fn exceptions(out: &mut String, list: &[ExitRow]) {
    out.push_str("<h2>Exceptions</h2>\n");
    if list.is_empty() {
        out.push_str("<p>None.</p>\n");
        return;
    }
    let head = [
        "Where to",
        "State",
        CONNECTIONS,
        "Out",
        "In",
        REFUSED,
        "Last used, UTC",
    ];
    table(out, &head);
    for exit in list {
        let mut to = exit.to.clone();
        if !exit.addresses.is_empty() {
            let _ = write!(to, " at {}", exit.addresses.join(", "));
        }
        if let Some(reason) = &exit.reason {
            let _ = write!(to, " ({reason})");
        }
        let (class, mut state) = match exit.state {
            "in-force" => ("", "in force".to_owned()),
            "ended" => ("", "ended".to_owned()),
            _ => (" class=\"bad\"", "CLOSED".to_owned()),
        };
        if let Some(ends) = exit.ends {
            let _ = write!(state, ", until {}", at(ends));
        }
        if !exit.open_after_end.is_empty() {
            let open = exit.open_after_end.len();
            let _ = write!(state, "; {open} still connected");
        }
        let last = exit.last_used.map_or_else(|| "never".to_owned(), at);
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td{class}>{state}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"t\">{last}</td></tr>",
            escaped(&to),
            exit.connections,
            sum(exit.packets_out, exit.bytes_out),
            sum(exit.packets_in, exit.bytes_in),
            exit.refused_after_end,
        );
    }
    out.push_str("</tbody></table>\n");
}

fn at(second: u64) -> String {
    clock(UNIX_EPOCH + Duration::from_secs(second))
}

fn sum(packets: u64, bytes: u64) -> String {
    format!("{packets} packets, {bytes} bytes")
}
