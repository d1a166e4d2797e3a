//! What a running service shows of what its drop-in has to have.

use std::{collections::BTreeSet, fs};

use super::{
    Subtree,
    drop_in::{DropIn, Service, before_start, lines_of},
    leaving::namesake,
};
use crate::{
    container::{Look, cgroup_ids, listening_sockets},
    policy::Port,
    systemd::Unit,
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
        let files = [unit.property("FragmentPath"), unit.property("DropInPaths")];
        let files = files.iter().flat_map(|list| list.split_ascii_whitespace());
        let files = files.filter(|path| *path != own);
        let texts: Vec<_> = files
            .filter_map(|path| fs::read_to_string(path).ok())
            .collect();
        service.before = before_start(&texts);
        let earlier = fs::read_to_string(own).ok();
        service.earlier = earlier.as_deref().and_then(lines_of).unwrap_or_default();
        let Some(look) = look else { return service };
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
