//! What the tasks of a subtree could do to leave around its seal. They live on the host:
//! its files, its processes, its devices and its network are around them.

use std::{net::SocketAddr, path::Path};

use super::{
    Subtree,
    leaving::{exit_above, may_open, namesake, owns_tun},
};
use crate::{
    container::{Credentials, Look, cgroup_ids, holders, listening_sockets},
    host::netns::mountinfo,
    policy::Exception,
    preflight::{
        CAPABILITIES, Facts, Finding, NET_RAW, Risk, Surroundings, has_writable_cgroups,
        judge_exits, network_file_systems, reachable, user_namespaces_usable,
    },
};

/// Bytes of a list of mounts that are read.
const MOUNTINFO: usize = 4 << 20;
/// What of the host a process with it reaches, beside what every container is refused.
const ON_THE_HOST: [(u32, &str); 10] = [
    (0, "CHOWN"),
    (1, "DAC_OVERRIDE"),
    (3, "FOWNER"),
    (6, "SETGID"),
    (7, "SETUID"),
    (19, "SYS_PTRACE"),
    (22, "SYS_BOOT"),
    (27, "MKNOD"),
    (31, "SETFCAP"),
    (40, "CHECKPOINT_RESTORE"),
];
/// Sockets by which another acts for whoever reaches it.
const MANAGERS: [&str; 6] = [
    "run/systemd/private",
    "run/dbus/system_bus_socket",
    "run/docker.sock",
    "run/podman/podman.sock",
    "run/containerd/containerd.sock",
    "run/snapd.socket",
];
/// What the kernel runs as root for whoever asks for a key (keyrings(7)).
pub(super) const REQUEST_KEY: &str = "/sbin/request-key";

/// All that is known of a subtree, and what of it leads around a seal. `look`: at its tasks,
/// if it has any; `hooks`: security hooks are in force.
pub fn gather(
    root: &Path,
    subtree: &Subtree,
    look: Option<&mut Look>,
    hooks: bool,
    exits: &[Exception],
) -> Facts {
    let around = Surroundings::of_host();
    let mut found = judge_exits(exits, &around);
    let Some(look) = look else {
        return Facts {
            subtree: found,
            ..Facts::default()
        };
    };
    let credentials = look.members.credentials.clone();
    let mut find = |risk, what| {
        found.push(Finding {
            risk,
            what,
            mend: mend(risk),
        });
    };
    let writable = in_namespaces(look, &credentials, &mut find);
    for who in &credentials {
        of_task(who, hooks, &mut find);
        if writable
            && let Some(cgroup) = &subtree.cgroup
            && let Some(above) = exit_above(root, cgroup, who)
        {
            let what = format!(
                "{} could move itself to another cgroup below {above}",
                who.who
            );
            find(Risk::ControlFs, what);
        }
    }
    // Any of it: real, effective, saved, file system.
    let mut users: Vec<u32> = credentials.iter().flat_map(|c| c.users.clone()).collect();
    users.sort_unstable();
    users.dedup();
    if let Some(other) = namesake(&subtree.path, &users) {
        let what =
            format!("{other} is of the same user: it could trace that, or share a port with it");
        find(Risk::HostPid, what);
    }
    if let Some(who) = &look.members.unfiltered
        && Path::new(REQUEST_KEY).exists()
    {
        let what = format!("{who} has no seccomp filter, and this host has {REQUEST_KEY}");
        find(Risk::Seccomp, what);
    }
    if user_namespaces_usable() && !credentials.is_empty() {
        let what = "this host lets its processes make user namespaces, unless a seccomp filter of theirs refuses, which nobody can see";
        find(Risk::UserNamespaces, what.into());
    }
    for what in foreign_listeners(look) {
        find(Risk::ForeignSocket, what);
    }
    if !hooks && !look.cgroups.is_empty() {
        find(Risk::UnixSockets, unix_sockets(look));
    }
    let mut facts = Facts::of_subtree(look, Vec::new());
    facts.subtree = once(found);
    facts
}

/// What one task has.
fn of_task(who: &Credentials, hooks: bool, find: &mut impl FnMut(Risk, String)) {
    let is_root = who.users.contains(&0);
    // What root runs has them all again, within the bounds.
    let held = match is_root && !who.no_new_privs {
        true => who.capabilities | who.bounding,
        false => who.capabilities,
    };
    let refused = CAPABILITIES.iter().chain(&ON_THE_HOST);
    let raw = [(NET_RAW, "NET_RAW")];
    let raw = raw.iter().filter(|_| !hooks);
    let names: Vec<_> = refused
        .chain(raw)
        .filter(|(bit, _)| held & (1 << bit) != 0)
        .map(|(_, name)| format!("CAP_{name}"))
        .collect();
    if !names.is_empty() {
        find(
            Risk::Capability,
            format!(
                "{} has, or gets by what it runs, {}",
                who.who,
                names.join(", ")
            ),
        );
    }
    if is_root {
        let what = format!(
            "{} is of root, whose files root's other programs run",
            who.who
        );
        find(Risk::RootUser, what);
    }
    if !who.no_new_privs {
        let what = format!(
            "{} may gain privileges by what it runs (crontab, at, sudo)",
            who.who
        );
        find(Risk::NewPrivileges, what);
    }
}

/// Listeners that others made and that its processes hold (socket activation): what they
/// accept is judged as of the cgroup that the listener was made in.
fn foreign_listeners(look: &mut Look) -> Vec<String> {
    let holders = holders(&look.cgroups, &mut look.budget);
    let own = cgroup_ids(&look.cgroups, &mut look.budget);
    let mut found = Vec::new();
    for network in &look.networks {
        let listed = match listening_sockets(&network.netns) {
            Ok(listed) => listed,
            Err(error) => {
                look.budget.skip(format!("what listens ({error:#})"));
                continue;
            }
        };
        for socket in listed {
            let foreign = socket.cgroup.is_none_or(|cgroup| !own.contains(&cgroup));
            let holder = holders.get(&socket.inode).and_then(|all| all.first());
            if let (true, Some(holder), Some((ip, port))) = (foreign, holder, socket.local) {
                found.push(format!(
                    "its process '{}' ({}) listens on {} by a socket that was made outside (socket activation)",
                    holder.name,
                    holder.pid,
                    SocketAddr::new(ip, port)
                ));
            }
        }
    }
    found
}

/// What is mounted for its tasks; whether one of them could write to the cgroup tree, had it
/// the right to.
fn in_namespaces(
    look: &mut Look,
    credentials: &[Credentials],
    find: &mut impl FnMut(Risk, String),
) -> bool {
    let mut writable = false;
    let tun = credentials.iter().any(owns_tun);
    let Look {
        members, budget, ..
    } = look;
    for (_, namespace, pid) in &members.mounts {
        if !budget.step_for("what is mounted in some of its namespaces") {
            break;
        }
        match mountinfo(namespace, MOUNTINFO) {
            Ok(text) => {
                let text = String::from_utf8_lossy(&text);
                writable |= has_writable_cgroups(&text);
                for what in network_file_systems(&text) {
                    find(Risk::NetworkFs, what);
                }
            }
            Err(error) => {
                writable = true;
                budget.skip(format!("what is mounted for process {pid} ({error:#})"));
            }
        }
        let may = |about: &std::fs::Metadata, path: &Path| {
            credentials.iter().any(|who| may_open(who, about, path))
        };
        let nodes = reachable(namespace, may, tun, budget);
        if let Some(first) = nodes.first() {
            let more = match nodes.len() {
                1 => String::new(),
                some => format!(", and {} more", some - 1),
            };
            find(Risk::Device, format!("it may open {first}{more}"));
        }
    }
    writable
}

/// Whom it reaches where nothing refuses.
fn unix_sockets(look: &Look) -> String {
    let mut shown: Vec<_> = Vec::new();
    for (_, _, pid) in &look.members.mounts {
        for socket in MANAGERS {
            if Path::new(&format!("/proc/{pid}/root/{socket}")).exists() && !shown.contains(&socket)
            {
                shown.push(socket);
            }
        }
    }
    let shown: Vec<_> = shown.iter().map(|socket| format!("/{socket}")).collect();
    let managers = match shown.is_empty() {
        true => String::new(),
        false => format!(", {} first of all", shown.join(", ")),
    };
    format!("no security hooks refuse it unix sockets of others{managers}")
}

/// What mends it here, where that is not what mends it for a container. By systemd's words:
/// most of what is in a cgroup is of a unit's.
pub(super) const fn mend(risk: Risk) -> Option<&'static str> {
    Some(match risk {
        Risk::Capability => "take its capabilities (CapabilityBoundingSet=)",
        Risk::RootUser => "run it as a user of its own (User=, DynamicUser=)",
        Risk::ControlFs => {
            "run it as a user that owns no cgroup above it (User=), with ProtectControlGroups=yes"
        }
        Risk::HostPid => "run it as a user of its own (User=, DynamicUser=)",
        Risk::Device => "take it the devices (PrivateDevices=yes, DevicePolicy=closed)",
        Risk::Seccomp | Risk::UserNamespaces => {
            "refuse it by RestrictNamespaces=yes and SystemCallFilter=@system-service, and say so"
        }
        Risk::UnixSockets => {
            "hide the sockets of others (InaccessiblePaths=, RestrictAddressFamilies=AF_INET AF_INET6), and say so"
        }
        Risk::NetworkFs => "hide it (InaccessiblePaths=)",
        Risk::ForeignSocket => {
            "put its socket unit and the service into one slice of their own (Slice=NAME.slice in both), restart both, and seal that: airgap attach -p PORT --slice NAME; or have the service listen by itself"
        }
        _ => return None,
    })
}

/// Each finding once.
fn once(found: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in found {
        if !kept.contains(&finding) {
            kept.push(finding);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(who: &Credentials, hooks: bool) -> Vec<Risk> {
        let mut found = Vec::new();
        of_task(who, hooks, &mut |risk, _| found.push(risk));
        found
    }

    #[test]
    fn an_ordinary_process_of_the_host_is_not_sealable_and_a_confined_one_is() {
        let root = Credentials {
            users: vec![0; 4],
            groups: vec![0],
            capabilities: 0,
            bounding: u64::MAX,
            no_new_privs: false,
            who: "it".into(),
        };
        let all = [Risk::Capability, Risk::RootUser, Risk::NewPrivileges];
        assert_eq!(found(&root, true), all);
        let bounded = Credentials {
            no_new_privs: true,
            ..root.clone()
        };
        assert_eq!(found(&bounded, true), [Risk::RootUser]);
        let user = Credentials {
            users: vec![33; 4],
            ..bounded
        };
        assert_eq!(found(&user, true), []);
        // Ports below 1024 are no way out; frames are, where no hooks refuse their sockets.
        let serving = Credentials {
            capabilities: 1 << 10,
            ..user.clone()
        };
        assert_eq!(found(&serving, false), []);
        let raw = Credentials {
            capabilities: 1 << NET_RAW,
            ..user
        };
        assert_eq!(found(&raw, true), []);
        assert_eq!(found(&raw, false), [Risk::Capability]);
    }
}
