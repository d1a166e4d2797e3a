//! `cargo xtask reboot`: sealed containers over a real reboot of a machine with systemd and Docker.

use std::time::Duration;

use anyhow::Result;

use super::disk;
use super::lab::Lab;
use super::machine::Ran;
use super::package::Boot;
use super::whole::{self, Luggage, Run};
use crate::{build, setup, test};

/// Seven minutes when measured, with another load beside it.
const LIMIT: Duration = Duration::from_secs(1800);

const SINK: &str = "\
[Unit]
Description=The outside world, recorded
Before=containerd.service docker.service

[Service]
Type=notify
ExecStart=/opt/airgap-reboot sink

[Install]
WantedBy=multi-user.target
";

const BOOT: &str = "\
[Unit]
Description=The checks of this boot
After=airgap-sink.service docker.service multi-user.target
FailureAction=poweroff-immediate

[Service]
ExecStart=/opt/airgap-reboot boot
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
";

/// Boots the machine three times on one disk, and ends with a table of all checks and the line
/// `N passed, N failed`. Returns whether none failed and none was left out.
///
/// # Errors
/// Without root, and when something cannot be built, installed, written or started.
pub(crate) fn run(kernel: &str) -> Result<bool> {
    setup::require_root("reboot")?;
    let boot = Boot::new(kernel)?;
    let lab = Lab::open()?;
    let airgap = build::run(true)?;
    let probe = test::build_tool(&lab.root, "airgap-probe")?;
    let drill = test::build_tool(&lab.root, "airgap-reboot")?;
    let luggage = Luggage::new(&lab.cache, "reboot")?;
    for (name, file) in [
        ("airgap", &airgap),
        ("airgap-probe", &probe),
        ("airgap-reboot", &drill),
    ] {
        luggage.program(name, file)?;
    }
    luggage.unit("airgap-sink.service", SINK)?;
    luggage.unit("airgap-reboot.service", BOOT)?;
    let ran = whole::run(
        &lab,
        &Run {
            name: "reboot",
            boot,
            system: disk::DOCKER,
            arguments: "",
            luggage: &luggage,
            restarts: true,
            limit: LIMIT,
        },
    )?;
    Ok(report(&ran))
}

/// Prints the table.
fn report(ran: &Ran) -> bool {
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
    let stopped = usize::from(failed == 0 && !is_complete(&ran.output));
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
struct Check<'a> {
    boot: &'a str,
    good: bool,
    what: &'a str,
    figure: &'a str,
}

/// Lines `boot: N` and `check: ok|WHAT|FIGURE`; others are somebody else's.
fn checks(output: &str) -> Vec<Check<'_>> {
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
fn is_complete(output: &str) -> bool {
    let has = |wanted| output.lines().any(|line| line.trim_end() == wanted);
    has("boot: 3") && has("guest: exit 0")
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
        assert!(is_complete(OUTPUT));
        assert!(!is_complete(&OUTPUT.replace("boot: 3", "boot: 2")));
        assert!(!is_complete(&OUTPUT.replace("exit 0\n", "exit 1\n")));
    }
}
