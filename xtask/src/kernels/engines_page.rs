//! `docs/ENGINES.md`: scenarios by engines, as one run saw them.

use super::page::{order, parts, whole};

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
    /// `trixie podman`, and after a comma a kernel that is not the suite's.
    name: String,
    versions: String,
    rows: Vec<Row>,
    complete: bool,
}

impl Run {
    /// Reads lines `versions: …` and `row: WORD|WHAT|FIGURE|SECONDS`; others are somebody else's.
    pub(super) fn new(name: String, output: &str) -> Self {
        let lines = || output.lines().map(str::trim_end);
        let ends = |wanted: &str| lines().any(|line| line == wanted);
        Self {
            name,
            versions: lines()
                .find_map(|line| line.strip_prefix("versions: "))
                .unwrap_or_default()
                .to_owned(),
            rows: lines().filter_map(row).collect(),
            complete: ends("guest: exit 0") || ends("guest: exit 1"),
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
no such thing, or it was not run. A run replaces its own rows.
";

/// The page after these runs; of other engines and scenarios, what `old` said stays, unless other
/// versions said it.
pub(super) fn page(old: &str, runs: &[Run], day: &str) -> String {
    let mut parts = parts(old);
    for run in runs {
        let key = order(&run.name);
        let new = part(parts.get(&key).map_or("", String::as_str), run, day);
        parts.insert(key, new);
    }
    whole(INTRODUCTION, parts)
}

/// An engine's part, without the `## ` before it.
fn part(old: &str, run: &Run, day: &str) -> String {
    let head = format!(
        "{}\n\n{}\n\n| scenario | | seen | on |\n|---|---|---|---|\n",
        run.name, run.versions
    );
    let mut rows: Vec<(String, String)> = Vec::new();
    if let Some(table) = old.strip_prefix(&head) {
        rows.extend(table.lines().filter_map(kept));
    }
    for row in &run.rows {
        let word = match row.outcome {
            Outcome::Failed => "**FAILED**",
            other => other.word(),
        };
        let line = format!("| {} | {word} | {} | {day} |", row.what, row.figure);
        match rows.iter_mut().find(|(what, _)| *what == row.what) {
            Some(known) => known.1 = line,
            None => rows.push((row.what.clone(), line)),
        }
    }
    let rows: Vec<_> = rows.into_iter().map(|(_, line)| line).collect();
    head + &rows.join("\n")
}

/// A row of an older page, with its scenario.
fn kept(line: &str) -> Option<(String, String)> {
    let (what, _) = line.strip_prefix("| ")?.split_once(" | ")?;
    Some((what.to_owned(), line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "guest: begin 6.12\r\nversions: podman 5.4\r\nbegin: restart\r\n\
                          row: OK|restart|sealed|12\r\nnoise\nrow: REFUSED|pod|shared-network|20\n\
                          row: FAILED|run|2 packets outside|31\nguest: exit 1\n";

    fn run(output: &str) -> Run {
        Run::new("trixie podman".to_owned(), output)
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
    }

    #[test]
    fn a_run_replaces_its_own_rows() {
        let other = Run::new("bookworm docker".to_owned(), OUTPUT);
        let old = page("", &[other, run(OUTPUT)], "day 1");
        let some =
            "versions: podman 5.4\nrow: OK|run|sealed|1\nrow: OK|new|sealed|2\nguest: exit 0\n";
        let new = page(&old, &[run(some)], "day 2");
        assert!(new.contains("| run | OK | sealed | day 2 |"));
        assert!(new.contains("| restart | OK | sealed | day 1 |"));
        assert!(new.contains("| new | OK | sealed | day 2 |"));
        let heads: Vec<_> = new.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(heads, ["## bookworm docker", "## trixie podman"]);
        assert_eq!(new.matches("day 2").count(), 2);
    }

    #[test]
    fn rows_of_other_versions_go() {
        let old = page("", &[run(OUTPUT)], "day 1");
        let newer = OUTPUT.replace("podman 5.4", "podman 5.8");
        let new = page(&old, &[run(&newer)], "day 2");
        assert!(!new.contains("day 1") && !new.contains("5.4"));
    }
}
