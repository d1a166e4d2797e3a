//! `docs/ENGINES.md`: scenarios by engines, as one run saw them.

use std::collections::BTreeMap;
use std::time::Duration;

/// How a scenario came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Against a control.
    Held,
    /// By airgap, with a reason.
    Refused,
    /// Not in this engine, or not run.
    Absent,
    Failed,
}

impl Outcome {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "OK" => Self::Held,
            "REFUSED" => Self::Refused,
            "NONE" => Self::Absent,
            "FAILED" => Self::Failed,
            _ => return None,
        })
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Held => "OK",
            Self::Refused => "refused",
            Self::Absent => "–",
            Self::Failed => "FAILED",
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) outcome: Outcome,
    pub(super) figure: String,
}

/// What one machine printed.
#[derive(Debug)]
pub(super) struct Run {
    /// `trixie podman`.
    name: String,
    versions: String,
    rows: Vec<Row>,
    complete: bool,
    total: Duration,
}

impl Run {
    /// Reads lines `versions: …` and `row: WORD|WHAT|FIGURE|SECONDS`; others are somebody else's.
    pub(super) fn new(suite: &str, engine: &str, output: &str, total: Duration) -> Self {
        let lines = || output.lines().map(str::trim_end);
        let ends = |wanted: &str| lines().any(|line| line == wanted);
        Self {
            name: format!("{suite} {engine}"),
            versions: lines()
                .find_map(|line| line.strip_prefix("versions: "))
                .unwrap_or_default()
                .to_owned(),
            rows: lines().filter_map(row).collect(),
            complete: ends("guest: exit 0") || ends("guest: exit 1"),
            total,
        }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn versions(&self) -> &str {
        &self.versions
    }

    pub(super) fn count(&self, outcome: Outcome) -> usize {
        self.rows
            .iter()
            .filter(|row| row.outcome == outcome)
            .count()
    }

    /// Whether it came to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }
}

fn row(line: &str) -> Option<Row> {
    let mut cells = line.strip_prefix("row: ")?.split('|');
    Some(Row {
        outcome: Outcome::parse(cells.next()?)?,
        what: cells.next()?.to_owned(),
        figure: cells.next()?.to_owned(),
    })
}

const INTRODUCTION: &str = "\
# Engines

Written by `cargo xtask engines --table`; nothing here is typed by hand. Each engine ran in an emulated \
Debian machine of its own, with systemd and cgroup v2 alone, as its package sets it up. A container \
sends to a recorded world outside from its first instruction on, and again each second. **OK** means: \
its packets were outside before the seal, or an unsealed twin's were at the same time, and none of its \
own under the seal. **refused**: airgap refuses it by name, and changes nothing. **–**: this engine has \
no such thing, or it was not run. A run replaces its own parts.
";

/// The page after these runs; of other engines, what `old` said stays.
pub(super) fn page(old: &str, runs: &[Run], day: &str) -> String {
    let mut parts: BTreeMap<String, String> = old
        .split("\n## ")
        .skip(1)
        .filter_map(|part| {
            let (name, _) = part.split_once('\n')?;
            Some((name.to_owned(), part.trim_end().to_owned()))
        })
        .collect();
    for run in runs {
        parts.insert(run.name.clone(), part(run, day));
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by_key(|(name, _)| order(name));
    let parts: String = parts
        .into_iter()
        .map(|(_, part)| format!("\n## {part}\n"))
        .collect();
    format!("{INTRODUCTION}{parts}")
}

/// By suite, the oldest first.
fn order(name: &str) -> (usize, String) {
    let suites = ["bookworm", "trixie", "sid"];
    let place = suites.iter().position(|suite| name.starts_with(suite));
    (place.unwrap_or(suites.len()), name.to_owned())
}

fn part(run: &Run, day: &str) -> String {
    let minutes = run.total.as_secs_f64() / 60.0;
    let end = if run.complete {
        ""
    } else {
        ", **which stopped early**"
    };
    let rows: Vec<_> = run
        .rows
        .iter()
        .map(|row| {
            let word = match row.outcome {
                Outcome::Failed => "**FAILED**",
                other => other.word(),
            };
            format!("| {} | {word} | {} |", row.what, row.figure)
        })
        .collect();
    format!(
        "{}\n\n{}. {day}, {minutes:.0} min{end}.\n\n| scenario | | seen |\n|---|---|---|\n{}",
        run.name,
        run.versions,
        rows.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "guest: begin 6.12\r\nversions: podman 5.4\r\nbegin: restart\r\n\
                          row: OK|restart|sealed|12\r\nnoise\nrow: REFUSED|pod|shared-network|20\n\
                          row: FAILED|run|2 packets outside|31\nguest: exit 1\n";

    fn run(output: &str) -> Run {
        Run::new("trixie", "podman", output, Duration::from_secs(600))
    }

    #[test]
    fn reads_what_the_machine_printed() {
        let run = run(OUTPUT);
        assert!(run.is_complete());
        assert_eq!(run.versions(), "podman 5.4");
        let [held, refused, failed] =
            [Outcome::Held, Outcome::Refused, Outcome::Failed].map(|o| run.count(o));
        assert_eq!((held, refused, failed), (1, 1, 1));
        assert_eq!(run.rows()[1].figure, "shared-network");
    }

    #[test]
    fn a_machine_that_stops_early_is_not_complete() {
        let (cut, _) = OUTPUT.split_once("guest: exit").expect("an end");
        assert!(!run(cut).is_complete());
        assert!(part(&run(cut), "day").contains("stopped early"));
    }

    #[test]
    fn a_run_replaces_its_own_part() {
        let other = Run::new("bookworm", "docker", OUTPUT, Duration::ZERO);
        let old = page("", &[other, run(OUTPUT)], "first");
        let new = page(&old, &[run(OUTPUT)], "second");
        assert!(new.contains("| run | **FAILED** | 2 packets outside |"));
        let heads: Vec<_> = new.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(heads, ["## bookworm docker", "## trixie podman"]);
        assert_eq!(new.matches(" first, ").count(), 1);
        assert_eq!(new.matches(" second, ").count(), 1);
    }
}
