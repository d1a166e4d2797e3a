//! `cargo xtask units`: sealed systemd units, Debian's nginx among them, on real systemd.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::checks;
use super::disk::System;
use super::lab::Lab;
use super::package::{Boot, NEWEST};
use super::units_page;
use super::whole::{self, Luggage, Run};
use crate::{build, command, setup, test};

/// A Debian, and the kernel that it is booted with.
struct Suite {
    system: System,
    kernel: &'static str,
}

/// systemd 252, 257 and what sid has.
const SUITES: [Suite; 3] = [
    suite("bookworm", "6.1"),
    suite("trixie", "6.12"),
    suite("sid", NEWEST),
];

const fn suite(suite: &'static str, kernel: &'static str) -> Suite {
    let system = System {
        suite,
        packages: "systemd,systemd-sysv,udev,dbus,libpam-systemd,iproute2,kmod,procps,\
                   busybox-static,nginx-light,at",
        size: "2G",
    };
    Suite { system, kernel }
}

/// How often it starts.
const BOOTS: usize = 2;
const LIMIT: Duration = Duration::from_secs(3600);

const SINK: &str = "\
[Unit]
Description=The outside world, recorded

[Service]
Type=notify
ExecStart=/opt/airgap-units sink

[Install]
WantedBy=multi-user.target
";

const BOOT: &str = "\
[Unit]
Description=The checks of this boot
After=airgap-sink.service multi-user.target
FailureAction=poweroff-immediate

[Service]
Environment=AIRGAP_TEST_PATIENCE=6
ExecStart=/opt/airgap-units boot
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
";

/// Boots each of these suites, or trixie, twice, and prints a table of all checks, each with the
/// line `N passed, N failed`. `kernel`: instead of the suite's own; `table`: writes
/// docs/UNITS.md. Returns whether none failed
/// and none was left out.
///
/// # Errors
/// Without root, for a suite or a kernel that is none, and when something cannot be built,
/// installed, written or started.
pub(crate) fn run(suites: &[String], kernel: Option<&str>, table: bool) -> Result<bool> {
    setup::require_root("units")?;
    let chosen: Result<Vec<_>> = match suites {
        [] => Ok(vec![find("trixie")?]),
        some => some.iter().map(|name| find(name)).collect(),
    };
    let chosen = chosen?;
    let kernel = kernel.map(Boot::new).transpose()?;
    let lab = Lab::open()?;
    let luggage = Luggage::new(&lab.cache, "units")?;
    luggage.program("airgap", &build::run(true)?)?;
    for name in ["airgap-probe", "airgap-units"] {
        luggage.program(name, &test::build_tool(&lab.root, name)?)?;
    }
    luggage.unit("airgap-sink.service", SINK)?;
    luggage.unit("airgap-units.service", BOOT)?;
    let mut good = true;
    for suite in chosen {
        let boot = kernel.map_or_else(|| Boot::new(suite.kernel), Ok)?;
        println!("\n== {}, {}", suite.system.suite, boot.name);
        let ran = whole::run(
            &lab,
            &Run {
                name: &format!("units-{}-{}", suite.system.suite, boot.name),
                boot,
                system: suite.system,
                arguments: "",
                luggage: &luggage,
                restarts: true,
                limit: LIMIT,
            },
        )?;
        good &= checks::report(&ran, BOOTS);
        if table {
            let own = kernel.filter(|boot| boot.name != suite.kernel);
            let own = own.map_or_else(String::new, |boot| format!(", {}", boot.name));
            let run = units_page::Run {
                name: format!("{}{own}", suite.system.suite),
                output: &ran.output,
                checks: checks::checks(&ran.output),
                complete: checks::is_complete(&ran.output, BOOTS),
            };
            write_page(&lab, &run)?;
        }
    }
    Ok(good)
}

fn write_page(lab: &Lab, run: &units_page::Run<'_>) -> Result<()> {
    let path = lab.root.join("docs/UNITS.md");
    let old = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let day = command::output(Command::new("date").args(["--utc", "+%F"]))?;
    fs::write(&path, units_page::page(&old, run, day.trim()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("written: {}", path.display());
    Ok(())
}

fn find(name: &str) -> Result<&'static Suite> {
    let known = || SUITES.map(|suite| suite.system.suite).join(", ");
    let found = SUITES.iter().find(|suite| suite.system.suite == name);
    found.with_context(|| format!("{name:?} is not known here\nhint: one of {}", known()))
}
