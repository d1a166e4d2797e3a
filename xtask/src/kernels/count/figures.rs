//! What the counting machine printed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// Set-up, operation, IP version.
pub(super) type Key = (String, String, u8);

/// Instructions of one operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures(BTreeMap<Key, f64>);

impl Figures {
    /// Lines `count: SETUP|OPERATION|FAMILY|INSTRUCTIONS`; others are somebody else's.
    ///
    /// # Errors
    /// When a line has another form, or there is none.
    pub(super) fn parse(output: &str) -> Result<Self> {
        let mut figures = BTreeMap::new();
        for line in output.lines() {
            let Some(rest) = line.trim_end().strip_prefix("count: ") else {
                continue;
            };
            let fields: Vec<_> = rest.split('|').collect();
            let [setup, operation, family, count] = fields[..] else {
                bail!("the counting machine printed {line:?}");
            };
            let what = || format!("the counting machine printed {line:?}");
            let family = family.parse().with_context(what)?;
            let count: f64 = count.parse().with_context(what)?;
            figures.insert((setup.to_owned(), operation.to_owned(), family), count);
        }
        if figures.is_empty() {
            bail!("the counting machine counted nothing");
        }
        Ok(Self(figures))
    }

    pub(super) fn get(&self, setup: &str, operation: &str, family: u8) -> Option<f64> {
        let key = (setup.to_owned(), operation.to_owned(), family);
        self.0.get(&key).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, f64)> {
        self.0.iter().map(|(key, count)| (key, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_figure() {
        let figures = Figures::parse("noise\ncount: sealed|kept|4|100.5\r\n").expect("figures");
        assert_eq!(figures.get("sealed", "kept", 4), Some(100.5));
        assert_eq!(figures.get("sealed", "kept", 6), None);
        assert!(Figures::parse("count: sealed|kept|4\n").is_err());
        assert!(Figures::parse("count: sealed|kept|4|x\n").is_err());
        assert!(Figures::parse("nothing\n").is_err());
    }
}
