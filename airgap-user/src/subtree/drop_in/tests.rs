//! Tests of `drop_in`.

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
    let service = Service {
        as_configured: true,
        ..Service::default()
    };
    let made = DropIn::of(&unit, &found(&[Risk::UnixSockets]), &service);
    assert!(!made.text.contains("@system-service"), "{}", made.text);
    assert!(made.text.contains("~io_uring_setup\nSystemCallArch"));
    assert_eq!(made.accept, [Risk::UnixSockets]);
    let made = DropIn::of(&unit, &found(&[Risk::RootUser]), &service);
    assert!(
        made.text
            .ends_with("[Service]\nUser=\nGroup=\nDynamicUser=yes\n"),
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
    // What the unit says now, and its processes do not run under.
    let stale = Service::default();
    let made = DropIn::of(&confined, &found(&[Risk::UserNamespaces]), &stale);
    assert!(!made.is_empty && made.text.contains("RestrictNamespaces=yes"));
    let made = DropIn::of(&unit, &found(&[Risk::UnixSockets]), &stale);
    assert!(made.text.contains("SystemCallFilter=@system-service"));
}

#[test]
fn no_line_of_ours_becomes_the_rest_of_another() {
    let before = "ExecStartPre=/b \\\n  -c d";
    let service = Service {
        user: Some("www-data".into()),
        before: vec![before.into()],
        ..Service::default()
    };
    let made = DropIn::of(&nginx(), &found(&[Risk::RootUser]), &service);
    let earlier = lines_of(&made.text).unwrap();
    assert!(earlier.contains(&before.to_owned()), "{earlier:?}");
    let later = Service {
        earlier,
        ..Service::default()
    };
    let again = DropIn::of(&nginx(), &found(&[Risk::UserNamespaces]), &later);
    assert!(
        again.text.ends_with(&format!("{before}\n")),
        "{}",
        again.text
    );
    assert!(
        again
            .text
            .contains("\nRestrictNamespaces=yes\nExecStartPre=\n")
    );
    assert_eq!(again.text.matches("/b ").count(), 1);
}

#[test]
fn what_runs_with_all_rights_is_found() {
    let unit = "# ExecStart=+/no\n[Unit]\nExecStop=+/no\n[Service]\nExecStart=-@!/a b\n\
                ExecStartPre = +/c \\\n# -x\n  d\nExecReload=/bin/e +f\nExecStop=:!!/g\nExecStop=\n";
    let found = privileged(&[unit.to_owned()]);
    assert_eq!(found, ["ExecStart=/a", "ExecStartPre=/c"]);
}

#[test]
fn lines_before_the_start_are_found() {
    let files = [
        "[Service]\nExecStartPre = /a\nExecStart=/x\n ExecStartPre=-/b \\\n  c\n".to_owned(),
        "[Service]\nExecStartPre=/d\n".to_owned(),
    ];
    assert_eq!(
        before_start(&files),
        [
            "ExecStartPre = /a",
            " ExecStartPre=-/b \\\n  c",
            "ExecStartPre=/d"
        ]
    );
    assert!(before_start(&["[Service]\nExecStartPre=/a\nExecStartPre=\n".to_owned()]).is_empty());
}
