//! `airgap-bench`: the figures of PERFORMANCE.md. `cargo xtask bench` builds what it needs and
//! runs it; see there.
//!
//! Set-ups are measured in turn within each round, so that what the machine does meanwhile falls on
//! all of them; what counts are ratios of neighbours, their medians, and their spread.

mod attach;
mod denial;
mod events;
mod figure;
mod growth;
mod load;
mod machine;
mod plot;
mod programs;
mod reply;
mod report;
mod setup;
mod single;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use figure::Figure;

/// What is asked for on the command line.
struct Wanted {
    rounds: usize,
    /// Seconds of each load.
    seconds: u32,
    /// Where `PERFORMANCE.md`, its plots and the figures as JSON go.
    out: PathBuf,
    /// Parts to measure; empty: all.
    parts: Vec<String>,
}

impl Wanted {
    fn parse() -> Result<Self> {
        let mut wanted = Self {
            rounds: 7,
            seconds: 2,
            out: PathBuf::from("."),
            parts: Vec::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let value = args
                .next()
                .with_context(|| format!("{arg} without a value"))?;
            match arg.as_str() {
                "--rounds" => wanted.rounds = value.parse().context("--rounds")?,
                "--seconds" => wanted.seconds = value.parse().context("--seconds")?,
                "--out" => wanted.out = value.into(),
                "--part" => wanted.parts.push(value),
                _ => bail!("unknown argument {arg}"),
            }
        }
        Ok(wanted)
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|p| p == part)
    }
}

/// A part of the measurement, by the name that `--part` takes.
type Part = (&'static str, fn(&Wanted) -> Vec<Figure>);

const PARTS: [Part; 6] = [
    ("attach", attach::measure),
    ("denial", denial::measure),
    ("events", events::measure),
    ("single", single::measure),
    ("reply", reply::measure),
    ("growth", growth::measure),
];

fn main() -> Result<()> {
    let wanted = Wanted::parse()?;
    let mut figures = Vec::new();
    for (name, measure) in PARTS {
        if wanted.has(name) {
            eprintln!("== {name}");
            figures.extend(measure(&wanted));
            // What a run that is ended early has seen so far.
            report::write(&wanted, Path::new("target/bench"), &figures)?;
        }
    }
    report::write(&wanted, &wanted.out, &figures)?;
    print!("{}", report::summary(&figures));
    Ok(())
}
