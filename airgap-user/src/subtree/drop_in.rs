//! What makes a systemd service sealable: the lines that its unit lacks, as a drop-in
//! (systemd.exec(5), systemd.resource-control(5)). Pure.

use std::path::Path;

use crate::{
    host::systemd::Unit,
    notation::shell_word,
    preflight::{Finding, Risk},
};

/// First line of the file: what begins otherwise is somebody else's.
pub const MARK: &str = "# Written by airgap attach --harden";
/// Where systemd reads what the administrator sets.
const UNITS: &str = "/etc/systemd/system";
const FILE: &str = "50-airgap.conf";
/// What is copied from the unit's own files where airgap adds a line before them.
const BEFORE: &str = "ExecStartPre";
/// Whom it would ask to act for it.
const SOCKETS: &str = "InaccessiblePaths=-/run/systemd/private -/run/dbus/system_bus_socket -/run/docker.sock -/run/podman -/run/containerd -/run/snapd.socket";
/// Closed by a filter, which nobody can see from outside: these are to be accepted, too.
const BY_FILTER: [Risk; 2] = [Risk::UserNamespaces, Risk::UnixSockets];

/// What is known of a service beside its unit's properties.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// The one user that processes of it run as already, beside root; `None`: none, or
    /// several, or one that others outside of it run as, too.
    pub user: Option<String>,
    /// It serves on a port below 1024.
    pub low_port: bool,
    /// Lines `ExecStartPre=` of its unit files, as they are.
    pub before: Vec<String>,
    /// Lines of a drop-in that airgap has written for it already.
    pub earlier: Vec<String>,
    /// All its processes are younger than its unit files, and systemd has read those: what the
    /// unit's properties say is what they run under.
    pub as_configured: bool,
}

/// The drop-in of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropIn {
    /// Where it goes.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// What of the findings is to be accepted all the same, as nobody can see it closed.
    pub accept: Vec<Risk>,
    /// The service lacks no line, and is not to be restarted.
    pub is_empty: bool,
}

impl DropIn {
    /// Where that of this unit is.
    pub fn path_of(unit: &str) -> String {
        format!("{UNITS}/{unit}.d/{FILE}")
    }

    /// Whether a drop-in closes what was found.
    pub fn closes(finding: &Finding) -> bool {
        let closed = [
            Risk::Capability,
            Risk::RootUser,
            Risk::NewPrivileges,
            Risk::ControlFs,
            Risk::HostPid,
            Risk::Device,
            Risk::UserNamespaces,
            Risk::Seccomp,
            Risk::UnixSockets,
        ];
        closed.contains(&finding.risk)
    }

    /// For what was found in a service: only lines that it lacks.
    pub fn of(unit: &Unit, found: &[Finding], service: &Service) -> Self {
        let has = |risk| found.iter().any(|finding| finding.risk == risk);
        let mut lines: Vec<String> = Vec::new();
        let mut line = |text: &str| lines.push(text.to_owned());
        let other_user = has(Risk::RootUser) || has(Risk::HostPid);
        if other_user {
            match &service.user {
                Some(user) => line(&format!("User={user}")),
                None => {
                    // With a user of the host's it would be that one.
                    line("User=");
                    line("Group=");
                    line("DynamicUser=yes");
                }
            }
        }
        let ambient = unit.property("AmbientCapabilities");
        let low = service.low_port || ambient.contains("cap_net_bind_service");
        if has(Risk::Capability) || other_user && low {
            let kept = if low { "CAP_NET_BIND_SERVICE" } else { "" };
            // Several lines are joined, but for an empty one, which begins anew.
            for key in ["CapabilityBoundingSet", "AmbientCapabilities"] {
                line(&format!("{key}="));
                if low {
                    line(&format!("{key}={kept}"));
                }
            }
        }
        if has(Risk::NewPrivileges) {
            line("NoNewPrivileges=yes");
        }
        if has(Risk::ControlFs) {
            line("ProtectControlGroups=yes");
        }
        if has(Risk::Device) {
            line("PrivateDevices=yes");
            line("DevicePolicy=closed");
        }
        let restricted = unit.property("RestrictNamespaces") == "yes";
        if has(Risk::UserNamespaces) && !(restricted && service.as_configured) {
            line("RestrictNamespaces=yes");
        }
        // None at all is written so.
        let unfiltered =
            !service.as_configured || ["", "~"].contains(&unit.property("SystemCallFilter"));
        if has(Risk::Seccomp) || has(Risk::UnixSockets) && unfiltered {
            line("SystemCallFilter=@system-service");
        }
        if has(Risk::UnixSockets) {
            line("RestrictAddressFamilies=");
            line("RestrictAddressFamilies=AF_INET AF_INET6");
            // By these two it could make sockets that the filter does not see.
            line("SystemCallFilter=~io_uring_setup");
            line("SystemCallArchitectures=native");
            line(SOCKETS);
        }
        let pid_file = unit.property("PIDFile");
        let roots = ["/run", "/var/run"].map(Path::new);
        let roots = Path::new(pid_file)
            .parent()
            .is_some_and(|dir| roots.contains(&dir));
        if let (true, Some(user), true) = (other_user, &service.user, roots) {
            // Only root makes files there; and what follows the empty line is all that runs.
            line("ExecStartPre=");
            line(&format!(
                "ExecStartPre=+/usr/bin/install -m 0644 -o {user} /dev/null {pid_file}"
            ));
            lines.extend(service.before.iter().cloned());
        }
        let is_empty = lines.is_empty();
        let is_before = |line: &String| key(line) == Some(BEFORE);
        let (before, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_before);
        let (earlier_before, mut all): (Vec<_>, Vec<_>) =
            service.earlier.iter().cloned().partition(is_before);
        // A list is whole or not there.
        let fresh: Vec<_> = lines
            .into_iter()
            .filter(|line| !all.contains(line))
            .collect();
        all.extend(fresh);
        // Last: these may go on over several lines.
        all.extend(match before.is_empty() {
            true => earlier_before,
            false => before,
        });
        Self {
            path: Self::path_of(&unit.name),
            text: format!("{MARK}\n[Service]\n{}\n", all.join("\n")),
            is_empty,
            accept: BY_FILTER.into_iter().filter(|risk| has(*risk)).collect(),
        }
    }

    /// The commands that put it in force, but for the file itself.
    pub fn commands(unit: &str) -> [String; 2] {
        [
            "systemctl daemon-reload".to_owned(),
            format!("systemctl restart {}", shell_word(unit)),
        ]
    }
}

/// Lines of a drop-in of ours; `None`: it is somebody else's.
pub(super) fn lines_of(text: &str) -> Option<Vec<String>> {
    let rest = text.strip_prefix(MARK)?;
    let lines = entries(rest).into_iter();
    Some(lines.filter(|line| key(line).is_some()).collect())
}

/// The lines `ExecStartPre=` of unit files, in the order in which systemd reads them.
pub(super) fn before_start(files: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in files.iter().flat_map(|text| settings(text)) {
        if key(&line) != Some(BEFORE) {
            continue;
        }
        match value(&line).trim().is_empty() {
            true => found.clear(),
            false => found.push(line),
        }
    }
    found
}

/// Programs that unit files have run with all that systemd has, whatever user and capabilities
/// the unit is given: those with `+`, `!` or `!!` before them.
pub(super) fn privileged(files: &[String]) -> Vec<String> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in files.iter().flat_map(|text| settings(text)) {
        let Some(key) = key(&line).filter(|key| key.starts_with("Exec")) else {
            continue;
        };
        let program = value(&line).trim();
        if program.is_empty() {
            found.retain(|(other, _)| other != key);
            continue;
        }
        let rest = program.trim_start_matches(['@', '-', ':', '+', '!', '|']);
        if program[..program.len() - rest.len()].contains(['+', '!']) {
            let path = rest.split_whitespace().next().unwrap_or_default();
            found.push((key.to_owned(), path.to_owned()));
        }
    }
    let told = found.into_iter();
    told.map(|(key, path)| format!("{key}={path}")).collect()
}

/// Lines of the section of services.
fn settings(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in entries(text) {
        match line.trim() {
            header if header.starts_with('[') => inside = header == "[Service]",
            _ if inside => found.push(line),
            _ => {}
        }
    }
    found
}

/// Lines as systemd takes them: what ends in a backslash goes on in the next one, comments are
/// none (systemd.syntax(7)).
fn entries(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        match found.last_mut() {
            Some(last) if goes_on => {
                last.push('\n');
                last.push_str(line);
            }
            _ => found.push(line.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    found
}

/// What a line sets; `None`: it sets nothing.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    (!key.is_empty() && !key.starts_with('[')).then_some(key)
}

fn value(line: &str) -> &str {
    line.split_once('=').map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests;
