//! `cargo xtask reboot`: sealed containers over a real reboot of a machine with systemd and Docker.

use std::time::Duration;

use anyhow::Result;

use super::checks;
use super::disk;
use super::lab::Lab;
use super::package::Boot;
use super::whole::{self, Luggage, Run};
use crate::{build, setup, test};

/// How often it starts.
const BOOTS: usize = 3;
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
    Ok(checks::report(&ran, BOOTS))
}
