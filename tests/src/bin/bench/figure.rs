//! One measured quantity in several set-ups, round by round.

use serde_json::{Value, json};

/// A quantity. All set-ups have as many runs, and the runs of one round belong together.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What, in a few words.
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// Whether more is better.
    pub(crate) more: bool,
    /// Set-up and its runs; the first is what the others are compared with.
    pub(crate) columns: Vec<(String, Vec<f64>)>,
    /// What one column's ratio or value has to keep.
    pub(crate) bars: Vec<Bar>,
}

/// A limit that the project has set itself.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    /// The column.
    pub(crate) of: String,
    /// The column it is divided by; `None`: the value itself.
    pub(crate) over: Option<String>,
    /// It may be so much.
    pub(crate) limit: f64,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, more: bool) -> Self {
        Self {
            name: name.into(),
            unit,
            more,
            columns: Vec::new(),
            bars: Vec::new(),
        }
    }

    /// Adds a run of a set-up.
    pub(crate) fn push(&mut self, column: &str, value: f64) {
        match self.columns.iter_mut().find(|(name, _)| name == column) {
            Some((_, runs)) => runs.push(value),
            None => self.columns.push((column.to_owned(), vec![value])),
        }
    }

    pub(crate) fn bar(mut self, of: &str, over: Option<&str>, limit: f64) -> Self {
        self.bars.push(Bar {
            of: of.to_owned(),
            over: over.map(str::to_owned),
            limit,
        });
        self
    }

    fn runs(&self, column: &str) -> &[f64] {
        let found = self.columns.iter().find(|(name, _)| name == column);
        found.map_or(&[], |(_, runs)| runs)
    }

    /// Ratios of the runs of one round to each other.
    pub(crate) fn ratios(&self, of: &str, over: &str) -> Vec<f64> {
        let pairs = self.runs(of).iter().zip(self.runs(over));
        pairs.map(|(a, b)| a / b).collect()
    }

    /// The column that the others are compared with.
    pub(crate) fn base(&self) -> &str {
        self.columns.first().map_or("", |(name, _)| name)
    }

    /// Each limit: what it is about, what was measured, and whether it holds. Nothing for columns
    /// that were not measured.
    pub(crate) fn verdicts(&self) -> Vec<(String, Spread, String, bool)> {
        let verdict = |bar: &Bar| {
            let (what, values) = match &bar.over {
                Some(over) => (
                    format!("{}: {} / {over}", self.name, bar.of),
                    self.ratios(&bar.of, over),
                ),
                None => (
                    format!("{}: {} ({})", self.name, bar.of, self.unit),
                    self.runs(&bar.of).to_vec(),
                ),
            };
            let spread = Spread::of(&values)?;
            let holds = spread.median <= bar.limit;
            Some((what, spread, format!("≤ {}", bar.limit), holds))
        };
        self.bars.iter().filter_map(verdict).collect()
    }

    pub(crate) fn json(&self) -> Value {
        let columns: serde_json::Map<_, _> = self
            .columns
            .iter()
            .map(|(name, runs)| (name.clone(), json!(runs)))
            .collect();
        let verdicts = self.verdicts().into_iter().map(|(what, spread, limit, holds)| {
            json!({ "what": what, "median": spread.median, "limit": limit, "holds": holds })
        });
        json!({
            "name": self.name, "unit": self.unit, "more_is_better": self.more,
            "runs": columns, "limits": verdicts.collect::<Vec<_>>(),
        })
    }
}

/// Median and range of some runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// `None` of no runs.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Some(Self { median, low, high })
    }

    /// `12.3 (11–14)`.
    pub(crate) fn text(&self) -> String {
        let Self { median, low, high } = *self;
        format!("{} ({}–{})", short(median), short(low), short(high))
    }
}

/// Three digits that matter.
pub(crate) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        let of = |values: &[f64]| Spread::of(values).map(|s| s.median);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn limits_are_about_neighbours() {
        let mut figure = Figure::new("connect()", "µs", false).bar("sealed", Some("unsealed"), 1.1);
        for (unsealed, sealed) in [(100.0, 99.0), (50.0, 60.0), (200.0, 202.0)] {
            figure.push("unsealed", unsealed);
            figure.push("sealed", sealed);
        }
        let verdicts = figure.verdicts();
        assert_eq!(verdicts[0].1.median, 1.01);
        assert!(verdicts[0].3);
        assert_eq!(figure.base(), "unsealed");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(short(12345.6), "12346");
        assert_eq!(short(0.98765), "0.988");
    }
}
