//! `airgap install` and `airgap uninstall`: what restores the seals at boot,
//! before an engine starts a container.

use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;

use super::reference::is_engineless;
use crate::{
    container::Hosts,
    failure::{Failure, exit},
    gate::Lock,
    host::{
        installed::arrivals,
        starters::{engine, starters},
        udev::{self, Arrivals},
        units::{self, Unit},
    },
    output,
    pod::is_pod,
    state::State,
};

/// Arguments of `install` and `uninstall`.
#[derive(Args, Debug)]
pub struct Install {
    /// Change it without asking
    #[arg(long)]
    pub yes: bool,
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Directory to take for / (then systemd is told nothing)
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

pub(crate) fn install(hosts: &Hosts, state: &State, args: &Install) -> Result<u8> {
    let binary = std::env::current_exe().context("cannot tell where airgap is")?;
    refuse_foreign(&binary)?;
    let state_dir = std::path::absolute(state.dir()).context("cannot tell where the state is")?;
    let starters = starters(&args.root);
    let hosts = match hosts.named() {
        [] => engines_of(&starters),
        named => named.to_vec(),
    };
    let wanted = units::all(&binary, &state_dir, &starters, &hosts)?;
    let changes = changes(args, &wanted)?;
    if args.dry_run && !changes.is_empty() {
        return Ok(exit::OK);
    }
    if changes.is_empty() {
        log::info!("everything is installed already");
    }
    confirm(args, &changes)?;
    make(&changes)?;
    if args.root == Path::new("/") {
        // From now on a state directory that is gone is an error, not "nothing sealed".
        state.prepare(&Lock::take()?)?;
        tell_systemd(&[&["daemon-reload"], &["enable", units::RESTORE_NAME]])?;
        tell_udev();
        await_udev();
        if !systemd_runs() {
            log::info!("nothing restores the seals at boot until systemd runs what was written");
        } else {
            log::info!(
                "airgap restore runs before the engines start; for labels: systemctl enable --now airgap-watch; for --to container:NAME alone: airgap-keep"
            );
        }
    }
    if starters.is_empty() {
        let Some(engine) = unordered(&args.root, state)? else {
            log::info!(
                "no container engine is here: what is sealed are units and cgroups; install again once one is"
            );
            return Ok(exit::OK);
        };
        return Err(Failure::new(
            format!(
                "no unit is known here that starts containers, and {engine} is here: the restore runs at boot, but an engine would start although it had failed"
            ),
            "give the engine's unit Requires=airgap-restore.service and After=airgap-restore.service, or install again once the engine is",
        )
        .into());
    }
    log::info!(
        "these do not start containers unless it succeeded: {}",
        starters.join(", ")
    );
    Ok(exit::OK)
}

/// What shows that containers start here, of which no unit is known that starts them.
fn unordered(root: &Path, state: &State) -> Result<Option<String>> {
    let found = engine(root);
    if found.is_some() || root != Path::new("/") {
        return Ok(found);
    }
    let entries = state.entries()?;
    let container = entries
        .iter()
        .find(|entry| !is_engineless(entry.id()) || is_pod(entry.id()));
    Ok(container.map(|entry| format!("the sealed container '{}'", entry.name())))
}

/// The sockets to watch, where Podman is one of the engines that are installed: its socket
/// may not be there yet when they are looked for. Pure.
fn engines_of(starters: &[String]) -> Vec<String> {
    let podman = |name: &String| name.starts_with("podman");
    let other = |name: &String| name.contains("docker") || name.contains("containerd");
    if !starters.iter().any(podman) {
        return Vec::new();
    }
    let docker = starters.iter().any(other).then_some(units::DOCKER);
    docker
        .into_iter()
        .chain([units::PODMAN])
        .map(str::to_owned)
        .collect()
}

pub(crate) fn uninstall(args: &Install) -> Result<u8> {
    let root = args.root == Path::new("/");
    let gone: Vec<Unit> = units::written(&args.root)
        .into_iter()
        .map(|path| Unit {
            path,
            content: None,
        })
        .collect();
    // All is shown before anything is changed: who reads it may stop reading.
    let changes = changes(args, &gone)?;
    if changes.is_empty() {
        log::info!("nothing is installed");
        return Ok(exit::OK);
    }
    if args.dry_run {
        return Ok(exit::OK);
    }
    confirm(args, &changes)?;
    if root {
        tell_systemd(&[&[
            "disable",
            units::RESTORE_NAME,
            units::WATCH_NAME,
            units::KEEP_NAME,
        ]])?;
    }
    make(&changes).context("uninstalled in part: run airgap uninstall again")?;
    if root {
        tell_systemd(&[&["daemon-reload"]])?;
        tell_udev();
        log::warn!("a reboot opens every seal now; records stay for airgap restore");
    }
    Ok(exit::OK)
}

/// A file and what is to be in it; `None`: it is not to be there.
type Change<'a> = (PathBuf, Option<&'a str>);

/// What is to be changed, shown.
fn changes<'a>(args: &Install, wanted: &'a [Unit]) -> Result<Vec<Change<'a>>> {
    let mut changes = Vec::new();
    for unit in wanted {
        let path = args.root.join(&unit.path);
        let now = match fs::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.with_context(|| format!("cannot read {}", path.display()))?),
        };
        if now.as_deref() != unit.content.as_deref() {
            output::diff(&path, now.as_deref(), unit.content.as_deref())?;
            changes.push((path, unit.content.as_deref()));
        }
    }
    Ok(changes)
}

fn confirm(args: &Install, changes: &[Change<'_>]) -> Result<()> {
    if changes.is_empty() || args.yes || confirmed()? {
        return Ok(());
    }
    Err(Failure::new(
        "nothing was changed",
        "to change it without being asked: --yes",
    )
    .into())
}

fn make(changes: &[Change<'_>]) -> Result<()> {
    for (path, content) in changes {
        units::put(path, *content).with_context(|| format!("cannot change {}", path.display()))?;
    }
    Ok(())
}

fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

fn confirmed() -> Result<bool> {
    if !is_terminal() {
        return Ok(false);
    }
    log::info!("change this? [y/N]");
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What runs as root at every boot must be nobody else's to change.
fn refuse_foreign(binary: &Path) -> Result<()> {
    for path in binary.ancestors() {
        let meta = fs::metadata(path).with_context(|| format!("cannot stat {}", path.display()))?;
        if meta.uid() != 0 || meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 {
            return Err(Failure::new(
                format!("others than root can change {}", path.display()),
                format!(
                    "install -m 755 {} /usr/local/sbin/airgap, and run that one",
                    binary.display()
                ),
            )
            .into());
        }
        if meta.mode() & 0o022 != 0 {
            return Err(Failure::new(
                format!(
                    "airgap lies in {}, where anybody can make files",
                    path.display()
                ),
                format!(
                    "install -m 755 {} /usr/local/sbin/airgap, and run that one",
                    binary.display()
                ),
            )
            .into());
        }
    }
    Ok(())
}

/// It looks for changed rules by itself, at most three seconds later.
fn tell_udev() {
    if arrivals() == Arrivals::NoUdev {
        log::warn!("udev does not run here: nothing guards a veth as it comes up");
        return;
    }
    let told = Command::new("udevadm")
        .args(["control", "--reload"])
        .status();
    if !told.as_ref().is_ok_and(std::process::ExitStatus::success) {
        log::debug!("udevadm control --reload: {told:?}");
    }
}

/// Has udev run its rule once, and waits for it a little.
fn await_udev() {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(500);
    let end = Instant::now() + PATIENCE;
    while arrivals() == Arrivals::Unguarded {
        // It may still have had the old rules.
        if let Err(error) = udev::provoke_arrivals() {
            log::debug!("udev cannot be asked to run its rules: {error}");
        }
        if Instant::now() > end {
            log::warn!(
                "udev has not run the rule, or it may not use BPF: nothing guards a veth as it comes up (airgap doctor)"
            );
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// As sd_booted(3) tells it.
fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

fn tell_systemd(commands: &[&[&str]]) -> Result<()> {
    if !systemd_runs() {
        log::warn!("systemd does not run here: it was told nothing");
        return Ok(());
    }
    for arguments in commands {
        let status = Command::new("systemctl")
            .args(*arguments)
            .status()
            .context("cannot run systemctl")?;
        if !status.success() {
            return Err(Failure::new(
                format!("systemctl {} failed: {status}", arguments.join(" ")),
                "systemctl status airgap-restore.service",
            )
            .into());
        }
    }
    Ok(())
}
