//! What is in force for one container, as text: first whether the aim holds, then what
//! answers, what is shut, what to know. Hooks and ids only where they are asked for.

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

mod exits;

pub(crate) use exits::{after_end, used};
mod lines;

use self::lines::{consequence, later, older, shut};
use super::text::{BOLD, RED, RESET};
use crate::{
    coverage::{REBOOT, SealState, Vector, When},
    events::is_silent,
    notation::{escape, timestamp},
    seal::{Denials, DryRun, ExitRow, Report},
};

/// How much is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Right after an attach: eight lines at most, of an ordinary container.
    pub fresh: bool,
    /// What is not covered, one by one: what it means, why, what to do.
    pub explain: bool,
    /// Hooks, links and cgroups.
    pub verbose: bool,
}

/// Ways that are open right after an attach and shown one by one.
const OPEN: usize = 2;

pub(super) fn report(report: &Report, detail: Detail, colour: bool) -> String {
    let (bold, red, reset) = if colour {
        (BOLD, RED, RESET)
    } else {
        ("", "", "")
    };
    let mut out = String::new();
    let name = escape(&report.container.name);
    let id = &report.container.id[..12.min(report.container.id.len())];
    let since = report
        .opened_since
        .map_or_else(String::new, |at| format!("; since {}Z", second(at)));
    let _ = writeln!(
        out,
        "{bold}{name}{reset} ({id})  {bold}{}{reset}  {}{since}",
        report.headline(),
        escape(&report.summary)
    );
    let mut row = |head: &str, text: &str| {
        let _ = writeln!(out, "  {head:<9} {text}");
    };
    // What is not in force says nothing of what happens.
    let head = if report.seal == 0 {
        "recorded"
    } else {
        "answers"
    };
    row(head, &answers(report));
    for (n, exit) in report.exits.iter().enumerate() {
        row(
            if n == 0 { "exits" } else { "" },
            &exits::line(exit, red, reset),
        );
        if let Some(used) = used(exit).filter(|_| !detail.fresh) {
            row("", &format!("  {used}"));
        }
        if let Some(open) = after_end(exit) {
            row("", &format!("  {open}"));
        }
    }
    if let Some(withdrawn) = withdrawn(report) {
        row("withdrawn", &withdrawn);
    }
    let shut = shut(&report.coverage, detail.explain);
    if !shut.is_empty() && !report.audit {
        let but = match report.exits.iter().any(ExitRow::is_open) {
            true => "but for these exits: ",
            false => "",
        };
        row("shut", &format!("{but}{shut}"));
    }
    if !detail.fresh && report.seal != 0 {
        let (since, counted) = match report.audit {
            true => ("audited", "would"),
            false => ("sealed", "refused"),
        };
        row(since, &format!("{}Z", second(report.since)));
        for line in refused(&report.denials).lines() {
            match report.audit {
                true => row(counted, &format!("refuse {line}")),
                false => row(counted, line),
            }
        }
        if !report.running && report.seal != 0 && report.state != SealState::Gone {
            row(
                "cgroup",
                match report.audit {
                    true => "none: not running, judged from its first instruction",
                    false => "none: not running, sealed from its first instruction",
                },
            );
        }
        // Where it is not covered, it is among what comes later.
        let kept = |vector: &Vector| vector.vector == REBOOT && vector.covered;
        if report.coverage.iter().any(kept) {
            row("reboot", &escape(&report.reboot));
        }
        if !report.accepted.is_empty() {
            row(
                "accepted",
                &format!("{red}{}{reset}", report.accepted.join(", ")),
            );
        }
    }
    if !report.existing.is_empty() {
        row("older", &older(&report.existing));
    }
    // Under audit all is open, whatever covers it once it is sealed.
    let open = report
        .coverage
        .iter()
        .filter(|v| v.is_open_now() && !report.audit);
    let open: Vec<_> = open.collect();
    let shown = match detail {
        Detail { explain: true, .. } => 0,
        Detail { fresh: true, .. } => OPEN,
        _ => open.len(),
    };
    for vector in open.iter().take(shown) {
        row("open", &format!("{red}{}{reset}", consequence(vector)));
    }
    // Eight lines: what is open now comes before what may be.
    if !detail.explain && !report.audit && (!detail.fresh || open.is_empty()) {
        for line in later(&report.coverage) {
            row("later", &line);
        }
    }
    for label in &report.labels_ignored {
        row("ignored", &escape(label));
    }
    for above in &report.above_ceiling {
        row("above", &escape(&above_ceiling(above)));
    }
    for problem in &report.problems {
        row("PROBLEM", &format!("{red}{}{reset}", escape(problem)));
    }
    if detail.verbose {
        mechanism(&mut out, report);
    }
    if detail.explain {
        gaps(&mut out, report);
    } else if !report.audit && report.coverage.iter().any(|vector| !vector.covered) {
        let hidden = open.len().saturating_sub(shown);
        let also = match hidden {
            0 => String::new(),
            more => format!("{more} more open ways, and "),
        };
        let _ = writeln!(
            out,
            "  more      {also}all of it in full: airgap status --explain {name}"
        );
    }
    out
}

/// What it may reach, after that has changed.
pub(super) fn exceptions(report: &Report, colour: bool) -> String {
    let (red, reset) = if colour { (RED, RESET) } else { ("", "") };
    let name = escape(&report.container.name);
    let mut out = String::new();
    for exit in &report.exits {
        let _ = writeln!(out, "{name}: {}", exits::line(exit, red, reset));
    }
    if report.exits.is_empty() {
        let _ = writeln!(out, "{name}: no exceptions, it connects nowhere");
    }
    if let Some(withdrawn) = withdrawn(report) {
        let _ = writeln!(out, "{name}: withdrawn {withdrawn}");
    }
    for problem in &report.problems {
        let _ = writeln!(out, "{name}: {red}PROBLEM{reset} {}", escape(problem));
    }
    out
}

/// In force, and more than may be asked for.
fn above_ceiling(what: &str) -> String {
    format!("the ceiling: {what}; in force until the next attach, apply or watch")
}

/// What of its label stays shut.
fn withdrawn(report: &Report) -> Option<String> {
    (!report.withdrawn.is_empty()).then(|| {
        format!(
            "{}: its label's, taken back by airgap disallow; airgap allow opens it again",
            report.withdrawn.join(", ")
        )
    })
}

fn second(at: u64) -> String {
    timestamp(UNIX_EPOCH + Duration::from_secs(at))[..19].to_owned()
}

/// A client goes by its address, which others on the link can take.
const POSE: &str =
    "by address: a neighbour on its link that keeps CAP_NET_RAW can pose as one that is there, too";
/// The same, where nothing tells whom a frame is sent to.
const TAKE: &str = "by address: a neighbour on its link that keeps CAP_NET_RAW can pose as one, or take what goes to them";

fn answers(report: &Report) -> String {
    if report.ports.is_empty() {
        return "nobody: it has no service port".into();
    }
    let by_default = match report.ports_by_default {
        true => " (the default, as no -p was given)",
        false => "",
    };
    let clients = match report.clients.as_slice() {
        [] => "ANY client (each is an exit; --from CIDR limits them)".to_owned(),
        some if report.misroutes => format!("{} ({TAKE})", some.join(", ")),
        some => format!("{} ({POSE})", some.join(", ")),
    };
    let udp = match report.ports.iter().any(|port| port.ends_with("/udp")) {
        true => ", over UDP for 60 s after each question",
        false => "",
    };
    format!("{}{by_default} to {clients}{udp}", report.ports.join(", "))
}

/// Attempts, with a bracket that sums to the number before it, then what no program of
/// the container asked for.
pub(super) fn refused(denials: &Denials) -> String {
    let reasons: Vec<_> = denials
        .by_reason
        .iter()
        .filter(|(reason, _)| !is_silent(reason))
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let mut out = match denials.total {
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    if !reasons.is_empty() {
        let _ = write!(out, " ({})", reasons.join(", "));
    }
    for (reason, what) in [
        ("inbound", "clients refused (inbound)"),
        ("kernel-chatter", "kernel chatter"),
    ] {
        let found = denials.by_reason.iter().find(|(name, _)| *name == reason);
        if let Some((_, count)) = found {
            let _ = write!(out, "; {what}: {count}");
        }
    }
    if denials.by_verify > 0 {
        let _ = write!(
            out,
            "\n{} more were tried by airgap verify itself",
            denials.by_verify
        );
    }
    out
}

/// Where packets are looked at, unless that is the whole host.
fn attached(at: &[String]) -> String {
    match at {
        [] => String::new(),
        at => format!("; packets are looked at in {}", escape(&at.join(" and "))),
    }
}

/// Cgroups, links, and every vector with its hooks.
fn mechanism(out: &mut String, report: &Report) {
    for cgroup in &report.cgroups {
        let path = cgroup
            .path
            .as_deref()
            .unwrap_or("(gone, not yet released by the kernel)");
        let _ = writeln!(out, "  cgroup    {} (id {})", escape(path), cgroup.id);
    }
    let calls = match report.errno.as_str() {
        "offline" => "ENETUNREACH and the like: as without a network",
        _ => "EPERM",
    };
    let _ = writeln!(
        out,
        "  refused   connect and sendto fail with {calls}; what is refused as a packet, with EPERM"
    );
    if report.seal != 0 {
        let _ = writeln!(
            out,
            "  gate      {} links, read back from the kernel{}",
            report.links,
            attached(&report.attached_to)
        );
    }
    for vector in &report.coverage {
        let word = match (vector.covered, vector.when) {
            (true, _) => "covered",
            (false, When::Now) => "OPEN NOW",
            (false, _) => "limit",
        };
        let by = escape(&vector.by);
        let _ = writeln!(out, "  {word:<9} {}: {by}", vector.vector);
    }
}

/// What is not covered, in full.
fn gaps(out: &mut String, report: &Report) {
    for vector in report.coverage.iter().filter(|vector| !vector.covered) {
        let word = match vector.when {
            When::Now => "OPEN NOW",
            When::Later => "later",
            When::Never => "no network",
        };
        let _ = writeln!(out, "\n{word}: {}", vector.vector);
        if let Some(effect) = &vector.effect {
            let _ = writeln!(out, "  what  {}", escape(effect));
        }
        let _ = writeln!(out, "  why   {}", escape(&vector.by));
        if let Some(mend) = &vector.mend {
            let _ = writeln!(out, "  do    {}", escape(mend));
        }
    }
    let _ = writeln!(
        out,
        "\nWhat a word means: airgap explain WORD, such as {} or '{}'",
        report.state.name(),
        report
            .coverage
            .iter()
            .find(|vector| !vector.covered)
            .map_or("dns", |vector| vector.vector)
    );
}

pub(super) fn dry_run(would: &DryRun) -> String {
    let mut out = format!(
        "{}: would be {} with ports {}; nothing was changed\n  {}\n",
        escape(&would.name),
        would.state.headline(),
        would.ports.join(", "),
        escape(&would.summary)
    );
    for exit in &would.exits {
        let _ = writeln!(out, "  would let out  {exit}");
    }
    for line in &would.stops {
        let _ = writeln!(out, "  would stop  {}", escape(line));
    }
    for e in &would.existing {
        let _ = writeln!(
            out,
            "  would be {:<8} {}",
            e.action,
            super::text::existing(e)
        );
    }
    if would.existing.is_empty() {
        out += "  no socket of it reaches outside now; what it opens later is refused\n";
    }
    for vector in would.coverage.iter().filter(|v| v.is_open_now()) {
        let _ = writeln!(out, "  would be open  {}", consequence(vector));
    }
    for line in later(&would.coverage) {
        let _ = writeln!(out, "  would open later  {line}");
    }
    let _ = writeln!(out, "  attach would exit {}", would.exit);
    out
}

#[cfg(test)]
mod tests;
