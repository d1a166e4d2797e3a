//! What a command was refused, at its end: destinations, most attempts first, with who
//! tried.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    os::fd::AsRawFd as _,
    time::UNIX_EPOCH,
};

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};

use crate::{
    events::{Denial, Event, past},
    gate::Gate,
    notation::escape,
    output::attempt,
};

/// At the end of a command that was refused nothing.
const NONE: &str = "airgap: no attempt was refused\n";
/// Lines of one list; the rest is counted.
const LINES: usize = 40;

/// The list, as it is to be said; `None`: nothing was refused.
///
/// # Errors
/// If the gate's maps cannot be read.
pub(super) fn read(gate: &Gate, number: SealNumber) -> Result<Option<String>> {
    let events = past(gate, &[number], UNIX_EPOCH)?;
    let total = gate
        .state(number)
        .map_or(0, |(_, counters)| counters.refused());
    if total == 0 {
        return Ok(None);
    }
    Ok(Some(list(&events, total)))
}

/// Says on stderr that there is no such list. Where nobody reads that it is left out: nobody
/// waits for it, and nothing failed.
pub(super) fn tell_none() {
    let stderr = io::stderr();
    let_terminal_go_on(&stderr);
    let mut ready = libc::pollfd {
        fd: stderr.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one descriptor's entry, and no waiting.
    let there = unsafe { libc::poll(&raw mut ready, 1, 0) };
    if there == 1 && ready.revents & libc::POLLOUT != 0 {
        let _ = stderr.lock().write_all(NONE.as_bytes());
    }
}

/// Says it on stderr. The command has the same open file, and may have made it one that
/// does not wait.
///
/// # Errors
/// If it cannot be written whole: then nobody has read what was refused.
pub(super) fn tell(list: &str) -> Result<()> {
    let stderr = io::stderr();
    wait_when_full(&stderr);
    let_terminal_go_on(&stderr);
    stderr
        .lock()
        .write_all(list.as_bytes())
        .context("cannot say what was refused")
}

/// The command may have stopped its output, or left the foreground to a group that is gone.
fn let_terminal_go_on(stderr: &io::Stderr) {
    let fd = stderr.as_raw_fd();
    // SAFETY: an open descriptor and a signal; nothing happens where it is no terminal.
    unsafe {
        if libc::isatty(fd) == 1 {
            libc::signal(libc::SIGTTOU, libc::SIG_IGN);
            libc::tcflow(fd, libc::TCOON);
        }
    }
}

fn wait_when_full(stderr: &io::Stderr) {
    let fd = stderr.as_raw_fd();
    // SAFETY: an open descriptor, and flags.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        if flags != -1 && flags & libc::O_NONBLOCK != 0 {
            libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_NONBLOCK);
        }
    }
}

/// Pure.
fn list(events: &[Event], total: u64) -> String {
    let mut rows: BTreeMap<(String, String), u64> = BTreeMap::new();
    for event in events {
        let (what, who, count) = match event {
            Event::Denial(denial) => (where_to(denial), who(denial), denial.count),
            Event::Suppressed(other) => {
                let destination = match other.destination {
                    Some((ip, 0)) => ip.to_string(),
                    Some((ip, port)) => std::net::SocketAddr::new(ip, port).to_string(),
                    None => "?".to_owned(),
                };
                (format!("→ {destination}"), "?".to_owned(), other.count)
            }
            Event::Lost(lost) => (
                "beyond what is counted one by one".into(),
                "?".into(),
                lost.count,
            ),
            Event::Allowed(_) | Event::Untold(_) => continue,
        };
        *rows.entry((what, who)).or_default() += count;
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let attempts = if total == 1 { "attempt" } else { "attempts" };
    let mut out = format!("airgap: refused {total} {attempts}:\n");
    for ((what, who), count) in rows.iter().take(LINES) {
        let _ = writeln!(out, "  {count:>6}  {what:<52}  {who}");
    }
    if rows.len() > LINES {
        let rest: u64 = rows.iter().skip(LINES).map(|(_, count)| count).sum();
        let _ = writeln!(
            out,
            "  {rest:>6}  elsewhere, {} more kinds",
            rows.len() - LINES
        );
    }
    out
}

fn where_to(denial: &Denial) -> String {
    format!("{} ({})", attempt(denial), denial.reason)
}

fn who(denial: &Denial) -> String {
    let process = denial.process.as_ref();
    process.map_or_else(
        || "?".to_owned(),
        |process| escape(&process.name).into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::list;
    use crate::events::{Denial, Event, Process};

    #[test]
    fn alike_ones_are_one_line() {
        let denial = |name: &str, count| {
            Event::Denial(Box::new(Denial {
                process: Some(Process::example(name, 7)),
                count,
                ..Denial::example()
            }))
        };
        let text = list(
            &[denial("a\u{1b}b", 2), denial("sh", 1), denial("sh", 4)],
            7,
        );
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "airgap: refused 7 attempts:");
        assert!(
            lines[1]
                .trim_start()
                .starts_with("5  tcp → 198.51.100.7:443")
        );
        assert!(lines[1].ends_with("  sh") && lines[2].contains("2  tcp"));
        assert!(!text.contains('\u{1b}') && lines.len() == 3, "{text}");
    }
}
