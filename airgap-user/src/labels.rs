//! What a container's labels ask for. Pure.
//!
//! An engine merges the labels of an image into those of its containers, so a
//! label may be the word of whoever made the image. `airgap.seal` only tightens
//! and counts whoever wrote it. The others count only where whoever made the
//! container gave them: what the image says as well is left out, and named.
//!
//! A pod's manifest says the same by annotations, `airgap.dev/seal` and so on.

use std::str::FromStr;

use crate::{
    container::Labels,
    notation::closest,
    policy::{Cidr, Exception, Port, Rules, To, settled},
    preflight::{Risk, Surroundings, judge_exits},
};

/// What this host lets labels ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Risks that they may accept; `existing-connections` never is one of them.
    pub accept: Vec<Risk>,
    /// The service ports where no label names any; none: the usual one.
    pub ports: Vec<Port>,
    /// What an exception must be within; `None`: anything.
    pub to: Option<Vec<To>>,
}

/// What labels ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: the container is not to be sealed.
    Nothing,
    /// To be sealed.
    Seal(Terms),
}

/// A seal that labels ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it may do.
    pub rules: Rules,
    /// Risks that the labels accept, as far as the host allows that.
    pub accept: Vec<Risk>,
    /// Labels that mean nothing. What they would have allowed is denied.
    pub wrong: Vec<String>,
    /// Labels that do not count, and why.
    pub ignored: Vec<String>,
    /// What the image says is not known, and would have made a difference.
    pub in_doubt: bool,
}

/// How the words are spelt: what stands before `seal`, `ports` and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling(&'static str);

/// Words of a label, behind what it begins with.
const WORDS: [&str; 5] = ["seal", "ports", "from", "to", "accept"];

impl Spelling {
    /// Of a container's labels.
    pub const LABELS: Self = Self("airgap.");
    /// Of a pod's annotations (Kubernetes: a domain, a slash, a name).
    pub const ANNOTATIONS: Self = Self("airgap.dev/");

    fn of(self, word: &str) -> String {
        format!("{}{word}", self.0)
    }

    /// The word that is spelt just so.
    fn exact(self, label: &str) -> Option<&'static str> {
        let word = label.strip_prefix(self.0)?;
        WORDS.into_iter().find(|known| *known == word)
    }

    /// What reads them.
    fn reader(self) -> &'static str {
        match self == Self::LABELS {
            true => "airgap watch",
            false => "airgap nri",
        }
    }

    /// Whether `airgap.seal` is meant, however it is written, or nearly.
    fn means_seal(self, label: &str) -> bool {
        let folded = folded(label);
        let nearly = self
            .unknown(label)
            .is_some_and(|word| closest(word, ["seal"]).is_some());
        nearly || folded == "airgap.seal" || folded == self::folded(&self.of("seal"))
    }

    /// The word of a label that begins as ours do, and is none.
    fn unknown(self, label: &str) -> Option<&str> {
        let word = label.strip_prefix(self.0)?;
        (!WORDS.contains(&word)).then_some(word)
    }

    /// Whether any of them asks for a seal: the one that is spelt right, or one that
    /// was meant to be it.
    pub fn asks(self, labels: &Labels) -> bool {
        let says_yes = |value: &String| !matches!(value.trim(), "false" | "0" | "no" | "off");
        labels
            .iter()
            .any(|(label, value)| self.means_seal(label) && says_yes(value))
    }
}

/// Reads what the annotations of a pod's manifest ask for, as [`read`] does labels: nobody
/// else's word is among them.
pub fn read_annotations(annotations: &Labels, limits: &Limits) -> Asked {
    let nobody = Labels::new();
    read_as(Spelling::ANNOTATIONS, annotations, Some(&nobody), limits)
}

/// Reads `airgap.seal`, `airgap.ports`, `airgap.from`, `airgap.to` and
/// `airgap.accept` of a container.
///
/// `image` are the labels of its image, `None` if they are not known: then
/// nothing that lets more through counts, as if it said the same.
///
/// Whatever is written wrong allows nothing: a typing error in a label must not
/// leave a container open. A name that differs from `airgap.seal` only in case,
/// in blanks or other signs, in its dot or in one letter asks for a seal; with a look-alike
/// of another label, or one that there is not, nothing is let through, unless the image says
/// the same.
pub fn read(labels: &Labels, image: Option<&Labels>, limits: &Limits) -> Asked {
    read_as(Spelling::LABELS, labels, image, limits)
}

fn read_as(spelling: Spelling, labels: &Labels, image: Option<&Labels>, limits: &Limits) -> Asked {
    if !spelling.asks(labels) {
        return Asked::Nothing;
    }
    let mut terms = Terms {
        rules: Rules::NOTHING,
        accept: Vec::new(),
        wrong: Vec::new(),
        ignored: Vec::new(),
        in_doubt: false,
    };
    let (seal, mut shut) = (spelling.of("seal"), false);
    for (label, value) in labels {
        match spelling.exact(label) {
            Some("seal") if value.trim() != "true" => terms
                .wrong
                .push(format!("{label}={value}: write true or false")),
            Some(_) => {}
            None if spelling.means_seal(label) => {
                terms.wrong.push(format!("{label}: write {seal}"));
            }
            None if folded(label).starts_with("airgap.") => {
                let word = spelling.unknown(label);
                let meant = word.and_then(|word| closest(word, WORDS));
                let meant = meant.map(|word| format!(": {} is meant", spelling.of(word)));
                let meant = meant.unwrap_or_default();
                terms
                    .wrong
                    .push(format!("{label}: there is no such label{meant}"));
                // Nobody knows what it was to hold back: nothing is let through. But what an
                // image says it says to all who use it.
                let by_image = image.is_some_and(|image| image.get(label) == Some(value));
                let alike = WORDS
                    .iter()
                    .any(|known| folded(label) == folded(&Spelling::LABELS.of(known)));
                shut |= (word.is_some() || alike) && !by_image;
            }
            None => {}
        }
    }
    let of = |word, terms: &mut Terms| counts(spelling, labels, image, word, terms);
    let ports = of("ports", &mut terms);
    let ports = list::<Port>(spelling, "ports", ports, &mut terms.wrong);
    let clients = of("from", &mut terms);
    let clients = list::<Cidr>(spelling, "from", clients, &mut terms.wrong);
    let exits = of("to", &mut terms);
    let exits = list::<To>(spelling, "to", exits, &mut terms.wrong).unwrap_or_default();
    let accept = of("accept", &mut terms);
    let accept = list::<Risk>(spelling, "accept", accept, &mut terms.wrong).unwrap_or_default();
    for risk in accept {
        let why = if risk == Risk::ExistingConnections {
            "no label accepts this, as nothing tells who opened them".to_owned()
        } else if limits.accept.contains(&risk) {
            terms.accept.push(risk);
            continue;
        } else {
            format!(
                "this host lets no label accept it; {} --allow-accept {risk}, or labels.accept (airgap config)",
                spelling.reader()
            )
        };
        let label = spelling.of("accept");
        terms.ignored.push(format!("{label}={risk}: {why}"));
    }
    let exits = limits.hold(spelling, exits, &mut terms.ignored);
    if let (Some(ports), Some(clients)) = (ports, clients) {
        let ports = match ports.is_empty() {
            true => limits.ports.clone(),
            false => ports,
        };
        match Rules::new(ports, clients) {
            Ok(rules) => terms.rules = rules,
            Err(error) => terms
                .wrong
                .push(format!("{}: {error}", spelling.of("ports"))),
        }
    }
    match settled(exits.into_iter().map(Exception::from).collect()) {
        Ok(exits) => terms.rules.exits = exits,
        Err(error) => terms.wrong.push(format!("{}: {error}", spelling.of("to"))),
    }
    if shut {
        terms.rules = Rules::NOTHING;
        terms.accept.clear();
    }
    terms.wrong.sort_unstable();
    terms.ignored.sort_unstable();
    Asked::Seal(terms)
}

impl Limits {
    /// Those exceptions that this host lets labels have; the others are named.
    fn hold(&self, spelling: Spelling, exits: Vec<To>, ignored: &mut Vec<String>) -> Vec<To> {
        let Some(most) = &self.to else { return exits };
        let (held, others): (Vec<To>, Vec<To>) = exits
            .into_iter()
            .partition(|exit| most.iter().any(|most| exit.is_within(most)));
        let label = spelling.of("to");
        ignored.extend(others.iter().map(|exit| {
            format!("{label}={exit}: this host lets no label have it (labels.to, airgap config)")
        }));
        held
    }
}

impl Terms {
    /// A seal that allows nothing, as this is wrong.
    pub fn closed(wrong: String) -> Self {
        Self {
            rules: Rules::NOTHING,
            accept: Vec::new(),
            wrong: vec![wrong],
            ignored: Vec::new(),
            in_doubt: true,
        }
    }

    /// Leaves out the exceptions that lead where a label must have it accepted by name,
    /// and has not: a label's seal stands all the same, without them. `to` and `accept` are
    /// what it writes before a target and a risk.
    #[must_use]
    pub fn within(mut self, around: &Surroundings, to: &str, accept: &str) -> Self {
        let accepted = |risk| self.accept.contains(&risk);
        let mut refused = Vec::new();
        self.rules.exits.retain(|exit| {
            let found = judge_exits(std::slice::from_ref(exit), around);
            let missing = found.into_iter().find(|finding| !accepted(finding.risk));
            refused.extend(missing.as_ref().map(|finding| {
                format!(
                    "{to}{}: {} (it needs {accept}{})",
                    exit.to, finding.what, finding.risk
                )
            }));
            missing.is_none()
        });
        self.ignored.extend(refused);
        self.ignored.sort_unstable();
        self
    }
}

/// Whether any label of a container asks for a seal.
pub fn asks(labels: &Labels) -> bool {
    Spelling::LABELS.asks(labels)
}

/// A label's name without what people get wrong: case, signs that are not
/// seen, and which sign it is that separates.
fn folded(label: &str) -> String {
    let fold = |c: char| match c {
        '.' | '-' | '_' | ':' | '/' => Some('.'),
        c if c.is_ascii_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    label.chars().filter_map(fold).collect()
}

/// The label's value, if it counts. What the image says as well is its word:
/// nobody can tell whether the container's maker wrote it again. Without
/// `airgap.from` any client could connect: left out for that, an image could
/// open what the container's maker had closed.
fn counts<'a>(
    spelling: Spelling,
    labels: &'a Labels,
    image: Option<&Labels>,
    name: &str,
    terms: &mut Terms,
) -> Option<&'a str> {
    let label = spelling.of(name);
    let value = labels.get(&label)?;
    let why = match image {
        _ if name == "from" => return Some(value),
        Some(image) if image.get(&label) != Some(value) => return Some(value),
        Some(_) => {
            "the image says so, not whoever made the container (who means it writes it otherwise, such as 80/tcp for 80)"
        }
        None => {
            terms.in_doubt = true;
            "it may be the image's, whose labels the container engine does not tell"
        }
    };
    terms.ignored.push(format!("{label}={value}: {why}"));
    None
}

/// Values between commas; empty without the label, `None` if one is wrong.
fn list<T: FromStr<Err = String>>(
    spelling: Spelling,
    name: &str,
    text: Option<&str>,
    wrong: &mut Vec<String>,
) -> Option<Vec<T>> {
    let Some(text) = text else {
        return Some(Vec::new());
    };
    let parsed: Result<Vec<T>, String> = text.split(',').map(|part| part.trim().parse()).collect();
    parsed
        .map_err(|error| wrong.push(format!("{}: {error}", spelling.of(name))))
        .ok()
}

#[cfg(test)]
mod tests;
