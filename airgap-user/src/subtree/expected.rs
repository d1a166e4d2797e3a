//! What a service that does not run will be able to do, by its unit's settings. Pure, but for
//! what this host lets everybody do.

use super::facts::{REQUEST_KEY, mend};
use crate::{
    host::systemd::Unit,
    preflight::{Finding, Risk, user_namespaces_usable},
};

/// What of a unit's settings leads around a seal; nothing for a unit without settings. `hooks`:
/// security hooks will be in force.
pub fn expected(unit: &Unit, hooks: bool) -> Vec<Finding> {
    let namespaces = user_namespaces_usable();
    let key = std::path::Path::new(REQUEST_KEY).exists();
    match unit.is_service() {
        true => of_settings(unit, hooks, namespaces, key),
        false => Vec::new(),
    }
}

fn of_settings(unit: &Unit, hooks: bool, namespaces: bool, key: bool) -> Vec<Finding> {
    let is = |name: &str, value: &str| unit.property(name) == value;
    let dynamic = is("DynamicUser", "yes");
    // With the name of a user of this host a dynamic one is that user.
    let root = match unit.property("User") {
        "" => !dynamic,
        user => matches!(user, "0" | "root"),
    };
    let dynamic = dynamic && !root;
    let bounding = unit.property("CapabilityBoundingSet");
    let spare = bounding
        .split_ascii_whitespace()
        .find(|name| *name != "cap_net_bind_service");
    let ambient = unit.property("AmbientCapabilities");
    let given = ambient
        .split_ascii_whitespace()
        .find(|name| *name != "cap_net_bind_service");
    let confined = is("NoNewPrivileges", "yes") || dynamic;
    let mut found = Vec::new();
    let mut find = |risk, what: &str| {
        found.push(Finding {
            risk,
            what: what.to_owned(),
            mend: mend(risk),
        });
    };
    if let (true, Some(name)) = (root || !confined, spare) {
        let what = format!("its unit lets it have {}", name.to_uppercase());
        find(Risk::Capability, &what);
    } else if let Some(name) = given {
        let what = format!("its unit gives it {}", name.to_uppercase());
        find(Risk::Capability, &what);
    }
    if root {
        find(Risk::RootUser, "its unit runs it as root");
    }
    if !confined {
        let what = "it may gain privileges by what it runs (crontab, at, sudo)";
        find(Risk::NewPrivileges, what);
    }
    if root && !is("ProtectControlGroups", "yes") {
        let what = "it may move itself to another cgroup";
        find(Risk::ControlFs, what);
    }
    if root && !is("PrivateDevices", "yes") {
        find(Risk::Device, "it may open any device");
    }
    let groups = unit.property("SupplementaryGroups");
    if !root && !groups.is_empty() && !is("PrivateDevices", "yes") {
        let what = format!("its unit gives it the groups {groups}: devices of theirs");
        find(Risk::Device, &what);
    }
    if key && ["", "~"].contains(&unit.property("SystemCallFilter")) {
        find(Risk::Seccomp, "it has no seccomp filter");
    }
    if namespaces {
        let what = "this host lets it make user namespaces, unless a seccomp filter of its refuses, which nobody can see";
        find(Risk::UserNamespaces, what);
    }
    if !hooks {
        let what = "no security hooks refuse it unix sockets of others";
        find(Risk::UnixSockets, what);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn risks(settings: &str, hooks: bool) -> Vec<Risk> {
        let unit = Unit::of("x.service", settings);
        let found = of_settings(&unit, hooks, true, false);
        found.into_iter().map(|finding| finding.risk).collect()
    }

    #[test]
    fn a_plain_unit_is_not_sealable_and_a_confined_one_is() {
        let plain = "User=\nDynamicUser=no\nNoNewPrivileges=no\nCapabilityBoundingSet=cap_chown cap_kill\nPrivateDevices=no\nProtectControlGroups=no\n";
        assert_eq!(
            risks(plain, true),
            [
                Risk::Capability,
                Risk::RootUser,
                Risk::NewPrivileges,
                Risk::ControlFs,
                Risk::Device,
                Risk::UserNamespaces
            ]
        );
        let confined = "User=www-data\nDynamicUser=no\nNoNewPrivileges=yes\nCapabilityBoundingSet=cap_net_bind_service\n";
        assert_eq!(risks(confined, true), [Risk::UserNamespaces]);
        assert_eq!(
            risks(confined, false),
            [Risk::UserNamespaces, Risk::UnixSockets]
        );
        assert_eq!(
            risks("DynamicUser=yes\nCapabilityBoundingSet=cap_chown\n", true),
            [Risk::UserNamespaces]
        );
        for (settings, risk) in [
            (
                "User=x\nNoNewPrivileges=yes\nAmbientCapabilities=cap_sys_admin\n",
                Risk::Capability,
            ),
            ("User=root\nDynamicUser=yes\n", Risk::RootUser),
            (
                "User=x\nNoNewPrivileges=yes\nSupplementaryGroups=disk\n",
                Risk::Device,
            ),
        ] {
            assert!(risks(settings, true).contains(&risk), "{settings}");
        }
        let bind = "User=x\nNoNewPrivileges=yes\nAmbientCapabilities=cap_net_bind_service\n";
        assert_eq!(risks(bind, true), [Risk::UserNamespaces]);
        assert!(expected(&Unit::of("x.slice", plain), true).is_empty());
    }
}
