//! `cargo xtask kernels --engine`: the core of the end-to-end tests, with Docker and systemd, on
//! other kernels.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::disk;
use super::lab::{self, Lab, Tested};
use super::whole::{self, Luggage, Run};
use super::{engine_page, guest};
use crate::command;
use crate::{build, setup, test};

/// Two kernels whose security hooks the host's own may refuse.
const USUAL: [&str; 2] = ["6.1", "6.12"];

/// In `tests/tests`, and words that the names of the chosen tests contain, none for all: what needs
/// an engine, and takes an emulated processor minutes, not hours.
const TESTS: [(&str, &str); 8] = [
    (
        "verify",
        "proves_a_seal_that_holds without_net_raw_the_kernel_refuses",
    ),
    ("carried_in", ""),
    ("nothing_leaves", ""),
    (
        "restarts",
        "unsealed_beacon_is_heard restarted_containers_stay_sealed",
    ),
    (
        "serves",
        "sealed_service_answers loopback_inside_the_container_stays_usable",
    ),
    ("keeps", ""),
    ("refuses", "risky_running"),
    ("hooks", ""),
];

/// A quarter of an hour when measured, with another load beside it.
const LIMIT: Duration = Duration::from_secs(3600);

const SCRIPT: &str = include_str!("../../assets/kernels/engine.sh");

const UNIT: &str = "\
[Unit]
Description=The end-to-end tests
After=docker.service multi-user.target
FailureAction=poweroff-immediate

[Service]
PassEnvironment=AIRGAP_HOOKS AIRGAP_FRAMES
ExecStart=/opt/engine.sh
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
";

/// Tests the kernels of these names, or the usual ones, one after the other, and ends with a table
/// and the line `N passed, N failed`. Returns whether none failed. With `page`, puts how the tests
/// did on them into `docs/KERNELS-ENGINE.md`.
///
/// # Errors
/// Before any kernel ran: without root, for a name that is none, or when something cannot be built,
/// installed or written.
pub(crate) fn run(names: &[String], page: bool) -> Result<bool> {
    setup::require_root("kernels --engine")?;
    let boots = lab::boots(names, &USUAL)?;
    let lab = Lab::open()?;
    let luggage = pack(&lab)?;
    let all = lab::each(&boots, |boot| {
        whole::run(
            &lab,
            &Run {
                name: &format!("engine-{}", boot.name),
                boot,
                system: disk::DOCKER,
                arguments: "",
                luggage: &luggage,
                restarts: false,
                limit: LIMIT,
            },
        )
    });
    if page {
        write_page(&lab, &all)?;
    }
    Ok(lab::count(&all))
}

fn write_page(lab: &Lab, all: &[Tested<'_>]) -> Result<()> {
    let path = lab.root.join("docs/KERNELS-ENGINE.md");
    let old = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let day = command::output(Command::new("date").args(["--utc", "+%F"]))?;
    let ran: Vec<_> = lab::ran(all).collect();
    fs::write(&path, engine_page::page(&old, &TESTS, &ran, day.trim()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("written: {}", path.display());
    Ok(())
}

fn pack(lab: &Lab) -> Result<Luggage> {
    let luggage = Luggage::new(&lab.cache, "engine")?;
    luggage.program("airgap", &build::run(true)?)?;
    luggage.program(
        "airgap-probe",
        &test::build_tool(&lab.root, "airgap-probe")?,
    )?;
    let mut list = String::new();
    for (name, words) in TESTS {
        luggage.program(
            &format!("tests/{name}"),
            &guest::build_test(&lab.root, name)?,
        )?;
        list.push_str(&format!("{name} {words}\n"));
    }
    luggage.script("tests/list", &list)?;
    luggage.script("engine.sh", SCRIPT)?;
    luggage.unit("airgap-engine.service", UNIT)?;
    Ok(luggage)
}
