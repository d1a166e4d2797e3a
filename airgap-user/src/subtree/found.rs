//! From what the operator names to a subtree that can be sealed; what cannot is refused.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use airgap_common::{
    cgroup::container_id,
    map::{ID_LEN, MAX_LEVEL},
};
use anyhow::Context as _;

use super::{PREFIX, id_of};
use crate::{
    command,
    container::Cgroup,
    failure::Failure,
    host::{
        procfs,
        systemd::{PREFIX as UNIT, Unit},
    },
    notation::near,
};

/// A cgroup that is sealed by its path, with all below it.
#[derive(Clone, Debug)]
pub struct Subtree {
    /// From the root of the v2 hierarchy, as in `/proc/PID/cgroup`.
    pub path: String,
    /// What it is called: `cgroup:` and the path.
    pub name: String,
    /// Id of its seal.
    pub id: String,
    /// What is there now; `None`: nothing.
    pub cgroup: Option<Cgroup>,
}

/// Programs that make cgroups of containers and move processes: their own is nobody's seal.
const ENGINES: [&str; 11] = [
    "dockerd",
    "containerd",
    "containerd-shim",
    "podman",
    "conmon",
    "crio",
    "kubelet",
    "dbus-daemon",
    "dbus-broker",
    "dbus-broker-launch",
    "k3s-server",
];
/// `SYS_UID_MAX` and one (login.defs(5), systemd's users-groups).
const FIRST_OF_PEOPLE: u32 = 1000;
/// Where engines make the cgroups of their containers.
const PARENTS: [&str; 5] = [
    "docker",
    "libpod_parent",
    "machine.slice",
    "kubepods",
    "kubepods.slice",
];

impl Subtree {
    /// The subtree that was sealed at this path, as it is now. `root`: of the v2 hierarchy.
    pub fn at(root: &Path, path: &str) -> Self {
        let below = path.trim_start_matches('/');
        let dir = root.join(below);
        let cgroup = fs::metadata(&dir).ok().filter(fs::Metadata::is_dir);
        Self {
            name: format!("{PREFIX}{path}"),
            id: id_of(path),
            cgroup: cgroup.map(|about| Cgroup {
                id: about.ino(),
                level: below.split('/').count() as u32,
                path: dir,
            }),
            path: path.to_owned(),
        }
    }

    /// Its id as the gate's maps have it.
    ///
    /// # Errors
    /// None that an id can cause.
    pub fn key(&self) -> anyhow::Result<[u8; ID_LEN]> {
        Ok(self.id.as_bytes().try_into()?)
    }

    /// The subtree that an operator names: by its path in the hierarchy or in the file system.
    ///
    /// # Errors
    /// If it is not there, is the root, a container's or a command's, holds what must not
    /// be sealed, or cannot be.
    pub fn named(root: &Path, text: &str) -> Result<Self, Failure> {
        let path = path_of(root, text)?;
        let subtree = Self::at(root, &path);
        let Some(cgroup) = &subtree.cgroup else {
            return Err(missing(root, &path));
        };
        refuse_others(&path)?;
        if cgroup.level > MAX_LEVEL {
            return Err(too_deep(&path, cgroup.level));
        }
        refuse_content(&path, &cgroup.path)?;
        Ok(subtree)
    }

    /// That of a unit, running or not: it is sealed at its next start.
    ///
    /// # Errors
    /// As [`Self::named`], but for one that is not there.
    pub fn of_unit(root: &Path, unit: &Unit) -> Result<Self, Failure> {
        if unit.path.is_empty() {
            return Err(root_of_all());
        }
        refuse_others(&unit.path)?;
        let level = unit.path.matches('/').count();
        let level = u32::try_from(level).unwrap_or(u32::MAX);
        if level > MAX_LEVEL {
            return Err(too_deep(&unit.path, level));
        }
        let subtree = Self::at(root, &unit.path);
        subtree.refuse_newcomers()?;
        Ok(Self {
            name: format!("{UNIT}{}", unit.name),
            ..subtree
        })
    }

    /// Once it is sealed: whoever came in while it was not.
    ///
    /// # Errors
    /// If it holds what must not be sealed with it.
    pub fn refuse_newcomers(&self) -> Result<(), Failure> {
        match &self.cgroup {
            Some(cgroup) if cgroup.path.exists() => refuse_content(&self.path, &cgroup.path),
            _ => Ok(()),
        }
    }
}

fn root_of_all() -> Failure {
    Failure::new(
        "the root of the cgroup tree holds this host's own processes, and is not sealed",
        "name what is to be sealed: airgap attach --unit web.service, or --cgroup /system.slice/web.service",
    )
}

fn too_deep(path: &str, level: u32) -> Failure {
    let what = format!("the cgroup {path} is {level} levels deep, airgap looks at {MAX_LEVEL}");
    Failure::new(what, "seal one that holds it")
}

/// The path in the hierarchy of what was named. Pure but for the mount's own name.
fn path_of(root: &Path, text: &str) -> Result<String, Failure> {
    let usage = "name it as in /proc/PID/cgroup: airgap attach --cgroup /system.slice/x.service";
    let text = text.strip_prefix(PREFIX).unwrap_or(text);
    let mount = root.to_string_lossy();
    let below = text
        .strip_prefix(&*mount)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .unwrap_or(text);
    let parts: Vec<_> = below.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(Failure::new(
            format!("'{text}' is no whole path of a cgroup"),
            usage,
        ));
    }
    if parts.is_empty() {
        return Err(root_of_all());
    }
    Ok(format!("/{}", parts.join("/")))
}

/// A container's and a command's have seals of their own.
fn refuse_others(path: &str) -> Result<(), Failure> {
    let mut parts = path.split('/').skip(1);
    if let Some(id) = parts.clone().find_map(container_id) {
        let short = id.get(..12).unwrap_or(id);
        return Err(Failure::new(
            format!("{path} is a cgroup of the container {short}"),
            format!("airgap attach {short}"),
        ));
    }
    let first = parts.next().unwrap_or_default();
    if PARENTS.contains(&first) {
        let what = format!("an engine makes the cgroups of its containers in /{first}");
        return Err(Failure::new(what, "airgap attach CONTAINER seals one"));
    }
    if first == command::PARENT {
        let what = format!("{path} is of commands that airgap exec runs");
        return Err(Failure::new(what, "airgap list names them; each is sealed"));
    }
    Ok(())
}

/// What must not be sealed, or cannot be, in it or below.
fn refuse_content(path: &str, dir: &Path) -> Result<(), Failure> {
    let own = std::process::id();
    for dir in all(dir) {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        if let Some(id) = container_id(&name) {
            let short = id.get(..12).unwrap_or(id);
            return Err(Failure::new(
                format!("{path} holds the container {short}"),
                format!("seal that: airgap attach {short}"),
            ));
        }
        // Its threads may be in several, and /proc names one.
        let kind = fs::read_to_string(dir.join("cgroup.type")).unwrap_or_default();
        if !matches!(kind.trim(), "domain" | "") {
            return Err(Failure::new(
                format!("{} is a cgroup of threads ({})", dir.display(), kind.trim()),
                "seal one that holds whole processes",
            ));
        }
        let procs = fs::read_to_string(dir.join("cgroup.procs")).map_err(|error| {
            Failure::new(
                format!("cannot read the processes of {}: {error}", dir.display()),
                "name a cgroup that is there",
            )
        })?;
        for pid in procs.lines().filter_map(|line| line.parse::<u32>().ok()) {
            let why = match pid {
                1 => Some("the first process of this host".to_owned()),
                pid if pid == own => Some("this airgap".to_owned()),
                // A process of another pid namespace has no number here.
                0 => None,
                pid => engine(pid),
            };
            if let Some(why) = why {
                return Err(Failure::new(
                    format!("{path} holds {why}, which works for others"),
                    "seal a cgroup that holds what is to be sealed and nothing else",
                ));
            }
        }
    }
    Ok(())
}

/// The engine, or the bus, that this process is.
fn engine(pid: u32) -> Option<String> {
    let comm = procfs::text(format!("/proc/{pid}/comm")).ok()?;
    let comm = comm.trim();
    let known = ENGINES.iter().any(|engine| {
        // The kernel keeps fifteen bytes of a name.
        comm == engine.get(..15).unwrap_or(engine)
    });
    let known = known && !(comm.starts_with("dbus") && is_of_people(pid));
    known.then(|| format!("'{comm}' ({pid})"))
}

/// Whether it is a user's own: the bus of a session works for that session.
fn is_of_people(pid: u32) -> bool {
    let owner = fs::metadata(format!("/proc/{pid}")).map(|about| about.uid());
    owner.is_ok_and(|uid| uid >= FIRST_OF_PEOPLE)
}

/// A directory and those below it. One that goes meanwhile is none.
fn all(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut at = 0;
    while let Some(dir) = found.get(at) {
        let below = fs::read_dir(dir).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let below: Vec<_> = below.map(|entry| entry.path()).collect();
        found.extend(below);
        at += 1;
    }
    found
}

/// The cgroup of a process that is in the subtree of this path, from the root of the v2
/// hierarchy.
///
/// # Errors
/// If it is gone, or elsewhere.
pub fn member(path: &str, pid: u32) -> anyhow::Result<String> {
    let file = format!("/proc/{pid}/cgroup");
    let text = procfs::text(&file).with_context(|| format!("cannot read {file}"))?;
    let at = text.lines().find_map(|line| line.strip_prefix("0::"));
    let at = at.filter(|at| is_within(at, path)).with_context(|| {
        let what = format!("the process {pid} is not in the cgroup {path}");
        Failure::new(what, "airgap attach seals where it is now")
    })?;
    Ok(at.to_owned())
}

/// Where below `root` processes run in another cgroup of the same name as that of this path:
/// where systemd does not say where a unit runs, the tree does.
pub fn elsewhere(root: &Path, path: &str) -> Option<String> {
    let name = Path::new(path).file_name()?;
    let own = root.join(path.trim_start_matches('/'));
    let alike = all(root)
        .into_iter()
        .filter(|dir| dir.file_name() == Some(name) && *dir != own);
    alike.into_iter().find_map(|dir| {
        let events = fs::read_to_string(dir.join("cgroup.events")).ok()?;
        let populated = events.lines().any(|line| line == "populated 1");
        let within = dir.strip_prefix(root).ok()?;
        let at = format!("/{}", within.display());
        // Those below a user's own systemd are that user's.
        (populated && !at.contains("/user@")).then_some(at)
    })
}

/// Whether a cgroup is one, or below it. Pure.
fn is_within(at: &str, path: &str) -> bool {
    let rest = at.strip_prefix(path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// There is no such cgroup: what is near.
fn missing(root: &Path, path: &str) -> Failure {
    let mut dir = root.to_owned();
    let mut wanted = "";
    for part in path.split('/').skip(1) {
        wanted = part;
        let next = dir.join(part);
        if !next.is_dir() {
            break;
        }
        dir = next;
    }
    let within = dir.strip_prefix(root).unwrap_or(Path::new(""));
    let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = dirs.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let shown: Vec<_> = near(wanted, names.collect())
        .into_iter()
        .map(|name| format!("/{}", within.join(name).display()))
        .collect();
    let hint = match shown.is_empty() {
        true => "systemd-cgls, or /proc/PID/cgroup, says what there is".to_owned(),
        false => format!("there are {}", shown.join(", ")),
    };
    Failure::new(format!("there is no cgroup {path}"), hint)
}

#[cfg(test)]
mod tests;
