//! What two saved reports tell apart: the same service before and after an
//! upgrade of its image, say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{SCHEMA, Target};

/// A saved report, as far as it is compared.
#[derive(Clone, Debug, Deserialize)]
pub struct Saved {
    schema: u32,
    generated: String,
    sealed: String,
    container: Container,
    since: Option<String>,
    attempts: Sums,
    destinations: Vec<Place>,
}

#[derive(Clone, Debug, Deserialize)]
struct Container {
    id: String,
    name: String,
    image: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Sums {
    total: u64,
    unattributed: u64,
    lost: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Place {
    #[serde(flatten)]
    target: Target,
    count: u64,
}

/// What became of the destinations of one report in another.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The earlier report.
    pub old: Side,
    /// The later one.
    pub new: Side,
    /// Names and addresses that only the later one has.
    pub new_hosts: Vec<String>,
    /// Those that only the earlier one has.
    pub gone_hosts: Vec<String>,
    /// Destinations that only the later one has, most attempts first.
    pub new_destinations: Vec<Change>,
    /// Those that only the earlier one has.
    pub gone_destinations: Vec<Change>,
    /// Those with more attempts in the later one.
    pub more: Vec<Change>,
    /// Those with fewer.
    pub fewer: Vec<Change>,
    /// How many have as many as before.
    pub unchanged: usize,
    /// What limits the comparison, in words.
    pub notes: Vec<String>,
}

/// One of the two reports.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// Id of the container.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image; `None`: not known.
    pub image: Option<String>,
    /// When it was sealed.
    pub sealed: String,
    /// When the report was made.
    pub generated: String,
    /// Refused attempts.
    pub total: u64,
}

/// Attempts at one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where.
    #[serde(flatten)]
    pub target: Target,
    /// How many in the earlier report.
    pub old: u64,
    /// How many in the later one.
    pub new: u64,
}

impl Saved {
    /// Reads what `airgap report --json` printed.
    ///
    /// # Errors
    /// In words, if it is no report of this version.
    pub fn parse(text: &str) -> Result<Self, String> {
        let saved: Self =
            serde_json::from_str(text).map_err(|e| format!("it is no report: {e}"))?;
        if saved.schema != SCHEMA {
            return Err(format!("it has schema {}, not {SCHEMA}", saved.schema));
        }
        Ok(saved)
    }

    fn counts(&self) -> BTreeMap<&Target, u64> {
        let mut counts = BTreeMap::new();
        for place in &self.destinations {
            *counts.entry(&place.target).or_default() += place.count;
        }
        counts
    }

    fn hosts(&self) -> BTreeSet<String> {
        let hosts = self.destinations.iter().filter_map(|d| d.target.host());
        hosts.collect()
    }

    fn side(&self) -> Side {
        let Container { id, name, image } = self.container.clone();
        Side {
            id,
            name,
            image,
            sealed: self.sealed.clone(),
            generated: self.generated.clone(),
            total: self.attempts.total,
        }
    }

    /// What of it is not known, `which` it is.
    fn limits(&self, which: &str, notes: &mut Vec<String>) {
        if let Some(since) = &self.since {
            notes.push(format!(
                "the {which} report is limited to kinds of attempts made since {since}"
            ));
        }
        let Sums {
            unattributed, lost, ..
        } = self.attempts;
        if lost > 0 {
            notes.push(format!(
                "the {which} report lacks the destinations of {lost} attempts: what is new or gone here may be one of them"
            ));
        }
        if unattributed > 0 {
            notes.push(format!(
                "the {which} report lacks what {unattributed} attempts looked up, if anything: a name may be missing"
            ));
        }
    }
}

/// Compares them. Pure.
pub fn compare(old: &Saved, new: &Saved) -> Difference {
    let (before, after) = (old.counts(), new.counts());
    let all: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    let mut notes = vec![
        "numbers of attempts depend on how long each ran: compare them with the times".to_owned(),
    ];
    old.limits("old", &mut notes);
    new.limits("new", &mut notes);
    let (old_hosts, new_hosts) = (old.hosts(), new.hosts());
    let mut out = Difference {
        schema: SCHEMA,
        old: old.side(),
        new: new.side(),
        new_hosts: new_hosts.difference(&old_hosts).cloned().collect(),
        gone_hosts: old_hosts.difference(&new_hosts).cloned().collect(),
        new_destinations: Vec::new(),
        gone_destinations: Vec::new(),
        more: Vec::new(),
        fewer: Vec::new(),
        unchanged: 0,
        notes,
    };
    for target in all {
        let (old, new) = (before.get(target), after.get(target));
        let change = Change {
            target: target.clone(),
            old: old.copied().unwrap_or(0),
            new: new.copied().unwrap_or(0),
        };
        match (old, new) {
            (None, _) => out.new_destinations.push(change),
            (_, None) => out.gone_destinations.push(change),
            (Some(old), Some(new)) if new > old => out.more.push(change),
            (Some(old), Some(new)) if new < old => out.fewer.push(change),
            _ => out.unchanged += 1,
        }
    }
    for list in [
        &mut out.new_destinations,
        &mut out.gone_destinations,
        &mut out.more,
        &mut out.fewer,
    ] {
        list.sort_by_key(|c| std::cmp::Reverse(c.new.abs_diff(c.old)));
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        events::Denial,
        report::{
            Document,
            collect::tests::{asked, material, second, tried},
        },
    };

    /// Through JSON, as on disk.
    fn saved(image: &str, denials: Vec<Denial>) -> Saved {
        let mut material = material(denials);
        material.identity.image = Some(image.into());
        let document = Document::collect(material);
        Saved::parse(&serde_json::to_string(&document).unwrap()).unwrap()
    }

    pub(crate) fn upgrade() -> Difference {
        let elsewhere = |port| Denial {
            destination: Some(([198, 51, 100, 8].into(), port)),
            ..tried("curl", 4, 20)
        };
        let old = saved(
            "shop:1.3",
            vec![
                tried("curl", 3, 20),
                elsewhere(80),
                asked("a", "kept.example", 2),
            ],
        );
        let new = saved(
            "shop:1.4",
            vec![
                tried("wget", 5, 20),
                elsewhere(81),
                asked("a", "kept.example", 2),
                asked("a", "<new>.example", 7),
            ],
        );
        compare(&old, &new)
    }

    #[test]
    fn tells_new_gone_and_more_apart() {
        let found = upgrade();
        let texts = |list: &[Change]| -> Vec<String> {
            list.iter()
                .map(|c| format!("{} {}>{}", c.target, c.old, c.new))
                .collect()
        };
        assert_eq!(
            texts(&found.new_destinations),
            ["name <new>.example 0>7", "tcp 198.51.100.8:81 0>4"]
        );
        assert_eq!(texts(&found.gone_destinations), ["tcp 198.51.100.8:80 4>0"]);
        assert_eq!(texts(&found.more), ["tcp 198.51.100.7:443 3>5"]);
        assert_eq!((found.fewer.len(), found.unchanged), (0, 1));
        // Another port of a known host is no new host.
        assert_eq!(found.new_hosts, ["<new>.example"]);
        assert_eq!(found.gone_hosts, [] as [&str; 0]);
        assert_eq!(found.notes.len(), 1);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut limited = material(vec![Denial::example()]);
        limited.since = Some(second(0));
        let text = serde_json::to_string(&Document::collect(limited)).unwrap();
        let limited = Saved::parse(&text).unwrap();
        let notes = compare(&limited, &limited).notes;
        assert_eq!(notes.len(), 5, "{notes:?}");
    }

    #[test]
    fn another_schema_is_refused() {
        let document = Document::collect(material(vec![]));
        let text = serde_json::to_string(&document).unwrap();
        let newer = text.replacen("\"schema\":1", "\"schema\":2", 1);
        assert!(Saved::parse(&newer).is_err_and(|e| e.contains("schema 2")));
        assert!(Saved::parse("[]").is_err());
    }
}
