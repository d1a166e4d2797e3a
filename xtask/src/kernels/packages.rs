//! `cargo xtask packages`: the Debian package on Debian, as somebody who has nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::engines::{self, SINK, SUITES};
use super::engines_page::{Outcome, Run as Column};
use super::lab::Lab;
use super::package::Boot;
use super::whole::{self, Luggage, Run};
use crate::{dist, setup, test};

/// Seven minutes when measured, with another load beside it.
const LIMIT: Duration = Duration::from_secs(2400);

const DAYS: &str = "\
[Unit]
Description=The days of a package
After=airgap-sink.service docker.service multi-user.target
FailureAction=poweroff-immediate

[Service]
Environment=AIRGAP_ENGINE=docker DEBIAN_FRONTEND=noninteractive
ExecStart=/opt/airgap-engines package
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
";

/// Makes the package, and runs its days on these suites, or on all; ends with the line
/// `N passed, N failed`. Returns whether none failed.
///
/// # Errors
/// Before anything ran: without root, for a name that is none, or when something cannot be built,
/// installed or written.
pub(crate) fn run(suites: &[String]) -> Result<bool> {
    setup::require_root("packages")?;
    let suites = engines::chosen(suites, &SUITES, |suite| suite.system.suite)?;
    let made = dist::run()?;
    let lab = Lab::open()?;
    let luggage = Luggage::new(&lab.cache, "packages")?;
    luggage.program("airgap.deb", &package(&made)?)?;
    for name in ["airgap-probe", "airgap-engines"] {
        luggage.program(name, &test::build_tool(&lab.root, name)?)?;
    }
    luggage.unit("airgap-sink.service", SINK)?;
    luggage.unit("airgap-packages.service", DAYS)?;
    let (mut passed, mut failed) = (0, 0);
    for suite in suites {
        let name = suite.system.suite;
        println!("\n== {name}");
        let ran = whole::run(
            &lab,
            &Run {
                name: &format!("packages-{name}"),
                boot: Boot::new(suite.kernel)?,
                system: suite.system,
                arguments: "systemd.mask=podman.socket systemd.mask=podman.service \
                            systemd.mask=podman-restart.service systemd.mask=nginx.service \
                            systemd.mask=haproxy.service",
                luggage: &luggage,
                restarts: false,
                limit: LIMIT,
            },
        )?;
        let column = Column::new(name.to_owned(), &ran.output);
        engines::show(&ran, &column);
        passed += column.count(Outcome::Held);
        failed += column.count(Outcome::Failed) + usize::from(!column.is_complete());
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// The one Debian package in that folder.
fn package(dist: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dist).with_context(|| format!("cannot read {}", dist.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = paths.filter(|path| path.extension().is_some_and(|e| e == "deb"));
    let found = found.next();
    found.with_context(|| format!("there is no Debian package in {}", dist.display()))
}
