//! Text for people: stable columns, colour only where asked for.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::Value;

use crate::{
    config::Setting,
    coverage::SealState,
    gate::Unsealed,
    notation::{escape, shell_word, timestamp},
    remote::Answer,
    seal::{Check, Existing, Report, Row},
    state::Entry,
    subtree::DropIn,
};

pub(super) const RED: &str = "\x1b[31m";
pub(super) const BOLD: &str = "\x1b[1m";
pub(super) const RESET: &str = "\x1b[0m";

fn clients(report: &Report) -> String {
    if report.clients.is_empty() {
        "ANY (each is an exit)".into()
    } else {
        report.clients.join(", ")
    }
}

pub(super) fn existing(e: &Existing) -> String {
    let end = |e: &Option<String>| e.clone().unwrap_or_else(|| "*".into());
    let who = match (&e.name, e.pid) {
        (Some(name), Some(pid)) => format!("{}[{pid}]", escape(name)),
        _ => "nobody yet".into(),
    };
    if e.local.is_none() && e.peer.is_none() && e.kind != "packet" {
        return format!("{} socket that leads out of the container, {who}", e.kind);
    }
    let container = e.container.as_ref().map_or_else(String::new, |name| {
        format!(" (the container {})", escape(name))
    });
    let (local, peer) = (end(&e.local), end(&e.peer));
    format!("{} {local} → {peer}{container}, {who}", e.kind)
}

/// Whole lines, as they are to be written.
/// `asked`: the words of the command line, without the program's name.
pub(super) fn lacks(unit: &str, drop_in: &DropIn, asked: &[String]) -> String {
    let accept: String = drop_in
        .accept
        .iter()
        .map(|risk| format!(" --accept {risk}"))
        .collect();
    let commands = DropIn::commands(unit).map(|line| format!("  {line}\n"));
    format!(
        "{unit} can be sealed with this in {path}:\n\n{text}\nthen:\n{commands}  \
         airgap{asked}{accept}\n\
         or all of it at once, sealed before it starts again: airgap{asked} --harden\n\n",
        asked = asked
            .iter()
            .map(|word| format!(" {}", shell_word(word)))
            .collect::<String>(),
        path = drop_in.path,
        text = escape_lines(&drop_in.text),
        commands = commands.concat(),
    )
}

pub(super) fn hardens(unit: &str, drop_in: &DropIn) -> String {
    format!(
        "{unit} is sealed, and starts again with this in {}:\n\n{}\n",
        drop_in.path,
        escape_lines(&drop_in.text)
    )
}

fn escape_lines(text: &str) -> String {
    let lines = text.lines().map(|line| format!("{}\n", escape(line)));
    lines.collect()
}

pub(super) fn peer(container: &str, e: &Existing) -> String {
    let what = match e.action {
        "open" => "stays open",
        "kept" => "is kept",
        "cut" => "is cut",
        _ => "can send no more",
    };
    let mut out = format!("{}: {what}: {}", escape(container), existing(e));
    if let Some(to) = e.to.as_ref().filter(|_| e.action == "kept") {
        let _ = write!(out, "; a seal would need --to {}", escape(to));
    } else if let Some(to) = &e.to {
        let _ = write!(
            out,
            "; to allow it: airgap allow --to {} {}",
            escape(to),
            escape(container)
        );
    }
    out
}

pub(super) fn list(rows: &[Row], all: bool) -> String {
    if rows.is_empty() {
        return "no container is sealed on this host\n".into();
    }
    let mut out = format!(
        "{:<24}  {:<12}  {:<10}  {:<20}  {:<24}  {:>10}  SINCE\n",
        "NAME", "ID", "STATE", "PORTS", "CLIENTS", "DENIALS"
    );
    let (past, rows): (Vec<_>, Vec<_>) = rows.iter().partition(|row| !all && row.is_past());
    for row in &rows {
        let r = &row.report;
        let since = timestamp(UNIX_EPOCH + Duration::from_secs(r.since));
        let _ = writeln!(
            out,
            "{:<24}  {:<12}  {:<10}  {:<20}  {:<24}  {:>10}  {}Z",
            escape(&r.container.name),
            &r.container.id[..12.min(r.container.id.len())],
            r.state.word(),
            r.ports.join(","),
            clients(r),
            r.denials.total,
            &since[..19]
        );
        let more = match (row.gone, r.seal) {
            (true, seal) => Some(format!(
                "{}the container is gone: airgap detach {}",
                if seal == 0 { "recorded, and " } else { "" },
                &r.container.id[..12.min(r.container.id.len())],
            )),
            (false, _) if r.state.is_open() => Some(r.summary.clone()),
            (false, _) => None,
        };
        if let Some(more) = more {
            let _ = writeln!(out, "{:<24}  {:<12}  {}", "", "", escape(&more));
        }
        for above in &r.above_ceiling {
            let _ = writeln!(
                out,
                "{:<24}  {:<12}  above the ceiling: {}",
                "",
                "",
                escape(above)
            );
        }
        if let Some(other) = &row.not_sealed {
            let name = row.recorded_name.as_ref().unwrap_or(&r.container.name);
            let _ = writeln!(
                out,
                "{:<24}  {:<12}  NOT SEALED  another container has this name now: airgap attach {}",
                escape(name),
                &other[..12.min(other.len())],
                &other[..12.min(other.len())]
            );
        }
    }
    if rows
        .iter()
        .any(|row| row.report.state == SealState::Limited)
    {
        out += "limited: nothing that it chooses leaves now; what may open later, or was accepted: airgap status NAME\n";
    }
    if !past.is_empty() {
        let _ = writeln!(
            out,
            "and {} ended tasks of Swarm, sealed until it removes them: airgap list --all",
            past.len()
        );
    }
    out
}

/// Each host, and below it what it printed; a host that was not asked is said why.
pub(super) fn answers(answers: &[Answer]) -> String {
    let mut out = String::new();
    for answer in answers {
        let _ = writeln!(out, "{}", escape(&answer.host));
        let said = answer.said.last().map_or("", String::as_str);
        match (&answer.output, answer.code) {
            (Value::String(text), Some(_)) if !text.is_empty() => {
                for line in text.lines() {
                    let _ = writeln!(out, "  {}", escape(line));
                }
            }
            (_, Some(code)) => {
                let _ = writeln!(out, "  exit {code}: {}", escape(said));
            }
            (_, None) => {
                let _ = writeln!(out, "  UNKNOWN  it was not asked: {}", escape(said));
            }
        }
    }
    out
}

pub(super) fn doctor(checks: &[Check]) -> String {
    let mut out = String::new();
    for c in checks {
        let _ = writeln!(out, "{:<8}  {:<32}  {}", c.state, c.check, escape(&c.seen));
        if let Some(mend) = c.mend {
            let _ = writeln!(out, "{:<8}  {:<32}  → {mend}", "", "");
        }
    }
    out
}

pub(super) fn settings(rows: &[Setting]) -> String {
    let mut out = format!("{:<14}  {:<36}  FROM\n", "KEY", "VALUE");
    for row in rows {
        let (value, from) = (escape(&row.value), escape(&row.from));
        let _ = writeln!(out, "{:<14}  {value:<36}  {from}", row.key);
    }
    out
}

pub(super) fn restored(entry: &Entry, what: &str) -> String {
    format!("{} ({}): {what}\n", escape(entry.name()), &entry.id()[..12])
}

/// `by_verify`: how many of its attempts were `airgap verify`'s own.
pub(super) fn unsealed(u: &Unsealed, by_verify: u64) -> String {
    // Dead ones that the kernel has not released count, too.
    let from = match u.cgroups {
        0 => String::new(),
        1 => " from 1 cgroup".to_owned(),
        some => format!(" from {some} cgroups"),
    };
    let counted = match u.denials.saturating_sub(by_verify) {
        1 => "1 attempt".to_owned(),
        some => format!("{some} attempts"),
    };
    let (what, became) = match (u.audit, &*counted) {
        (true, _) => ("audit ended", "would have been refused by a seal"),
        (false, "1 attempt") => ("seal lifted", "was refused under it"),
        (false, _) => ("seal lifted", "were refused under it"),
    };
    let also = match by_verify {
        0 => String::new(),
        own => format!("; {own} more were tried by airgap verify itself"),
    };
    format!(
        "{} ({}): {what}{from}, {counted} {became}{also}\n",
        escape(&u.name),
        &u.id[..12.min(u.id.len())],
    )
}
