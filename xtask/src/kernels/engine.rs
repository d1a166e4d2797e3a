//! `cargo xtask kernels --engine`: the core of the end-to-end tests, with Docker and systemd, on
//! other kernels.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::archive::Archive;
use super::host::Host;
use super::outcome::Outcome;
use super::package::Boot;
use super::whole::{self, Luggage, Run};
use super::{guest, host, lock, table};
use crate::workspace;
use crate::{build, setup, test};

/// Two kernels whose security hooks the host's own may refuse.
const USUAL: [&str; 2] = ["6.1", "6.12"];

/// In `tests/tests`, and words that the names of the chosen tests contain, none for all: what needs
/// an engine, and takes an emulated processor minutes, not hours.
const TESTS: [(&str, &str); 6] = [
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
ExecStart=/opt/engine.sh
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
";

/// Tests the kernels of these names, or the usual ones, one after the other, and ends with a table
/// and the line `N passed, N failed`. Returns whether none failed.
///
/// # Errors
/// Before any kernel ran: without root, for a name that is none, or when something cannot be built, installed
/// or written.
pub(crate) fn run(names: &[String]) -> Result<bool> {
    setup::require_root("kernels --engine")?;
    let names: Vec<&str> = match names {
        [] => USUAL.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let boots = names
        .iter()
        .map(|name| Boot::new(name))
        .collect::<Result<Vec<_>>>()?;
    let root = workspace::root()?;
    let cache = root.join("target/kernels");
    fs::create_dir_all(cache.join("log"))
        .with_context(|| format!("cannot create {}", cache.display()))?;
    let _lock = lock(&cache)?;
    let host = host::prepare()?;
    let archive = Archive::open(&host, &cache)?;
    let luggage = pack(&root, &cache)?;

    let mut lines = vec![table::HEAD.line()];
    let mut good = 0;
    for boot in &boots {
        println!("\n== kernel {} with an engine", boot.name);
        let outcome = test(&host, &archive, &cache, *boot, &luggage);
        good += usize::from(outcome.as_ref().is_ok_and(Outcome::is_good));
        let line = table::line(boot.name, &outcome);
        if let Err(error) = &outcome {
            println!("{error:#}");
        }
        println!("{line}");
        lines.push(line);
    }
    println!("\n{}", lines.join("\n"));
    println!("{good} passed, {} failed", boots.len() - good);
    Ok(good == boots.len())
}

fn pack(root: &Path, cache: &Path) -> Result<Luggage> {
    let luggage = Luggage::new(cache, "engine")?;
    luggage.program("airgap", &build::run(true)?)?;
    luggage.program("airgap-probe", &test::build_tool(root, "airgap-probe")?)?;
    let mut list = String::new();
    for (name, words) in TESTS {
        luggage.program(&format!("tests/{name}"), &guest::build_test(root, name)?)?;
        list.push_str(&format!("{name} {words}\n"));
    }
    luggage.script("tests/list", &list)?;
    luggage.script("engine.sh", SCRIPT)?;
    luggage.unit("airgap-engine.service", UNIT)?;
    Ok(luggage)
}

/// Runs one kernel, and shows what its tests printed.
fn test(
    host: &Host,
    archive: &Archive,
    cache: &Path,
    boot: Boot<'_>,
    luggage: &Luggage,
) -> Result<Outcome> {
    let ran = whole::run(
        host,
        archive,
        cache,
        &Run {
            name: &format!("engine-{}", boot.name),
            boot,
            luggage,
            restarts: false,
            limit: LIMIT,
        },
    )?;
    println!("{}", ran.output);
    if !ran.outcome.is_good() {
        println!("the kernel's messages: {}", ran.console.display());
    }
    Ok(ran.outcome)
}
