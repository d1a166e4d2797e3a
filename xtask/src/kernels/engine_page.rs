//! `docs/KERNELS-ENGINE.md`: how the end-to-end tests did on other kernels, by the file they are in.

use super::groups::Group;
use super::outcome::Outcome;
use super::package::Boot;

/// The page after these kernels ran: of others, what `old` said stays, unless it is of other
/// programs. `tests` are the programs with the words that chose their tests.
pub(super) fn page(
    old: &str,
    tests: &[(&str, &str)],
    ran: &[(&str, &Outcome)],
    day: &str,
) -> String {
    let head = head(tests);
    let mut rows: Vec<(String, String)> = Vec::new();
    if old.contains(&head) {
        rows.extend(old.lines().filter_map(kept));
        rows.retain(|(name, _)| ran.iter().all(|(new, _)| new != name));
    }
    for (name, outcome) in ran {
        rows.push(((*name).to_owned(), row(name, outcome, tests, day)));
    }
    rows.sort_by_key(|(name, _)| order(name));
    let rows: String = rows.into_iter().map(|(_, row)| row + "\n").collect();
    format!("{INTRODUCTION}\n{head}{rows}\n{}", chosen(tests))
}

const INTRODUCTION: &str = "\
# Kernels, with an engine

Written by `cargo xtask kernels --engine --table`; nothing here is typed by hand. Each kernel ran in \
an emulated machine with systemd, Docker and cgroup v2 alone, and in it the end-to-end tests that are \
named below: passed of those that ran. A run replaces the rows of its own kernels.
";

fn head(tests: &[(&str, &str)]) -> String {
    let cells = |of: &dyn Fn(&str) -> String| -> String {
        tests.iter().map(|(name, _)| of(name) + " | ").collect()
    };
    format!(
        "| kernel | release | {}whole run | on |\n|---|---|{}---|---|\n",
        cells(&|name| format!("`{name}`")),
        "---|".repeat(tests.len())
    )
}

fn row(name: &str, outcome: &Outcome, tests: &[(&str, &str)], day: &str) -> String {
    let cell = |(test, _): &(&str, &str)| {
        let found = outcome.groups.iter().find(|group| group.name == *test);
        found.map_or("**not run**".to_owned(), Group::cell)
    };
    let cells: Vec<_> = tests.iter().map(cell).collect();
    let release = outcome.release.as_deref().unwrap_or("–");
    let whole = match &outcome.complaint {
        None => format!("{:.0} min", outcome.total.as_secs_f64() / 60.0),
        Some(complaint) => format!("**{complaint}**"),
    };
    let cells = cells.join(" | ");
    format!("| {name} | {release} | {cells} | {whole} | {day} |")
}

/// A kernel's row of an older page, with its name.
fn kept(line: &str) -> Option<(String, String)> {
    let (name, _) = line.strip_prefix("| ")?.split_once(" |")?;
    Boot::new(name).ok()?;
    Some((name.to_owned(), line.to_owned()))
}

/// By series, the newest last.
fn order(name: &str) -> ((u32, u32), String) {
    let series = Boot::new(name).ok().and_then(|boot| boot.number());
    (series.unwrap_or((u32::MAX, 0)), name.to_owned())
}

fn chosen(tests: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, words) in tests {
        let words: Vec<_> = words
            .split_whitespace()
            .map(|word| format!("`{word}`"))
            .collect();
        let which = match words.as_slice() {
            [] => "all".to_owned(),
            words => words.join(", "),
        };
        text.push_str(&format!("- `tests/tests/{name}.rs`: {which}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::outcome::Ending;
    use super::*;

    const TESTS: [(&str, &str); 2] = [("verify", "proves_a without"), ("keeps", "")];
    const GOOD: &str = "guest: begin 6.1.0\nprogram: verify|9\ntest result: ok. 2 passed; 0 \
                        failed;\nprogram: keeps|99\r\ntest result: ok. 1 passed; 0 failed;\n\
                        guest: exit 0\n";

    fn outcome(output: &str) -> Outcome {
        Outcome::new(output, Ending::Off, None, Duration::from_secs(600))
    }

    #[test]
    fn a_row_has_what_passed() {
        let row = |output: &str| row("6.1", &outcome(output), &TESTS, "1970-01-01");
        assert_eq!(
            row(GOOD),
            "| 6.1 | 6.1.0 | 2 of 2 | 1 of 1 | 10 min | 1970-01-01 |"
        );
        let failed = GOOD.replace("ok. 2 passed; 0", "FAILED. 0 passed; 2");
        let failed = failed.replace("exit 0", "exit 101");
        assert_eq!(
            row(&failed),
            "| 6.1 | 6.1.0 | **0 of 2** | 1 of 1 | **2 test(s) failed** | 1970-01-01 |"
        );
        let none = GOOD.replace("2 passed", "0 passed");
        assert!(row(&none).contains("| **none ran** | 1 of 1 | **no test of verify ran** |"));
        let (cut, _) = GOOD.split_once("test result").expect("a result");
        assert!(row(cut).contains("| **died** | **not run** | **the kernel died"));
    }

    #[test]
    fn a_run_replaces_its_own_rows() {
        let good = outcome(GOOD);
        let old = page("", &TESTS, &[("6.12", &good), ("newest", &good)], "first");
        assert!(old.contains("- `tests/tests/verify.rs`: `proves_a`, `without`\n"));
        let new = page(&old, &TESTS, &[("newest", &good), ("6.1", &good)], "second");
        let rows: Vec<_> = new.lines().filter_map(kept).collect();
        let days: Vec<_> = rows
            .iter()
            .map(|(name, row)| (name.as_str(), row.ends_with("| second |")))
            .collect();
        assert_eq!(days, [("6.1", true), ("6.12", false), ("newest", true)]);
    }

    #[test]
    fn rows_of_other_programs_go() {
        let good = outcome(GOOD);
        let old = page("", &TESTS[..1], &[("6.12", &good)], "first");
        let new = page(&old, &TESTS, &[("6.1", &good)], "second");
        assert_eq!(new.lines().filter_map(kept).count(), 1);
    }
}
