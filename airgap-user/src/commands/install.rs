//! `airgap install` and `airgap uninstall`: what restores the seals at boot,
//! before an engine starts a container.

use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    failure::{Failure, exit},
    gate::Lock,
    output,
    state::State,
    units::{self, Unit},
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

/// Whether this host restores its seals at boot.
pub(super) fn is_installed() -> bool {
    Path::new("/").join(units::RESTORE).exists()
}

pub(super) fn install(state: &State, args: &Install) -> Result<u8> {
    let binary = std::env::current_exe().context("cannot tell where airgap is")?;
    refuse_foreign(&binary)?;
    let state_dir = std::path::absolute(state.dir()).context("cannot tell where the state is")?;
    let wanted = units::all(&binary, &state_dir)?;
    let changed = apply(args, &wanted)?;
    if changed == Some(0) {
        log::info!("everything is installed already");
    }
    if changed.is_none() {
        return Ok(exit::OK);
    }
    if args.root == Path::new("/") {
        // From now on a state directory that is gone is an error, not "nothing sealed".
        state.prepare(&Lock::take()?)?;
        tell_systemd(&[&["daemon-reload"], &["enable", units::RESTORE_NAME]])?;
        log::info!(
            "airgap restore runs before the engines start; for labels: systemctl enable --now airgap-watch"
        );
    }
    Ok(exit::OK)
}

pub(super) fn uninstall(args: &Install) -> Result<u8> {
    let root = args.root == Path::new("/");
    let units = units::names();
    let present = units.iter().any(|path| args.root.join(path).exists());
    if root && present && !args.dry_run && (args.yes || is_terminal()) {
        tell_systemd(&[&["disable", units::RESTORE_NAME, units::WATCH_NAME]])?;
    }
    let gone: Vec<Unit> = units
        .into_iter()
        .map(|path| Unit {
            path,
            content: None,
        })
        .collect();
    match apply(args, &gone)? {
        Some(0) => log::info!("nothing is installed"),
        Some(_) if root => {
            tell_systemd(&[&["daemon-reload"]])?;
            log::warn!("a reboot opens every seal now; records stay for airgap restore");
        }
        _ => {}
    }
    Ok(exit::OK)
}

/// Shows and makes the changes; returns how many, `None` if they were only shown.
fn apply(args: &Install, wanted: &[Unit]) -> Result<Option<usize>> {
    let mut changes = Vec::new();
    for unit in wanted {
        let path = args.root.join(unit.path);
        let now = match fs::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.with_context(|| format!("cannot read {}", path.display()))?),
        };
        if now.as_deref() != unit.content.as_deref() {
            output::diff(&path, now.as_deref(), unit.content.as_deref())?;
            changes.push((path, unit.content.as_deref()));
        }
    }
    if changes.is_empty() {
        return Ok(Some(0));
    }
    if args.dry_run {
        return Ok(None);
    }
    if !args.yes && !confirmed()? {
        return Err(Failure::new(
            "nothing was changed",
            "to change it without being asked: --yes",
        )
        .into());
    }
    let count = changes.len();
    for (path, content) in changes {
        change(&path, content).with_context(|| format!("cannot change {}", path.display()))?;
    }
    Ok(Some(count))
}

fn change(path: &Path, content: Option<&str>) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let Some(content) = content else {
        fs::remove_file(path)?;
        // Drop-in directories are shared: only an empty one goes.
        if dir.extension().is_some_and(|e| e == "d") {
            match fs::remove_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::DirectoryNotEmpty => return Err(e),
                _ => {}
            }
        }
        return Ok(());
    };
    fs::create_dir_all(dir)?;
    let aside = path.with_extension("airgap-new");
    fs::write(&aside, content)?;
    fs::rename(&aside, path)
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

fn tell_systemd(commands: &[&[&str]]) -> Result<()> {
    // sd_booted(3).
    if !Path::new("/run/systemd/system").is_dir() {
        log::warn!("systemd does not run here: the units are written, and nothing was enabled");
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
