//! A report, and the difference of two, as text.

use std::fmt::Write as _;

use super::{status, status::Detail};
use crate::{
    notation::escape,
    report::{Change, Counted, Difference, Document, Side, clock},
};

/// Rows of a list; the rest is in the JSON.
const ROWS: usize = 20;

pub(super) fn document(document: &Document, colour: bool) -> String {
    let mut out = status::report(&document.status, Detail::default(), colour);
    let subject = &document.container;
    let image = subject.image.as_deref().unwrap_or("unknown");
    let _ = writeln!(out, "  image     {}", escape(image));
    if let Some(compose) = &subject.compose {
        let (project, service) = (escape(&compose.project), escape(&compose.service));
        let _ = writeln!(out, "  compose   {project} / {service}");
    }
    match &document.verify {
        Some(proof) => {
            let of = proof.techniques.len();
            let verdict = escape(&proof.verdict);
            let _ = writeln!(
                out,
                "  verify    {verdict}: {} of {of} ways out are proven closed",
                proof.proven()
            );
        }
        None => out += "  verify    no proof given (--verify FILE)\n",
    }
    let sums = &document.attempts;
    let _ = writeln!(
        out,
        "\n{}  {} attempts at {} destinations, as of {} UTC",
        match document.status.audit {
            true => "LET THROUGH",
            false => "REFUSED",
        },
        sums.total,
        document.destinations.len(),
        clock(document.generated)
    );
    if !document.destinations.is_empty() {
        let _ = writeln!(
            out,
            "\n{:>10}  {:<19}  {:<19}  DESTINATION",
            "ATTEMPTS", "FIRST", "LAST"
        );
    }
    for d in document.destinations.iter().take(ROWS) {
        let _ = writeln!(
            out,
            "{:>10}  {}  {}  {}  {}{}",
            d.count,
            clock(d.first),
            clock(d.last),
            escape(&d.target.to_string()),
            by(&d.processes),
            words(&d.reasons),
        );
    }
    rest(&mut out, document.destinations.iter().map(|d| d.count));
    if !document.processes.is_empty() {
        let _ = writeln!(
            out,
            "\n{:>10}  {:<16}  {:>6}  COMMAND",
            "ATTEMPTS", "PROCESS", "UID"
        );
    }
    for p in document.processes.iter().take(ROWS) {
        let command = p.command_line.as_deref().or(p.executable.as_deref());
        let _ = writeln!(
            out,
            "{:>10}  {:<16}  {:>6}  {}",
            p.count,
            escape(&p.name),
            p.uid,
            escape(command.unwrap_or("unknown"))
        );
    }
    rest(&mut out, document.processes.iter().map(|p| p.count));
    notes(&mut out, &document.notes);
    out
}

fn by(processes: &[Counted]) -> String {
    match processes {
        [] => "by ?  ".into(),
        some => format!("by {}  ", words(some)),
    }
}

fn words(list: &[Counted]) -> String {
    let texts: Vec<_> = list.iter().map(|c| escape(&c.what)).collect();
    texts.join(", ")
}

fn rest(out: &mut String, counts: impl ExactSizeIterator<Item = u64>) {
    if counts.len() > ROWS {
        let more = counts.len() - ROWS;
        let sum: u64 = counts.skip(ROWS).sum();
        let _ = writeln!(out, "{sum:>10}  at {more} more lines, in --json");
    }
}

fn notes(out: &mut String, notes: &[String]) {
    out.push('\n');
    for note in notes {
        let _ = writeln!(out, "note: {}", escape(note));
    }
}

pub(super) fn difference(difference: &Difference) -> String {
    let Difference {
        old,
        new,
        new_hosts,
        ..
    } = difference;
    let hosts: Vec<_> = new_hosts.iter().map(|h| escape(h)).collect();
    let mut out = format!(
        "{} tries to contact {} new host{}{}{}\n",
        escape(name(new)),
        hosts.len(),
        if hosts.len() == 1 { "" } else { "s" },
        if hosts.is_empty() { "" } else { ": " },
        hosts.join(", ")
    );
    for (which, side) in [("old", old), ("new", new)] {
        let _ = writeln!(
            out,
            "  {which}  {} ({})  {} attempts refused from {} to {}",
            escape(name(side)),
            escape(&side.name),
            side.total,
            escape(&side.sealed),
            escape(&side.generated)
        );
    }
    out.push('\n');
    for (word, list) in [
        ("new", &difference.new_destinations),
        ("gone", &difference.gone_destinations),
        ("more", &difference.more),
        ("fewer", &difference.fewer),
    ] {
        for Change { target, old, new } in list {
            let target = target.to_string();
            let _ = writeln!(out, "{word:<5}  {old:>10} → {new:<10}  {}", escape(&target));
        }
    }
    let _ = writeln!(out, "unchanged: {}", difference.unchanged);
    notes(&mut out, &difference.notes);
    out
}

/// The image, where it is known.
fn name(side: &Side) -> &str {
    side.image.as_deref().unwrap_or(&side.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples::{asked, material, tried, upgrade};

    #[test]
    fn strings_of_the_container_are_escaped() {
        let denials = vec![
            asked("ev\x1b[31mil", "a\nb.example", 3),
            tried("curl", 1, 20),
        ];
        let text = document(&Document::collect(material(denials)), false);
        assert!(!text.contains('\x1b'), "{text}");
        assert!(
            text.contains("name a\\nb.example  by ev\\x1b[31mil  dns\n"),
            "{text}"
        );
        assert!(
            text.contains("REFUSED  4 attempts at 2 destinations"),
            "{text}"
        );
        assert!(text.contains("image     unknown"), "{text}");
    }

    #[test]
    fn a_difference_begins_with_the_new_hosts() {
        let text = difference(&upgrade());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "shop:1.4 tries to contact 1 new host: <new>.example"
        );
        for line in [
            "new             0 → 7           name <new>.example",
            "gone            4 → 0           tcp 198.51.100.8:80",
            "more            3 → 5           tcp 198.51.100.7:443",
            "unchanged: 1",
        ] {
            assert!(lines.contains(&line), "{line}: {text}");
        }
    }
}
