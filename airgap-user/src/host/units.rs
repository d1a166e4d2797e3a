//! The systemd units of airgap: their text, and which of them are there
//! (systemd.unit(5), systemd.service(5)).

mod file;
mod hook;

use std::{fs, path::Path};

use anyhow::{Result, anyhow};

pub use self::file::put;
use self::hook::{HOOK, hook};
use crate::{
    failure::Failure,
    host::udev::{RULE, rule},
};

/// Name of the unit that restores.
pub const RESTORE_NAME: &str = "airgap-restore.service";
/// Name of the unit that watches labels.
pub const WATCH_NAME: &str = "airgap-watch.service";
/// Name of the unit that looks after the addresses of names.
pub const KEEP_NAME: &str = "airgap-keep.service";
/// Where the unit that restores is, below the root.
pub const RESTORE: &str = "etc/systemd/system/airgap-restore.service";
const WATCH: &str = "etc/systemd/system/airgap-watch.service";
const KEEP: &str = "etc/systemd/system/airgap-keep.service";
const NRI: &str = "etc/systemd/system/airgap-nri.service";
/// Engines that may be installed later; for a service that is not there a drop-in means
/// nothing.
const ENGINES: [&str; 4] = [
    "docker.service",
    "containerd.service",
    "podman.service",
    "podman-restart.service",
];
/// The usual socket of Docker.
pub const DOCKER: &str = "unix:///var/run/docker.sock";
/// The same of Podman, as root.
pub const PODMAN: &str = "unix:///run/podman/podman.sock";
/// Where the administrator's units are, below the root.
const UNITS: &str = "etc/systemd/system";
/// First line of all that is written.
const MARK: &str = "# Written by airgap install";
/// What each drop-in is called.
const DROP_IN: &str = "airgap.conf";

/// One file of systemd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Below the root, without its leading slash.
    pub path: String,
    /// `None`: it is not to be there.
    pub content: Option<String>,
}

/// Where a unit's drop-in goes, below the root.
fn drop_in_of(unit: &str) -> String {
    format!("{UNITS}/{unit}.d/{DROP_IN}")
}

/// What has a unit start once the restore has succeeded, and not otherwise.
pub fn bound(unit: &str) -> Unit {
    Unit {
        path: drop_in_of(unit),
        content: Some(drop_in()),
    }
}

/// Whether systemd starts a unit at boot: some target wants it (systemd.unit(5)).
pub fn is_wanted(root: &Path, unit: &str) -> bool {
    let entries = fs::read_dir(root.join(UNITS)).into_iter().flatten();
    entries.flatten().any(|entry| {
        let is_of_wants = entry.file_name().to_string_lossy().ends_with(".wants");
        // A link, whether what it leads to is there or not.
        is_of_wants && fs::symlink_metadata(entry.path().join(unit)).is_ok()
    })
}

/// Whether Podman has its runtime ask airgap, by the file that install writes.
pub fn has_hook(root: &Path) -> bool {
    root.join(HOOK).exists()
}

/// Paths of all that was ever written below a root.
pub fn written(root: &Path) -> Vec<String> {
    let mut found: Vec<_> = [RESTORE, WATCH, KEEP, NRI, RULE, HOOK]
        .map(str::to_owned)
        .into();
    let entries = fs::read_dir(root.join(UNITS))
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries {
        let path = format!("{UNITS}/{}/{DROP_IN}", entry.file_name().to_string_lossy());
        let text = fs::read_to_string(root.join(&path)).unwrap_or_default();
        // A dozen lines of somebody else's under this name stay.
        if text.starts_with(MARK) {
            found.push(path);
        }
    }
    found.sort_unstable();
    found
}

/// All of them, for this binary and this state directory; `starters`: the units that
/// start containers here; `hosts`: the engines that `watch` asks, if they are named.
///
/// # Errors
/// If a path cannot be written into a unit file.
pub fn all(
    binary: &Path,
    state: &Path,
    starters: &[String],
    hosts: &[String],
) -> Result<Vec<Unit>> {
    let (binary, state) = (word(binary)?, word(state)?);
    let mut sockets = Vec::new();
    for host in hosts {
        let socket = host.strip_prefix("unix://").unwrap_or(host);
        sockets.push(format!("unix://{}", word(Path::new(socket))?));
    }
    let unit = |path: &str, content: String| Unit {
        path: path.to_owned(),
        content: Some(content),
    };
    let mut engines: Vec<String> = ENGINES.map(str::to_owned).into();
    engines.extend(starters.iter().filter(|name| is_plain(name)).cloned());
    engines.sort_unstable();
    engines.dedup();
    let mut units = vec![
        unit(RESTORE, restore(binary, state, &engines)),
        unit(WATCH, watch(binary, state, &engines, &sockets)),
        unit(KEEP, keep(binary, state, &engines, &sockets)),
        unit(NRI, nri(binary, state)),
        unit(RULE, rule(MARK, binary)),
    ];
    if starters.iter().any(|name| name.starts_with("podman")) {
        units.push(unit(HOOK, hook(binary, state)));
    }
    units.extend(
        engines
            .iter()
            .map(|name| unit(&drop_in_of(name), drop_in())),
    );
    Ok(units)
}

/// How the restore at boot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// It runs before anything starts containers, and these wait for it.
    Ready,
    /// Its unit is not there.
    Missing,
    /// Its unit is there, and nothing starts it.
    Disabled,
    /// It runs, and these units would start containers although it had failed.
    Unbound(Vec<String>),
    /// It runs, and this engine is here, of which no unit is known that starts it.
    Unordered(String),
}

/// How the restore at boot stands below a root.
pub fn boot(root: &Path, starters: &[String]) -> Boot {
    if !root.join(RESTORE).exists() {
        return Boot::Missing;
    }
    let wants = fs::read_dir(root.join(UNITS))
        .into_iter()
        .flatten()
        .flatten();
    let enabled = wants
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|e| e == "wants" || e == "requires")
        })
        // A link to a unit that is not there yet is one, too.
        .any(|dir| dir.join(RESTORE_NAME).is_symlink());
    if !enabled {
        return Boot::Disabled;
    }
    let bound = |name: &&String| root.join(drop_in_of(name)).exists();
    let unbound: Vec<_> = starters
        .iter()
        .filter(|name| !bound(name))
        .cloned()
        .collect();
    if unbound.is_empty() {
        return Boot::Ready;
    }
    Boot::Unbound(unbound)
}

/// Whether a unit's name needs no quoting anywhere.
fn is_plain(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_alphanumeric() || "._@-".contains(c))
}

/// A path as one word of a unit file: what would need quoting is refused.
fn word(path: &Path) -> Result<&str> {
    let text = path
        .to_str()
        .ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+@-".contains(c);
    if text.starts_with('/') && text.chars().all(plain) {
        return Ok(text);
    }
    Err(Failure::new(
        format!("'{text}' cannot be written into a unit file"),
        "use a path of letters, digits and / . _ + @ -",
    )
    .into())
}

/// No default dependencies: they would order it after what may start containers. It is
/// over before `basic.target`, after which every ordinary service starts, whoever runs
/// an engine. With `Requires=` in the drop-ins, an engine does not start when this has
/// failed.
fn restore(binary: &str, state: &str, engines: &[String]) -> String {
    let engines = engines.join(" ");
    format!(
        "{MARK}.
[Unit]
Description=Seal containers again before any engine starts them
Documentation=man:systemd.unit(5)
DefaultDependencies=no
RequiresMountsFor={state} {binary}
After=local-fs.target sys-fs-bpf.mount
Before=basic.target {engines}
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={binary} --state-dir {state} restore

[Install]
WantedBy=basic.target multi-user.target
"
    )
}

/// Ends with the engine, comes back with it, and is restarted when it hangs.
fn watch(binary: &str, state: &str, engines: &[String], hosts: &[String]) -> String {
    let engines = engines.join(" ");
    // Podman runs when its socket is asked, and Debian's package alone does not start that.
    let socket = match hosts.iter().any(|host| host == PODMAN) {
        true => "\nWants=podman.socket\nAfter=podman.socket",
        false => "",
    };
    let hosts = named(hosts);
    format!(
        "{MARK}.
[Unit]
Description=Seal containers by their labels
After={RESTORE_NAME} {engines}
Requires={RESTORE_NAME}{socket}

[Service]
Type=notify
NotifyAccess=main
WatchdogSec=30
ExecStart={binary} {hosts}--state-dir {state} watch
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"
    )
}

/// As arguments, with a space after each. Pure.
fn named(hosts: &[String]) -> String {
    hosts.iter().map(|host| format!("--host {host} ")).collect()
}

/// The same for those who seal without labels: only one of the two looks at names.
fn keep(binary: &str, state: &str, engines: &[String], hosts: &[String]) -> String {
    let engines = engines.join(" ");
    let hosts = named(hosts);
    format!(
        "{MARK}.
[Unit]
Description=Look after the addresses of exceptions by name
After={RESTORE_NAME} {engines}
Conflicts={WATCH_NAME}

[Service]
Type=notify
NotifyAccess=main
ExecStart={binary} {hosts}--state-dir {state} keep
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"
    )
}

/// Before the kubelet, and whatever becomes of the runtime: it waits for that by itself.
fn nri(binary: &str, state: &str) -> String {
    format!(
        "{MARK}.
[Unit]
Description=Seal pods by their annotations
After={RESTORE_NAME}
Requires={RESTORE_NAME}
Before=kubelet.service

[Service]
ExecStart={binary} --state-dir {state} nri
Restart=always
RestartSec=100ms

[Install]
WantedBy=multi-user.target
"
    )
}

fn drop_in() -> String {
    format!(
        "{MARK}: nothing starts before its seal is back.
[Unit]
Requires={RESTORE_NAME}
After={RESTORE_NAME}
"
    )
}

#[cfg(test)]
mod tests;
