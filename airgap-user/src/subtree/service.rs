//! What a running service shows of what its drop-in has to have.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Subtree,
    drop_in::{DropIn, Service, before_start, lines_of, privileged},
    leaving::namesake,
};
use crate::{
    container::{Look, cgroup_ids, listening_sockets},
    host::{clock::since_boot_nanos, systemd::Unit},
    policy::Port,
    preflight::{Finding, Risk},
};

/// Below it a port needs `CAP_NET_BIND_SERVICE`.
const LOW: u16 = 1024;

impl Service {
    /// Of this unit; `look`: at its tasks, if it has any; `ports`: on which it is to serve.
    pub fn of(unit: &Unit, subtree: &Subtree, look: Option<&mut Look>, ports: &[Port]) -> Self {
        let mut service = Self {
            low_port: ports.iter().any(|port| port.first < LOW),
            ..Self::default()
        };
        let own = DropIn::path_of(&unit.name);
        service.before = before_start(&texts_of(unit));
        let earlier = fs::read_to_string(own).ok();
        service.earlier = earlier.as_deref().and_then(lines_of).unwrap_or_default();
        let Some(look) = look else { return service };
        service.as_configured = unit.property("NeedDaemonReload") == "no"
            && look
                .members
                .oldest
                .is_some_and(|oldest| is_older(unit, oldest));
        let users = look.members.credentials.iter().flat_map(|who| &who.users);
        let users: BTreeSet<u32> = users.copied().filter(|user| *user != 0).collect();
        if let (1, Some(user)) = (users.len(), users.first()) {
            let shared = namesake(&subtree.path, &[*user]).is_some();
            service.user = (!shared).then(|| name_of(*user));
        }
        service.low_port |= serves_low(look);
        service
    }
}

/// Paths of a unit's files, in the order in which systemd reads them.
fn files(unit: &Unit) -> impl Iterator<Item = &str> {
    let lists = [unit.property("FragmentPath"), unit.property("DropInPaths")];
    let paths = lists.into_iter();
    paths.flat_map(|list| list.split_ascii_whitespace())
}

/// What is in a unit's files, but for airgap's own.
fn texts_of(unit: &Unit) -> Vec<String> {
    let own = DropIn::path_of(&unit.name);
    let others = files(unit).filter(|path| *path != own);
    others
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect()
}

/// What a unit has run with all that systemd has: as root, beside whatever it is itself.
pub fn with_all_rights(unit: &Unit) -> Vec<Finding> {
    let lines = privileged(&texts_of(unit)).into_iter();
    let found = lines.map(|line| Finding {
        risk: Risk::RootUser,
        what: format!("its unit runs as root, whatever its user is: {line}"),
        mend: Some("that line without + and !"),
    });
    found.collect()
}

/// Whether all of a unit's files were there as they are when its oldest process started, which
/// is so many seconds after the boot.
fn is_older(unit: &Unit, oldest: u64) -> bool {
    /// Both are rounded.
    const SLACK: u64 = 2;
    let since_boot = Duration::from_nanos(since_boot_nanos());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let started = now.saturating_sub(since_boot).as_secs() + oldest;
    files(unit).all(|path| {
        let changed = fs::metadata(path).map(|about| about.ctime());
        changed.is_ok_and(|at| u64::try_from(at).unwrap_or(0) <= started + SLACK)
    })
}

fn serves_low(look: &mut Look) -> bool {
    let own = cgroup_ids(&look.cgroups, &mut look.budget);
    let mut found = false;
    for network in &look.networks {
        let listed = listening_sockets(&network.netns).unwrap_or_default();
        found |= listed.iter().any(|socket| {
            let own = socket.cgroup.is_some_and(|cgroup| own.contains(&cgroup));
            own && socket.local.is_some_and(|(_, port)| port < LOW)
        });
    }
    found
}

/// The user's name where this host has one, else its number: systemd takes both.
fn name_of(user: u32) -> String {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = user.to_string();
    let mut lines = text.lines().map(|line| line.split(':'));
    let known = lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    known.unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn users_have_names() {
        assert_eq!(name_of(0), "root");
        assert_eq!(name_of(4_000_000_001), "4000000001");
    }
}
