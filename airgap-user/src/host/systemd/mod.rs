//! Units of systemd: which there are, where their cgroups are, and what they have
//! (systemctl(1), org.freedesktop.systemd1(5)).

mod call;
mod name;

use std::{
    collections::HashMap,
    fs,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use self::{
    call::{ANSWER, JOB, require, systemctl},
    name::{path, whole},
};
use crate::{
    failure::{Failure, exit},
    host::procfs::text,
    notation::near,
};

/// What stands before the name of a unit: no engine's container can have it.
pub const PREFIX: &str = "unit:";
/// What is asked of a unit.
const ASKED: &str = "--property=Id,LoadState,ActiveState,ControlGroup,Slice,User,DynamicUser,Type,PIDFile,NoNewPrivileges,ProtectControlGroups,PrivateDevices,CapabilityBoundingSet,AmbientCapabilities,SupplementaryGroups,NeedDaemonReload,RestrictNamespaces,SystemCallFilter,FragmentPath,DropInPaths,TriggeredBy";

/// For what is only shown.
const BRIEFLY: Duration = Duration::from_secs(1);
/// How long one that did not answer is not asked again.
const AGAIN: Duration = Duration::from_secs(60);

/// The unit that a seal of this name is of.
pub fn unit_of(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX)
}

/// A unit that has a cgroup, or will have one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its whole name, no alias.
    pub name: String,
    /// Path of its cgroup from the root of the v2 hierarchy; empty: that root.
    pub path: String,
    properties: HashMap<String, String>,
}

impl Unit {
    /// The unit of this name; `slice`: a short one means a slice.
    ///
    /// # Errors
    /// If systemd does not run or does not answer, or if there is no such unit, or it has no
    /// cgroup of its own.
    pub fn named(text: &str, slice: bool) -> Result<Self, Failure> {
        let name = whole(text.strip_prefix(PREFIX).unwrap_or(text), slice)?;
        require()?;
        let said = systemctl(&["--system", "show", ASKED, "--", &name], ANSWER)?;
        Self::told(&name, &said).map_err(|wrong| match wrong {
            Wrong::Unknown => unknown(&name),
            Wrong::Otherwise(failure) => failure,
        })
    }

    /// With these properties, and without a path. Pure.
    pub(crate) fn of(name: &str, said: &str) -> Self {
        let lines = said.lines().filter_map(|line| line.split_once('='));
        Self {
            name: name.to_owned(),
            path: String::new(),
            properties: lines
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// From what `systemctl show` prints. Pure.
    fn told(name: &str, said: &str) -> Result<Self, Wrong> {
        let mut unit = Self::of(name, said);
        let fail = |what, hint: String| Err(Wrong::Otherwise(Failure::new(what, hint)));
        if !unit.property("Id").is_empty() {
            unit.name = unit.property("Id").to_owned();
        }
        let at = unit.property("ControlGroup").to_owned();
        let next = path(&unit.name, unit.property("Slice"));
        match (unit.property("LoadState"), &*at) {
            // What runs counts, whatever became of its file.
            (_, "/") if unit.name == "-.slice" => return Ok(unit),
            // A slice needs no file, so any name is one's.
            ("loaded", "") if unit.is_made_up() => return Err(Wrong::Unknown),
            ("loaded", "") => match next {
                Some(next) => unit.path = next,
                None => {
                    return fail(
                        format!("systemd does not say where {name} will be"),
                        format!("start it first: systemctl start {name}"),
                    );
                }
            },
            ("not-found", "") => return Err(Wrong::Unknown),
            (state, "") => {
                return fail(
                    format!("{name} cannot be started: systemd calls it {state}"),
                    format!("systemctl status {name} says why"),
                );
            }
            ("loaded", at) if next.as_deref().is_some_and(|next| next != at) => {
                return fail(
                    format!(
                        "{name} runs in the cgroup {at}, and its next start will be in {}",
                        next.unwrap_or_default()
                    ),
                    format!("restart it first: systemctl restart {name}"),
                );
            }
            (_, at) => unit.path = at.to_owned(),
        }
        Ok(unit)
    }

    /// A property as `systemctl show` prints it; empty: it has none.
    pub fn property(&self, key: &str) -> &str {
        self.properties.get(key).map_or("", String::as_str)
    }

    fn is_made_up(&self) -> bool {
        let files = [self.property("FragmentPath"), self.property("DropInPaths")];
        self.name.ends_with(".slice") && files.concat().is_empty()
    }

    /// Whether it is a service: others have no `[Service]` settings.
    pub fn is_service(&self) -> bool {
        self.name.ends_with(".service")
    }
}

enum Wrong {
    Unknown,
    Otherwise(Failure),
}

/// What a unit is called that has this name, too; `None`: systemd does not say.
pub fn real_name(unit: &str) -> Option<String> {
    let said = briefly(&["--system", "show", "--property=Id", "--", unit])?;
    let name = said.trim_end().strip_prefix("Id=")?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// What systemd says at once: who shows or refuses does not wait for one that hangs. Once it
/// has not answered, it is not asked again for a while.
fn briefly(words: &[&str]) -> Option<String> {
    static SILENT_SINCE: Mutex<Option<Instant>> = Mutex::new(None);
    require().ok()?;
    let mut silent = SILENT_SINCE.lock().unwrap_or_else(PoisonError::into_inner);
    if silent.is_some_and(|since| since.elapsed() < AGAIN) {
        return None;
    }
    let begun = Instant::now();
    let said = systemctl(words, BRIEFLY).ok();
    // One that is no unit is an answer, and comes at once.
    *silent = (said.is_none() && begun.elapsed() >= BRIEFLY).then(Instant::now);
    said
}

/// What is shown of a unit's place and start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Path of its cgroup; `None`: it has none.
    pub path: Option<String>,
    unit: Unit,
}

impl Now {
    /// Of the unit of this name, asked once; `None`: systemd does not run, or not answer.
    pub fn of(unit: &str) -> Option<Self> {
        let asked = "--property=ControlGroup,After,Requires";
        let said = briefly(&["--system", "show", asked, "--", unit])?;
        Some(Self::told(unit, &said))
    }

    /// The same, of what systemd says. Pure.
    fn told(unit: &str, said: &str) -> Self {
        let unit = Unit::of(unit, said);
        let at = unit.property("ControlGroup");
        Self {
            path: (!at.is_empty()).then(|| at.to_owned()),
            unit,
        }
    }

    /// How it waits for `other`, which is before `target`; `None`: not at all.
    pub fn order(&self, other: &str, target: &str) -> Option<Order> {
        ordered(&self.unit, other, target)
    }
}

/// How a unit waits for another one at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It starts once that has succeeded.
    Bound,
    /// It starts after that, also where that has failed.
    After,
}

/// How a unit waits, by what systemd says. Pure.
fn ordered(unit: &Unit, other: &str, target: &str) -> Option<Order> {
    let has = |key, name| {
        let mut names = unit.property(key).split_ascii_whitespace();
        names.any(|one| one == name)
    };
    match (
        has("After", other) || has("After", target),
        has("Requires", other),
    ) {
        (true, true) => Some(Order::Bound),
        (true, false) => Some(Order::After),
        (false, _) => None,
    }
}

/// There is no such unit: what is near.
fn unknown(name: &str) -> Failure {
    let suffix = name.rfind('.').map_or("", |dot| &name[dot..]);
    let kind = format!("--type={}", suffix.trim_start_matches('.'));
    let mut names: Vec<String> = Vec::new();
    for list in ["list-units", "list-unit-files"] {
        let words = [
            "--system",
            list,
            "--all",
            "--plain",
            "--no-legend",
            "--no-pager",
            &kind,
        ];
        let said = systemctl(&words, ANSWER).unwrap_or_default();
        names.extend(listed(&said));
    }
    names.sort_unstable();
    names.dedup();
    let shown = near(name, names);
    let hint = match (user_of(name), shown.is_empty()) {
        (Some(user), _) => format!(
            "the user {user} runs one of this name, which that user's own systemd moves about: seal all of the user's: airgap attach --slice user-{user}"
        ),
        (None, true) => "systemctl list-units --all says what there is".to_owned(),
        (None, false) => format!("there are {}", shown.join(", ")),
    };
    Failure::new(format!("there is no unit {name}"), hint).with_code(exit::USAGE)
}

/// Whose own systemd runs a unit of this name, by the cgroup tree.
fn user_of(name: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let cgroups = processes.filter_map(|entry| text(entry.path().join("cgroup")).ok());
    cgroups.into_iter().find_map(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        user_in(path, name)
    })
}

/// The user in whose manager's part of the tree this unit is (user@.service(5)). Pure.
fn user_in(path: &str, unit: &str) -> Option<u32> {
    let (above, below) = path.split_once(".service/")?;
    let (_, user) = above.rsplit_once("/user@")?;
    let mut parts = below.split('/');
    parts.any(|part| part == unit).then_some(())?;
    user.parse().ok()
}

/// Names in a list of units, without those of units that are none. Pure.
fn listed(said: &str) -> Vec<String> {
    let lines = said.lines().map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next(), words.next())
    });
    let there = lines.filter(|(_, state)| *state != Some("not-found"));
    let names = there.filter_map(|(name, _)| name);
    // Nobody can seal a template.
    let names = names.filter(|name| !name.contains("@."));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, said: &str) -> Result<Unit, String> {
        Unit::told(name, said).map_err(|wrong| match wrong {
            Wrong::Unknown => "unknown".to_owned(),
            Wrong::Otherwise(failure) => failure.message,
        })
    }

    #[test]
    fn a_unit_is_where_it_runs_or_will_run() {
        let at = |said: &str| told("x.service", said).map(|unit| unit.path);
        let runs = "Slice=system.slice\nControlGroup=/system.slice/x.service\nLoadState=loaded\n";
        assert_eq!(at(runs).unwrap(), "/system.slice/x.service");
        let stopped = "Slice=a-b.slice\nControlGroup=\nId=y.service\nLoadState=loaded\n";
        let unit = told("x.service", stopped).unwrap();
        assert_eq!(unit.path, "/a.slice/a-b.slice/y.service");
        assert_eq!(unit.name, "y.service", "what it is an alias of");
        let moves = "Slice=b.slice\nControlGroup=/system.slice/x.service\nLoadState=loaded\n";
        assert!(at(moves).unwrap_err().contains("in /b.slice/x.service"));
        let made_up = told(
            "app-x.slice",
            "Slice=app.slice\nControlGroup=\nLoadState=loaded\n",
        );
        assert_eq!(made_up.unwrap_err(), "unknown");
        let users = "Slice=user.slice\nControlGroup=\nLoadState=loaded\nDropInPaths=/x\n";
        let users = told("user-1000.slice", users).unwrap();
        assert_eq!(users.path, "/user.slice/user-1000.slice");
        let gone = "Slice=\nControlGroup=\nLoadState=not-found\n";
        assert_eq!(at(gone).unwrap_err(), "unknown");
        let masked = "Slice=\nControlGroup=\nLoadState=masked\n";
        assert!(at(masked).unwrap_err().contains("masked"));
        // A file that was taken away under a service that runs on.
        let orphan = "Slice=\nControlGroup=/system.slice/x.service\nLoadState=not-found\n";
        assert_eq!(at(orphan).unwrap(), "/system.slice/x.service");
        assert!(at("ControlGroup=\nSlice=\nLoadState=loaded\n").is_err());
    }

    #[test]
    fn a_users_own_unit_is_known_by_its_place() {
        let at = |path: &str| user_in(path, "x.service");
        let manager = "/user.slice/user-1000.slice/user@1000.service/app.slice";
        assert_eq!(at(&format!("{manager}/x.service")), Some(1000));
        assert_eq!(at(&format!("{manager}/y.service")), None);
        assert_eq!(at("/system.slice/x.service"), None);
        assert_eq!(at("/system.slice/y@7.service/x.service"), None);
    }

    #[test]
    fn a_place_is_told_with_the_start() {
        let now = Now::told("x", "ControlGroup=/a/x.service\nAfter=r\nRequires=r\n");
        assert_eq!(now.path.as_deref(), Some("/a/x.service"));
        assert_eq!(now.order("r", "t"), Some(Order::Bound));
        assert_eq!(Now::told("x", "ControlGroup=\n").path, None);
    }

    #[test]
    fn who_waits_is_known() {
        let order = |said| ordered(&Unit::of("x", said), "r.service", "basic.target");
        let after = "After=basic.target system.slice\nRequires=sysinit.target\n";
        assert_eq!(order(after), Some(Order::After));
        let bound = "After=r.service\nRequires=sysinit.target r.service\n";
        assert_eq!(order(bound), Some(Order::Bound));
        // At once with it.
        assert_eq!(order("After=other.service\nRequires=r.service\n"), None);
    }

    #[test]
    fn what_there_is_is_listed() {
        let said = "init.scope loaded active running x\nno.service not-found inactive dead y\n\
                    tpl@.service static -\nnginx.service enabled enabled\n";
        assert_eq!(listed(said), ["init.scope", "nginx.service"]);
    }
}
