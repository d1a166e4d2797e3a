//! `docs/UNITS.md`: what `cargo xtask units` saw, machine for machine.

use super::{
    checks::Check,
    page::{order, parts, whole},
};

const INTRODUCTION: &str = "\
# Units

Written by `cargo xtask units --table`; nothing here is typed by hand unless its part says so. Each list ran in an emulated Debian \
machine of its own, with its systemd, twice: the second part after a reboot. A recorded world outside counts \
what arrives. Each way around is tried without a seal first (`control`), and nothing of what was sealed may \
arrive. A run replaces its own part.
";
/// Characters of a figure that are shown: refusals say more than a table can.
const LONGEST: usize = 90;

/// What one machine printed, and what it is called.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// `trixie`, and after a comma a kernel that is not the suite's.
    pub(super) name: String,
    pub(super) output: &'a str,
    pub(super) checks: Vec<Check<'a>>,
    /// It came to its end.
    pub(super) complete: bool,
}

/// The page after this run; of other machines, what `old` said stays.
pub(super) fn page(old: &str, run: &Run<'_>, day: &str) -> String {
    let mut parts = parts(old);
    parts.insert(order(&run.name), part(run, day));
    whole(INTRODUCTION, parts)
}

fn part(run: &Run<'_>, day: &str) -> String {
    let told = |prefix: &str| {
        let mut lines = run.output.lines().map(str::trim_end);
        lines
            .find_map(|line| line.strip_prefix(prefix))
            .unwrap_or("not told")
            .to_owned()
    };
    let good = run.checks.iter().filter(|check| check.good).count();
    let end = if run.complete {
        ""
    } else {
        ", and it did not come to its end"
    };
    let mut text = format!(
        "{}\n\n{}, Linux {}, {}; {day}: {good} of {} checks passed{end}.\n\n| boot | check | | seen |\n|---|---|---|---|\n",
        run.name,
        told("systemd: "),
        told("guest: begin "),
        told("hooks: "),
        run.checks.len()
    );
    for check in &run.checks {
        let word = if check.good { "OK" } else { "FAILED" };
        let figure: String = check.figure.trim().chars().take(LONGEST).collect();
        let cut = if figure.len() < check.figure.trim().len() {
            "…"
        } else {
            ""
        };
        text += &format!(
            "| {} | {} | {word} | {}{cut} |\n",
            check.boot,
            cell(check.what),
            cell(&figure)
        );
    }
    text.trim_end().to_owned()
}

/// What ends no cell.
fn cell(text: &str) -> String {
    text.replace('|', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, good: bool) -> Run<'static> {
        Run {
            name: name.into(),
            output: "guest: begin 6.12.1\nsystemd: systemd 257\nhooks: security hooks\n",
            checks: vec![Check {
                boot: "1",
                good,
                what: "sealed",
                figure: "exit 0 ",
            }],
            complete: good,
        }
    }

    #[test]
    fn a_run_replaces_its_own_part() {
        let first = page("", &run("trixie", false), "2026-01-01");
        assert!(
            first.contains("0 of 1 checks passed, and it did not"),
            "{first}"
        );
        let second = page(&first, &run("bookworm", true), "2026-01-02");
        let third = page(&second, &run("trixie", true), "2026-01-03");
        assert!(third.find("## bookworm").unwrap() < third.find("## trixie").unwrap());
        assert!(!third.contains("FAILED") && third.contains("| 1 | sealed | OK | exit 0 |"));
        assert!(third.contains("systemd 257, Linux 6.12.1, security hooks; 2026-01-03"));
        assert_eq!(page(&third, &run("trixie", true), "2026-01-03"), third);
    }
}
