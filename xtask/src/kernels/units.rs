//! `cargo xtask units`: sealed systemd units, Debian's nginx among them, on real systemd.

use std::time::Duration;

use anyhow::{Context, Result};

use super::checks;
use super::disk::System;
use super::lab::Lab;
use super::package::{Boot, NEWEST};
use super::whole::{self, Luggage, Run};
use crate::{build, setup, test};

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
                   busybox-static,nginx-light",
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
/// line `N passed, N failed`. `kernel`: instead of the suite's own. Returns whether none failed
/// and none was left out.
///
/// # Errors
/// Without root, for a suite or a kernel that is none, and when something cannot be built,
/// installed, written or started.
pub(crate) fn run(suites: &[String], kernel: Option<&str>) -> Result<bool> {
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
    }
    Ok(good)
}

fn find(name: &str) -> Result<&'static Suite> {
    let known = || SUITES.map(|suite| suite.system.suite).join(", ");
    let found = SUITES.iter().find(|suite| suite.system.suite == name);
    found.with_context(|| format!("{name:?} is not known here\nhint: one of {}", known()))
}
