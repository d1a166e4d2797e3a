//! `cargo xtask engines`: one list of everyday scenarios on the engines of Debian's suites.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::disk::System;
use super::engines_page::{self, Outcome, Run as Column};
use super::lab::Lab;
use super::machine::Ran;
use super::package::Boot;
use super::whole::{self, Luggage, Run};
use crate::command;
use crate::{build, setup, test};

/// A Debian with both engines, and the kernel that it is booted with.
pub(super) struct Suite {
    pub(super) system: System,
    pub(super) kernel: &'static str,
}

/// Docker 20.10 and Podman 4.3; 26.1 and 5.4; 28.5 and 5.8.
pub(super) const SUITES: [Suite; 3] = [
    Suite {
        system: System {
            suite: "bookworm",
            packages: "systemd,systemd-sysv,udev,dbus,docker.io,docker-compose,podman,crun,runc,\
                       netavark,aardvark-dns,conmon,catatonit,apparmor,iproute2,iptables,nftables,\
                       kmod,procps,busybox-static,nginx-light,gunicorn,haproxy,nodejs",
            size: "6G",
        },
        kernel: "6.1",
    },
    Suite {
        system: System {
            suite: "trixie",
            packages: NEWER,
            size: "6G",
        },
        kernel: "6.12",
    },
    Suite {
        system: System {
            suite: "sid",
            packages: NEWER,
            size: "6G",
        },
        kernel: super::package::NEWEST,
    },
];
const NEWER: &str = "systemd,systemd-sysv,udev,dbus,docker.io,docker-cli,docker-compose,podman,crun,\
                     runc,netavark,aardvark-dns,conmon,catatonit,passt,uidmap,dbus-user-session,\
                     libpam-systemd,apparmor,iproute2,iptables,nftables,kmod,procps,busybox-static,\
                     nginx-light,gunicorn,haproxy,nodejs";

const ENGINES: [&str; 2] = ["docker", "podman"];

/// Half an hour when measured, with another load beside it.
const LIMIT: Duration = Duration::from_secs(3600);

pub(super) const SINK: &str = "\
[Unit]
Description=The outside world, recorded
Before=containerd.service docker.service podman.service

[Service]
Type=notify
ExecStart=/opt/airgap-engines sink

[Install]
WantedBy=multi-user.target
";

const LIST: &str = "\
[Unit]
Description=The scenarios
After=airgap-sink.service docker.service podman.socket podman-restart.service multi-user.target
FailureAction=poweroff-immediate

[Service]
PassEnvironment=AIRGAP_ENGINE AIRGAP_SCENARIOS
ExecStart=/opt/airgap-engines list
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
# Before a reboot: what Podman 4.3 leaves in its cgroup ends by itself.
KillMode=process
";

/// Runs the list on the engines of these suites, or of all; ends with a table and the line
/// `N passed, N failed` of the scenarios. Returns whether none failed. `only`: scenarios whose
/// names contain one of these words, by commas; `kernel`: instead of each suite's own. With `page`, puts what was seen into `docs/ENGINES.md`.
///
/// # Errors
/// Before anything ran: without root, for a name that is none, or when something cannot be built,
/// installed or written.
pub(crate) fn run(
    suites: &[String],
    engines: &[String],
    kernel: Option<&str>,
    only: Option<&str>,
    page: bool,
) -> Result<bool> {
    setup::require_root("engines")?;
    let suites = chosen(suites, &SUITES, |suite| suite.system.suite)?;
    let engines = chosen(engines, &ENGINES, |engine| engine)?;
    let kernel = kernel.map(Boot::new).transpose()?;
    let lab = Lab::open()?;
    let luggage = pack(&lab)?;
    let mut columns = Vec::new();
    for suite in suites {
        for engine in &engines {
            // Not the suite's own: a column of its own.
            let name = match kernel {
                Some(kernel) => format!("{} {engine}, {}", suite.system.suite, kernel.name),
                None => format!("{} {engine}", suite.system.suite),
            };
            println!("\n== {name}");
            let own = || Boot::new(suite.kernel);
            let kernel = kernel.map_or_else(own, Ok)?;
            let ran = boot(&lab, suite, kernel, engine, only, &luggage)?;
            let column = Column::new(name, &ran.output);
            show(&ran, &column);
            columns.push(column);
        }
    }
    if page {
        write_page(&lab, &columns)?;
    }
    let count = |outcome| -> usize { columns.iter().map(|column| column.count(outcome)).sum() };
    let incomplete = columns
        .iter()
        .filter(|column| !column.is_complete())
        .count();
    let failed = count(Outcome::Failed) + incomplete;
    println!(
        "{} passed, {failed} failed",
        count(Outcome::Held) + count(Outcome::Refused)
    );
    Ok(failed == 0)
}

/// Those of these names, or all.
///
/// # Errors
/// For a name that is none of them.
pub(super) fn chosen<'a, T>(
    names: &[String],
    all: &'a [T],
    name: fn(&T) -> &str,
) -> Result<Vec<&'a T>> {
    if names.is_empty() {
        return Ok(all.iter().collect());
    }
    let find = |wanted: &String| {
        let known: Vec<_> = all.iter().map(name).collect();
        let found = all.iter().find(|one| name(one) == wanted);
        found.with_context(|| {
            format!(
                "{wanted:?} is not known here\nhint: one of {}",
                known.join(", ")
            )
        })
    };
    names.iter().map(find).collect()
}

fn boot(
    lab: &Lab,
    suite: &Suite,
    kernel: Boot<'_>,
    engine: &str,
    only: Option<&str>,
    luggage: &Luggage,
) -> Result<Ran> {
    // A host has one engine: what the other one's rules do is not asked here.
    let masked = match engine {
        "docker" => ["podman.socket", "podman.service", "podman-restart.service"],
        _ => ["docker.socket", "docker.service", "containerd.service"],
    };
    let mut arguments = format!("AIRGAP_ENGINE={engine}");
    // They serve in containers alone.
    for unit in masked
        .into_iter()
        .chain(["nginx.service", "haproxy.service"])
    {
        arguments.push_str(&format!(" systemd.mask={unit}"));
    }
    if let Some(only) = only {
        arguments.push_str(&format!(" AIRGAP_SCENARIOS={}", only.replace(' ', "_")));
    }
    whole::run(
        lab,
        &Run {
            name: &format!("engines-{}-{engine}-{}", suite.system.suite, kernel.name),
            boot: kernel,
            system: suite.system,
            arguments: &arguments,
            luggage,
            restarts: true,
            limit: LIMIT,
        },
    )
}

fn pack(lab: &Lab) -> Result<Luggage> {
    let luggage = Luggage::new(&lab.cache, "engines")?;
    luggage.program("airgap", &build::run(true)?)?;
    for name in ["airgap-probe", "airgap-engines"] {
        luggage.program(name, &test::build_tool(&lab.root, name)?)?;
    }
    luggage.unit("airgap-sink.service", SINK)?;
    luggage.unit("airgap-engines.service", LIST)?;
    Ok(luggage)
}

/// Prints what one machine showed; all of its output if something failed.
pub(super) fn show(ran: &Ran, column: &Column) {
    println!("{}", column.versions());
    for row in column.rows() {
        println!("{:<8} {:<40} {}", row.outcome.word(), row.what, row.figure);
    }
    if column.count(Outcome::Failed) > 0 || !column.is_complete() {
        println!("\n{}", ran.output);
        if let Some(complaint) = &ran.outcome.complaint {
            println!("{complaint}");
        }
        println!("the kernel's messages: {}", ran.console.display());
    }
    println!("{:.0} s in the machine", ran.outcome.total.as_secs_f64());
}

fn write_page(lab: &Lab, columns: &[Column]) -> Result<()> {
    let path = lab.root.join("docs/ENGINES.md");
    let old = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let day = command::output(Command::new("date").args(["--utc", "+%F"]))?;
    fs::write(&path, engines_page::page(&old, columns, day.trim()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("written: {}", path.display());
    Ok(())
}
