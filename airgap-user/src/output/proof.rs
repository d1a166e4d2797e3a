//! A proof as text: by kind, then technique by technique, problems first.

use std::fmt::Write as _;

use crate::{
    notation::escape,
    verify::{Proof, Tried, Verdict},
};

const RED: &str = "\x1b[31m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

pub(super) fn text(proof: &Proof, colour: bool) -> String {
    let (bold, reset) = if colour { (BOLD, RESET) } else { ("", "") };
    let proven = proof
        .techniques
        .iter()
        .filter(|t| t.verdict == Verdict::Proven);
    let mut out = format!(
        "{bold}{}{reset} ({})  {bold}{}{reset}: {} of {} ways out are proven closed\n\n",
        escape(&proof.container),
        &proof.id[..12.min(proof.id.len())],
        proof.verdict.name(),
        proven.count(),
        proof.techniques.len(),
    );
    for v in &proof.vectors {
        let counts = format!("{:<46} {} of {}", v.vector, v.proven, v.tried);
        row(&mut out, v.verdict, &counts, colour);
    }
    out += "\n";
    let mut techniques: Vec<&Tried> = proof.techniques.iter().collect();
    techniques.sort_by_key(|t| t.verdict);
    for t in techniques {
        let by = t.by.as_deref().unwrap_or("-");
        let detail = escape(t.detail.as_deref().unwrap_or(""));
        let cells = format!("{:<26} {by:<32} {detail}", t.technique);
        row(&mut out, t.verdict, &cells, colour);
    }
    out += "\n";
    let mut reasons: Vec<&str> = Vec::new();
    for n in &proof.not_tried {
        if !reasons.contains(&n.reason.as_str()) {
            reasons.push(&n.reason);
        }
    }
    for reason in reasons {
        let why = proof.not_tried.iter().filter(|n| n.reason == reason);
        let names: Vec<_> = why.map(|n| n.technique).collect();
        let _ = writeln!(out, "not tried: {}: {}", names.join(", "), escape(reason));
    }
    for note in &proof.notes {
        let _ = writeln!(out, "note: {}", escape(note));
    }
    out
}

fn row(out: &mut String, verdict: Verdict, cells: &str, colour: bool) {
    let mark = colour && verdict != Verdict::Proven;
    let (red, reset) = if mark { (RED, RESET) } else { ("", "") };
    let _ = writeln!(
        out,
        "{red}{:<8}{reset} {}",
        verdict.name(),
        cells.trim_end()
    );
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::verify::{Proof, Tried, Verdict};

    #[test]
    fn problems_come_first() {
        let tried = |technique, verdict| Tried {
            technique,
            vector: "v",
            verdict,
            control: true,
            by: None,
            detail: None,
        };
        let proof = Proof {
            schema: 1,
            container: "w\x1b".into(),
            id: "0123456789abcdef".into(),
            verdict: Verdict::Leak,
            techniques: vec![tried("good", Verdict::Proven), tried("bad", Verdict::Leak)],
            vectors: vec![],
            not_tried: vec![],
            notes: vec!["so".into()],
        };
        let text = text(&proof, false);
        assert!(
            text.starts_with("w\\x1b (0123456789ab)  LEAK: 1 of 2 ways out are proven closed\n"),
            "{text}"
        );
        assert!(
            text.find("bad").unwrap() < text.find("good").unwrap(),
            "{text}"
        );
        assert!(text.ends_with("\nnote: so\n"), "{text}");
    }
}
