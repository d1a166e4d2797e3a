//! What makes a systemd service sealable: the lines that its unit lacks, as a drop-in
//! (systemd.exec(5), systemd.resource-control(5)). Pure.

use std::path::Path;

use crate::{
    preflight::{Finding, Risk},
    systemd::Unit,
};

/// First line of the file: what begins otherwise is somebody else's.
pub const MARK: &str = "# Written by airgap attach --harden";
/// Where systemd reads what the administrator sets.
const UNITS: &str = "/etc/systemd/system";
const FILE: &str = "50-airgap.conf";
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
                None => line("DynamicUser=yes"),
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
        if has(Risk::UserNamespaces) && unit.property("RestrictNamespaces") != "yes" {
            line("RestrictNamespaces=yes");
        }
        // None at all is written so.
        let unfiltered = ["", "~"].contains(&unit.property("SystemCallFilter"));
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
        let unsaid = |line: &&String| !service.earlier.contains(line);
        let fresh: Vec<_> = lines.iter().filter(unsaid).cloned().collect();
        // A list is whole or not there.
        let all: Vec<_> = match service.earlier.is_empty() {
            true => lines,
            false => [service.earlier.clone(), fresh].concat(),
        };
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
            format!("systemctl restart {unit}"),
        ]
    }
}

/// Lines of a drop-in of ours; `None`: it is somebody else's.
pub(super) fn lines_of(text: &str) -> Option<Vec<String>> {
    let rest = text.strip_prefix(MARK)?;
    let lines = rest.lines().filter(|line| line.contains('='));
    Some(lines.map(str::to_owned).collect())
}

/// The lines `ExecStartPre=` of unit files, in the order in which systemd reads them.
pub(super) fn before_start(files: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in files {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(value) = line.trim_start().strip_prefix("ExecStartPre=") else {
                continue;
            };
            if value.trim().is_empty() {
                found.clear();
                continue;
            }
            let mut whole = line.to_owned();
            while whole.ends_with('\\') {
                whole.push('\n');
                whole.push_str(lines.next().unwrap_or_default());
            }
            found.push(whole);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(risks: &[Risk]) -> Vec<Finding> {
        let of = |risk: &Risk| Finding {
            risk: *risk,
            what: "it".into(),
            mend: None,
        };
        risks.iter().map(of).collect()
    }

    fn nginx() -> Unit {
        Unit::of(
            "nginx.service",
            "PIDFile=/run/nginx.pid\nSystemCallFilter=~\nAmbientCapabilities=\n",
        )
    }

    /// What a machine with Debian's nginx has, which answers with this (`cargo xtask units`).
    #[test]
    fn what_debians_nginx_lacks() {
        let all = found(&[
            Risk::Capability,
            Risk::RootUser,
            Risk::NewPrivileges,
            Risk::ControlFs,
            Risk::HostPid,
            Risk::Device,
            Risk::UserNamespaces,
        ]);
        assert!(all.iter().all(DropIn::closes));
        let before = "ExecStartPre=/usr/sbin/nginx -t -q -g 'daemon on; master_process on;'";
        let service = Service {
            user: Some("www-data".into()),
            low_port: true,
            before: vec![before.into()],
            ..Service::default()
        };
        let made = DropIn::of(&nginx(), &all, &service);
        assert_eq!(
            made.path,
            "/etc/systemd/system/nginx.service.d/50-airgap.conf"
        );
        assert_eq!(
            made.text,
            format!(
                "# Written by airgap attach --harden
[Service]
User=www-data
CapabilityBoundingSet=
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=
AmbientCapabilities=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectControlGroups=yes
PrivateDevices=yes
DevicePolicy=closed
RestrictNamespaces=yes
ExecStartPre=
ExecStartPre=+/usr/bin/install -m 0644 -o www-data /dev/null /run/nginx.pid
{before}
"
            )
        );
        assert_eq!(made.accept, [Risk::UserNamespaces]);
        // What was written is read again, and kept.
        let earlier = lines_of(&made.text).unwrap();
        let later = Service {
            earlier,
            ..Service::default()
        };
        let again = DropIn::of(&nginx(), &found(&[Risk::NewPrivileges]), &later);
        assert_eq!(again.text, made.text);
        assert_eq!(lines_of("[Service]\nUser=x\n"), None);
    }

    #[test]
    fn only_what_is_lacking_is_in_it() {
        let unit = Unit::of("x.service", "SystemCallFilter=read write\nPIDFile=\n");
        let service = Service::default();
        let made = DropIn::of(&unit, &found(&[Risk::UnixSockets]), &service);
        assert!(!made.text.contains("@system-service"), "{}", made.text);
        assert!(made.text.contains("~io_uring_setup\nSystemCallArch"));
        assert_eq!(made.accept, [Risk::UnixSockets]);
        let made = DropIn::of(&unit, &found(&[Risk::RootUser]), &service);
        assert!(
            made.text.ends_with("[Service]\nDynamicUser=yes\n"),
            "{}",
            made.text
        );
        let made = DropIn::of(&unit, &found(&[Risk::Capability]), &service);
        assert!(
            made.text
                .ends_with("CapabilityBoundingSet=\nAmbientCapabilities=\n")
        );
        assert!(!made.is_empty);
        let confined = Unit::of("x.service", "RestrictNamespaces=yes\n");
        let made = DropIn::of(&confined, &found(&[Risk::UserNamespaces]), &service);
        assert!(made.is_empty && made.accept == [Risk::UserNamespaces]);
        assert!(!DropIn::closes(&found(&[Risk::ForeignSocket])[0]));
    }

    #[test]
    fn lines_before_the_start_are_found() {
        let files = [
            "[Service]\nExecStartPre=/a\nExecStart=/x\n ExecStartPre=-/b \\\n  c\n".to_owned(),
            "[Service]\nExecStartPre=/d\n".to_owned(),
        ];
        assert_eq!(
            before_start(&files),
            [
                "ExecStartPre=/a",
                " ExecStartPre=-/b \\\n  c",
                "ExecStartPre=/d"
            ]
        );
        assert!(before_start(&["ExecStartPre=/a\nExecStartPre=\n".to_owned()]).is_empty());
    }
}
