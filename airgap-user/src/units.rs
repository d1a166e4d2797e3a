//! The systemd units, as text. Pure (systemd.unit(5), systemd.service(5)).

use std::path::Path;

use anyhow::{Result, anyhow};

use crate::failure::Failure;

/// Name of the unit that restores.
pub const RESTORE_NAME: &str = "airgap-restore.service";
/// Name of the unit that watches labels.
pub const WATCH_NAME: &str = "airgap-watch.service";
/// Where the unit that restores is, below the root.
pub const RESTORE: &str = "etc/systemd/system/airgap-restore.service";
const WATCH: &str = "etc/systemd/system/airgap-watch.service";
/// One for each engine that starts containers by itself; for a service that is
/// not there they mean nothing.
const DROP_INS: [&str; 4] = [
    "etc/systemd/system/docker.service.d/airgap.conf",
    "etc/systemd/system/containerd.service.d/airgap.conf",
    "etc/systemd/system/podman.service.d/airgap.conf",
    "etc/systemd/system/podman-restart.service.d/airgap.conf",
];

/// One file of systemd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Below the root, without its leading slash.
    pub path: &'static str,
    /// `None`: it is not to be there.
    pub content: Option<String>,
}

/// Paths of all of them.
pub fn names() -> Vec<&'static str> {
    [RESTORE, WATCH].into_iter().chain(DROP_INS).collect()
}

/// All of them, for this binary and this state directory.
///
/// # Errors
/// If a path cannot be written into a unit file.
pub fn all(binary: &Path, state: &Path) -> Result<Vec<Unit>> {
    let (binary, state) = (word(binary)?, word(state)?);
    let unit = |path, content: String| Unit {
        path,
        content: Some(content),
    };
    let mut units = vec![
        unit(RESTORE, restore(binary, state)),
        unit(WATCH, watch(binary, state)),
    ];
    units.extend(DROP_INS.map(|path| unit(path, drop_in())));
    Ok(units)
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

/// No default dependencies: they would order it after what may start
/// containers. With `Requires=` in the drop-ins, an engine does not start when
/// this has failed.
fn restore(binary: &str, state: &str) -> String {
    format!(
        "# Written by airgap install.
[Unit]
Description=Seal containers again before any engine starts them
Documentation=man:systemd.unit(5)
DefaultDependencies=no
RequiresMountsFor={state} {binary}
After=local-fs.target sys-fs-bpf.mount
Before=docker.service containerd.service podman.service podman-restart.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={binary} --state-dir {state} restore

[Install]
WantedBy=multi-user.target docker.service containerd.service podman-restart.service
"
    )
}

/// Ends with the engine, comes back with it, and is restarted when it hangs.
fn watch(binary: &str, state: &str) -> String {
    format!(
        "# Written by airgap install.
[Unit]
Description=Seal containers by their labels
After={RESTORE_NAME} docker.service
Requires={RESTORE_NAME}

[Service]
Type=notify
NotifyAccess=main
WatchdogSec=30
ExecStart={binary} --state-dir {state} watch
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"
    )
}

fn drop_in() -> String {
    format!(
        "# Written by airgap install: no container starts before its seal is back.
[Unit]
Requires={RESTORE_NAME}
After={RESTORE_NAME}
"
    )
}

#[cfg(test)]
mod tests {
    use super::{all, names};
    use std::path::Path;

    #[test]
    fn every_unit_is_written_and_removed() {
        let units = all(
            Path::new("/usr/local/sbin/airgap"),
            Path::new("/var/lib/airgap"),
        );
        let units = units.unwrap();
        let paths: Vec<_> = units.iter().map(|unit| unit.path).collect();
        assert_eq!(paths, names());
        for unit in units.iter().skip(2) {
            let content = unit.content.as_deref().unwrap_or_default();
            assert!(content.contains("Requires=airgap-restore.service"));
            assert!(content.contains("After=airgap-restore.service"));
        }
    }

    #[test]
    fn paths_that_mean_something_else_in_a_unit_are_refused() {
        for bad in ["/a b", "/a%h", "/a\nExecStart=/x", "/$x", "rel", "/é"] {
            assert!(all(Path::new(bad), Path::new("/s")).is_err(), "{bad}");
            assert!(all(Path::new("/b"), Path::new(bad)).is_err(), "{bad}");
        }
    }
}
