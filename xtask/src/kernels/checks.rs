//! What a machine prints of its checks, boot for boot, as a table.

use super::machine::Ran;

/// Prints the table of all checks, and the line `N passed, N failed`. Returns whether none failed,
/// and the machine came to its end in this boot.
pub(super) fn report(ran: &Ran, boots: usize) -> bool {
    let checks = checks(&ran.output);
    println!("\n{:<4} {:<6} {:<46} seen", "boot", "result", "check");
    for Check {
        boot,
        good,
        what,
        figure,
    } in &checks
    {
        let word = if *good { "PASS" } else { "FAIL" };
        println!("{boot:<4} {word:<6} {what:<46} {figure}");
    }
    let failed = checks.iter().filter(|check| !check.good).count();
    // A machine that stops halfway has checks that nobody made.
    let stopped = usize::from(failed == 0 && !is_complete(&ran.output, boots));
    if failed + stopped > 0 {
        println!("\n{}", ran.output);
        if let Some(complaint) = &ran.outcome.complaint {
            println!("{complaint}");
        }
        println!("the kernel's messages: {}", ran.console.display());
    }
    println!("{:.0} s in the machine", ran.outcome.total.as_secs_f64());
    println!(
        "{} passed, {} failed",
        checks.len() - failed,
        failed + stopped
    );
    failed + stopped == 0
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Check<'a> {
    pub(super) boot: &'a str,
    pub(super) good: bool,
    pub(super) what: &'a str,
    pub(super) figure: &'a str,
}

/// Lines `boot: N` and `check: ok|WHAT|FIGURE`; others are somebody else's.
pub(super) fn checks(output: &str) -> Vec<Check<'_>> {
    let mut boot = "?";
    let mut checks = Vec::new();
    for line in output.lines().map(str::trim_end) {
        if let Some(number) = line.strip_prefix("boot: ") {
            boot = number;
        } else if let Some(rest) = line.strip_prefix("check: ")
            && let Some((word, rest)) = rest.split_once('|')
            && let Some((what, figure)) = rest.split_once('|')
        {
            checks.push(Check {
                boot,
                good: word == "ok",
                what,
                figure,
            });
        }
    }
    checks
}

/// Whether the last boot came to its end.
pub(super) fn is_complete(output: &str, boots: usize) -> bool {
    let has = |wanted: &str| output.lines().any(|line| line.trim_end() == wanted);
    has(&format!("boot: {boots}")) && has("guest: exit 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "guest: begin 6.12\r\nboot: 1\r\ncheck: ok|sealed|exit 0\r\n\
                          noise\ncheck: FAILED|packets|2 of it\nboot: 3\nguest: exit 0\n";

    #[test]
    fn reads_what_the_machine_printed() {
        let good = Check {
            boot: "1",
            good: true,
            what: "sealed",
            figure: "exit 0",
        };
        let bad = Check {
            boot: "1",
            good: false,
            what: "packets",
            figure: "2 of it",
        };
        assert_eq!(checks(OUTPUT), [good, bad]);
    }

    #[test]
    fn a_machine_that_stops_early_is_not_complete() {
        assert!(is_complete(OUTPUT, 3));
        assert!(!is_complete(&OUTPUT.replace("boot: 3", "boot: 2"), 3));
        assert!(!is_complete(&OUTPUT.replace("exit 0\n", "exit 1\n"), 3));
    }
}
