//! `performance/budget.toml`: instructions that an operation may take.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::budget_path;
use super::figures::Figures;

/// So much more is no change.
const TOLERANCE: f64 = 0.02;
/// The set-up that the others are held against.
const BASE: &str = "unsealed";
const FAMILY: u8 = 4;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    /// Where it was counted. On another kernel the same operation takes others, also unsealed:
    /// by so much each budget moves.
    kernel: String,
    /// Set-up, operation, instructions.
    instructions: BTreeMap<String, BTreeMap<String, f64>>,
}

/// One figure beside its budget.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    what: String,
    /// `None`: it was not counted.
    count: Option<f64>,
    budget: f64,
}

impl Verdict {
    pub(super) fn is_within(&self) -> bool {
        self.count
            .is_some_and(|count| count <= self.budget * (1.0 + TOLERANCE))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_within() { "within" } else { "OVER  " };
        match self.count {
            Some(count) => write!(
                f,
                "{word} {:<24} {count:>9.0} of {:.0} instructions",
                self.what, self.budget
            ),
            None => write!(f, "{word} {:<24} was not counted", self.what),
        }
    }
}

impl Budget {
    /// # Errors
    /// When the file is not there, or is none.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let path = budget_path(root);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no budget", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let budget: Self = toml::from_str(text)?;
        if !budget.instructions.contains_key(BASE) {
            bail!("it has no [instructions.{BASE}]");
        }
        Ok(budget)
    }

    /// Each budget, and how that was kept. What is unsealed costs what the kernel makes it cost.
    pub(super) fn hold(&self, figures: &Figures) -> Vec<Verdict> {
        let base = &self.instructions[BASE];
        let mut verdicts = Vec::new();
        for (setup, operations) in &self.instructions {
            for (operation, budget) in operations.iter().filter(|_| setup != BASE) {
                let now = figures.get(BASE, operation, FAMILY);
                let moved = now
                    .zip(base.get(operation))
                    .map_or(0.0, |(now, then)| now - then);
                verdicts.push(Verdict {
                    what: format!("{setup}, {operation}"),
                    count: figures.get(setup, operation, FAMILY),
                    budget: budget + moved,
                });
            }
        }
        verdicts
    }

    /// What to know where this is not the kernel that it was counted on.
    pub(super) fn note(&self, release: &str) -> Option<String> {
        (release != self.kernel).then(|| {
            format!(
                "the budget was counted on {}, this is {release}: each figure may differ by as much as unsealed",
                self.kernel
            )
        })
    }
}

/// Writes what was counted as the budget.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write(root: &Path, release: &str, figures: &Figures) -> Result<PathBuf> {
    let mut text = format!(
        "# Instructions that an operation may take: `cargo xtask test` fails when one takes 2 % more.\n\
         # Written by `cargo xtask bench --write-budget`; a higher figure is a commit with its reason.\n\
         kernel = \"{release}\"\n"
    );
    let mut last = "";
    for ((setup, operation, _), count) in figures.iter() {
        if setup != last {
            let _ = write!(text, "\n[instructions.{setup}]\n");
            last = setup;
        }
        let _ = writeln!(text, "{operation} = {count:.1}");
    }
    let path = budget_path(root);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "kernel = \"6.12\"\n[instructions.unsealed]\nkept = 1000\n\
                        [instructions.sealed]\nkept = 1100.0\nsocket = 10.0\n";

    fn figures(unsealed: u32, sealed: u32) -> Figures {
        let text = format!("count: unsealed|kept|4|{unsealed}\ncount: sealed|kept|4|{sealed}\n");
        Figures::parse(&text).expect("figures")
    }

    #[test]
    fn two_parts_in_a_hundred_are_no_change() {
        let budget = Budget::parse(TEXT).expect("a budget");
        assert_eq!(budget.note("6.12"), None);
        assert!(budget.note("6.13").is_some());
        let within = |unsealed, sealed| budget.hold(&figures(unsealed, sealed))[0].is_within();
        assert!(within(1000, 1122) && within(1000, 900));
        assert!(!within(1000, 1123));
        // Another kernel, on which everything takes more.
        assert!(within(1200, 1320) && !within(1200, 1330));
    }

    #[test]
    fn what_was_not_counted_is_not_within() {
        let verdicts = Budget::parse(TEXT)
            .expect("a budget")
            .hold(&figures(1000, 1100));
        assert_eq!(verdicts.len(), 2);
        assert!(!verdicts[1].is_within());
        assert!(verdicts[1].to_string().contains("was not counted"));
    }

    #[test]
    fn other_files_are_refused() {
        for bad in [
            "",
            "kernel = 1",
            "kernel = \"a\"\nx = 1\n[instructions.unsealed]\n",
            "kernel = \"a\"\n[instructions.sealed]\n",
        ] {
            assert!(Budget::parse(bad).is_err(), "{bad}");
        }
    }
}
