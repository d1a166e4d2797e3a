//! As much of PromQL as the dashboard and the rules use: which metrics an expression reads, by
//! which labels, and which labels it leaves.

use std::collections::{BTreeMap, BTreeSet};

/// Functions and words of PromQL. None is a metric's name.
const WORDS: [&str; 13] = [
    "by",
    "count",
    "increase",
    "label_values",
    "max",
    "on",
    "or",
    "rate",
    "sum",
    "topk",
    "unless",
    "vector",
    "without",
];

/// What an expression says.
#[derive(Debug, Default)]
pub(crate) struct Expression {
    /// Each metric, with labels and values that it is chosen by: alternatives are apart.
    pub(crate) metrics: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Labels that it is grouped by; `None`: it is not.
    pub(crate) grouped: Option<BTreeSet<String>>,
    /// Names that stand free: arguments of Grafana's own functions.
    pub(crate) free: BTreeSet<String>,
}

impl Expression {
    /// # Panics
    /// When it is none that this understands.
    pub(crate) fn read(text: &str) -> Self {
        let mut said = Self::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if !first.is_ascii_alphabetic() {
                rest = match first {
                    '[' => rest.split_once(']').expect("a range ends").1,
                    '"' | '{' => panic!("{text}: {rest}"),
                    _ => &rest[first.len_utf8()..],
                };
                continue;
            }
            let word = word(rest);
            rest = rest[word.len()..].trim_start();
            if word == "by" {
                let (labels, after) = rest[1..].split_once(')').expect("a list ends");
                let labels = labels.split(',').map(|label| label.trim().to_owned());
                // The outermost comes first.
                said.grouped.get_or_insert_with(|| labels.collect());
                rest = after;
            } else if rest.starts_with('(') || WORDS.contains(&word) {
                assert!(WORDS.contains(&word), "{text}: {word} is no function");
            } else if let Some(chosen) = rest.strip_prefix('{') {
                rest = said.chosen(word, chosen);
            } else if word == "up" || word.starts_with("airgap_") {
                said.metrics.entry(word.to_owned()).or_default();
            } else {
                said.free.insert(word.to_owned());
            }
        }
        said
    }

    /// Takes what a metric is chosen by; what comes behind it.
    fn chosen<'a>(&mut self, metric: &str, mut rest: &'a str) -> &'a str {
        let chosen = self.metrics.entry(metric.to_owned()).or_default();
        loop {
            let label = word(rest);
            let after = rest[label.len()..].trim_start_matches(['=', '~', '!']);
            let (value, after) = after[1..].split_once('"').expect("a value ends");
            let values = value.split('|').map(str::to_owned);
            chosen.entry(label.to_owned()).or_default().extend(values);
            match after.strip_prefix(',') {
                Some(next) => rest = next.trim_start(),
                None => return after.strip_prefix('}').expect("a choice ends"),
            }
        }
    }
}

/// The name that a text begins with.
fn word(text: &str) -> &str {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    &text[..text.find(|c| !is_part(c)).unwrap_or(text.len())]
}
