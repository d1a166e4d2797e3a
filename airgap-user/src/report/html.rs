//! A report as one page: no script, nothing from elsewhere, fit for paper.

mod exceptions;

use std::fmt::Write as _;

use self::exceptions::{CONNECTIONS, REFUSED, exceptions};
use super::{Counted, Destination, Document, Program, Verified, clock, markup::escaped, plot};
use crate::{coverage::When, events::is_silent};

/// Rows of a table; the rest is in the JSON.
const ROWS: usize = 1000;

/// Columns of numbers.
const NUMBERS: [&str; 8] = [
    "Attempts",
    "Destinations",
    "Processes",
    "Proven",
    "Tried",
    "User id",
    CONNECTIONS,
    REFUSED,
];

const STYLE: &str = include_str!("../../assets/report.css");

/// The page.
pub fn html(document: &Document) -> String {
    let title = format!("airgap report: {}", escaped(&document.container.name));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    seal(&mut out, document);
    exceptions(&mut out, &document.status.exits);
    coverage(&mut out, document);
    verify(&mut out, document.verify.as_ref());
    attempts(&mut out, document);
    destinations(&mut out, &document.destinations);
    processes(&mut out, &document.processes);
    out += "<h2>What limits this report</h2>\n<ul>\n";
    for note in &document.notes {
        let _ = writeln!(out, "<li>{}</li>", escaped(note));
    }
    out += "</ul>\n</body>\n</html>\n";
    out
}

fn seal(out: &mut String, document: &Document) {
    let Document {
        container, status, ..
    } = document;
    let compose = container.compose.as_ref();
    let clients = match status.clients.as_slice() {
        [] => "ANY (each is an exit)".to_owned(),
        some => some.join(", "),
    };
    let accepted = match status.accepted.as_slice() {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    let ports = match status.ports.as_slice() {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    let rows = [
        ("Container", container.name.clone()),
        ("Id", container.id.clone()),
        (
            "Image",
            container.image.clone().unwrap_or_else(|| "unknown".into()),
        ),
        (
            "Compose",
            compose.map_or_else(
                || "none, or unknown".into(),
                |c| format!("{} / {}", c.project, c.service),
            ),
        ),
        (
            "State",
            format!("{}: {}", status.headline(), status.summary),
        ),
        ("Sealed since", clock(document.sealed) + " UTC"),
        ("Report of", clock(document.generated) + " UTC"),
        ("Service ports", ports),
        ("Clients", clients),
        ("Risks accepted", accepted),
        ("Reboot", status.reboot.clone()),
    ];
    out.push_str("<h2>The seal</h2>\n<table class=\"facts\">\n");
    for (name, value) in rows {
        let class = match name == "State" && status.state.is_open() {
            true => " class=\"bad\"",
            false => "",
        };
        let _ = writeln!(
            out,
            "<tr><th>{name}</th><td{class}>{}</td></tr>",
            escaped(&value)
        );
    }
    out.push_str("</table>\n");
    for problem in &status.problems {
        let _ = writeln!(out, "<p class=\"bad\">Problem: {}</p>", escaped(problem));
    }
}

fn coverage(out: &mut String, document: &Document) {
    out.push_str("<h2>What stands in each way out</h2>\n");
    table(
        out,
        &["Way out", "Covered", "By, or what could leave and why"],
    );
    for vector in &document.status.coverage {
        let (class, word) = match (vector.covered, vector.when) {
            (true, _) => ("", "yes"),
            (false, When::Now) => (" class=\"bad\"", "<b>OPEN NOW</b>"),
            (false, When::Later) => ("", "<b>until later</b>"),
            (false, When::Never) => ("", "<b>no</b>, leads to no network"),
        };
        let mut text = vector.by.clone();
        if let Some(effect) = &vector.effect {
            text = format!("{effect}: {text}");
        }
        if let Some(mend) = &vector.mend {
            let _ = write!(text, "; do: {mend}");
        }
        let _ = writeln!(
            out,
            "<tr{class}><td>{}</td><td>{word}</td><td>{}</td></tr>",
            escaped(vector.vector),
            escaped(&text)
        );
    }
    out.push_str("</tbody></table>\n");
}

fn verify(out: &mut String, proof: Option<&Verified>) {
    out.push_str("<h2>Proof</h2>\n");
    let Some(proof) = proof else {
        out.push_str("<p>None was given (<code>airgap verify --json</code>).</p>\n");
        return;
    };
    let written = proof
        .file_modified
        .map_or_else(|| "at an unknown time".into(), |t| clock(t) + " UTC");
    let _ = writeln!(
        out,
        "<p><strong>{}</strong>: {} of {} ways out that were tried are proven closed. File last written {written}; the proof has no date of its own.</p>",
        escaped(&proof.verdict),
        proof.proven(),
        proof.techniques.len()
    );
    table(out, &["Kind of way out", "Verdict", "Proven", "Tried"]);
    for v in &proof.vectors {
        let _ = writeln!(
            out,
            "<tr{}><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            mark(&v.verdict),
            escaped(&v.vector),
            escaped(&v.verdict),
            v.proven,
            v.tried
        );
    }
    out.push_str("</tbody></table>\n<ul>\n");
    for tried in proof.techniques.iter().filter(|t| t.verdict != "PROVEN") {
        let _ = writeln!(
            out,
            "<li class=\"bad\">{} {}: {}</li>",
            escaped(&tried.verdict),
            escaped(&tried.technique),
            escaped(tried.detail.as_deref().unwrap_or("no detail"))
        );
    }
    for note in &proof.notes {
        let _ = writeln!(out, "<li>{}</li>", escaped(note));
    }
    out.push_str("</ul>\n");
}

fn mark(verdict: &str) -> &'static str {
    if verdict == "PROVEN" {
        ""
    } else {
        " class=\"bad\""
    }
}

fn attempts(out: &mut String, document: &Document) {
    let sums = &document.attempts;
    let _ = writeln!(
        out,
        "<h2>Refused attempts</h2>\n<p><strong>{}</strong> attempts at {} destinations by {} programs. \
         Process not known: {}. Destination not known: {}.</p>",
        sums.total,
        document.destinations.len(),
        document.processes.len(),
        sums.unattributed,
        sums.lost
    );
    if let Some(since) = document.since {
        let _ = writeln!(
            out,
            "<p>Only kinds of attempts of which one was made since {} UTC; left out: {}.</p>",
            clock(since),
            sums.earlier
        );
    }
    if let Some(svg) = plot::svg(&document.destinations) {
        let shown = document.destinations.len().min(plot::ROWS);
        let _ = writeln!(
            out,
            "<figure>\n{svg}<figcaption>First to last attempt at the first {shown} of {} destinations, UTC; the thicker, the more.</figcaption>\n</figure>",
            document.destinations.len()
        );
    }
    out.push_str("<div class=\"narrow\">\n");
    table(out, &["Reason, since the seal", "Attempts"]);
    let by_reason = document.status.denials.by_reason.iter();
    for (reason, count) in by_reason.clone().filter(|(reason, _)| !is_silent(reason)) {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"n\">{count}</td></tr>",
            escaped(reason)
        );
    }
    out.push_str("</tbody></table>\n</div>\n");
    for (reason, count) in by_reason.filter(|(reason, _)| is_silent(reason)) {
        let what = match *reason {
            "inbound" => "Clients refused (inbound)",
            _ => "Kernel chatter",
        };
        let _ = writeln!(out, "<p>{what}: {count}, in no sum above.</p>");
    }
}

fn destinations(out: &mut String, list: &[Destination]) {
    out.push_str("<h2>Where to</h2>\n");
    let head = [
        "Destination",
        "Attempts",
        "First, UTC",
        "Last, UTC",
        "By",
        "Reason",
    ];
    table(out, &head);
    for d in list.iter().take(ROWS) {
        let mut by = words(&d.processes);
        if d.unattributed > 0 {
            let comma = if by.is_empty() { "" } else { ", " };
            let _ = write!(by, "{comma}not known ({})", d.unattributed);
        }
        let mut target = d.target.to_string();
        if !d.servers.is_empty() {
            let _ = write!(
                target,
                " ({} of {})",
                words(&d.record_types),
                words(&d.servers)
            );
        }
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"t\">{}</td><td class=\"t\">{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&target),
            d.count,
            clock(d.first),
            clock(d.last),
            escaped(&by),
            escaped(&words(&d.reasons))
        );
    }
    out.push_str("</tbody></table>\n");
    rest(out, list.iter().map(|d| d.count));
}

fn processes(out: &mut String, list: &[Program]) {
    out.push_str("<h2>Who</h2>\n");
    let head = [
        "Name",
        "Command",
        "User id",
        "Processes",
        "Destinations",
        "Attempts",
        "First, UTC",
        "Last, UTC",
    ];
    table(out, &head);
    for p in list.iter().take(ROWS) {
        let command = p.command_line.as_deref().or(p.executable.as_deref());
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"t\">{}</td><td class=\"t\">{}</td></tr>",
            escaped(&p.name),
            command.map_or_else(|| "<i>unknown</i>".into(), escaped),
            p.uid,
            p.processes,
            p.destinations,
            p.count,
            clock(p.first),
            clock(p.last)
        );
    }
    out.push_str("</tbody></table>\n");
    rest(out, list.iter().map(|p| p.count));
}

/// What a table has no room for.
fn rest(out: &mut String, counts: impl ExactSizeIterator<Item = u64>) {
    if counts.len() > ROWS {
        let more = counts.len() - ROWS;
        let sum: u64 = counts.skip(ROWS).sum();
        let _ = writeln!(
            out,
            "<p>And {more} more with {sum} attempts, in the JSON.</p>"
        );
    }
}

fn table(out: &mut String, head: &[&str]) {
    out.push_str("<table>\n<thead><tr>");
    for name in head {
        let class = match NUMBERS.contains(name) {
            true => " class=\"n\"",
            false => "",
        };
        let _ = write!(out, "<th{class}>{name}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
}

fn words(list: &[Counted]) -> String {
    let texts: Vec<_> = match list {
        [only] => vec![only.what.clone()],
        many => many
            .iter()
            .map(|c| format!("{} ({})", c.what, c.count))
            .collect(),
    };
    texts.join(", ")
}

#[cfg(test)]
mod tests;
