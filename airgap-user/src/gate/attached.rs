//! Where the hooks for packets and calls are attached: at the root of the cgroup tree, or only
//! at those cgroups just below it that sealed containers are in (`/docker`, `system.slice`).
//! What is attached there is in force in every cgroup born below, and is not called for whoever
//! is elsewhere.
//!
//! A container that is born elsewhere all the same (its engine was given another parent, a
//! slice was stopped and made anew) is denied every socket but unix sockets by the security
//! hooks. So the hooks leave the root only where those are seen to refuse, and come back when
//! they do not.

mod moving;
mod unguarded;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use airgap_common::map::{Member, Switch, name};
use anyhow::{Context as _, Result, bail};

use super::{Gate, HOOKS, Hook, Kind, Place, hash, links::unlink};

pub use self::moving::Placing;

/// A cgroup just below where the gate is made; by its id, as another may come with its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Top {
    /// Cgroup id.
    pub id: u64,
    /// Absolute path.
    pub path: PathBuf,
}

/// What is to be sealed next, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing that is new.
    Nothing,
    /// Something in this cgroup, or below it.
    At(PathBuf),
    /// Something that may come anywhere.
    Anywhere,
}

/// A place of the hooks: `None`, the root.
pub(super) type Spot = Option<Top>;

/// The cgroup just below the root that this one is in; `None`: it is one of those itself, or
/// not there.
pub(super) fn top_of(root: &Path, cgroup: &Path) -> Option<Top> {
    let mut below = cgroup.strip_prefix(root).ok()?.components();
    let (first, _) = (below.next()?, below.next()?);
    let path = root.join(first);
    let id = fs::metadata(&path).ok()?.ino();
    Some(Top { id, path })
}

/// Hooks on cgroups.
pub(super) fn cgroup_hooks() -> impl Iterator<Item = &'static Hook> {
    HOOKS
        .iter()
        .filter(|hook| !matches!(hook.kind, Kind::Tracepoint(_)))
}

/// Name of a link's pin; its hook's, where it hangs on the root.
pub(super) fn pin(hook: &Hook, spot: &Spot) -> String {
    match spot {
        None => hook.link.to_owned(),
        Some(top) => format!("{}@{}", hook.link, top.id),
    }
}

/// The directory of a spot, which must be the very one that is meant.
pub(super) fn open(place: &Place, spot: &Spot) -> Result<File> {
    let path = spot.as_ref().map_or(&place.cgroup, |top| &top.path);
    let dir = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    if let Some(top) = spot
        && dir.metadata().map_or(0, |about| about.ino()) != top.id
    {
        bail!("{} was made anew meanwhile", path.display());
    }
    Ok(dir)
}

impl Gate {
    /// Whether the hooks are attached to single cgroups, and not to the root.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn is_apart(&self) -> Result<bool> {
        self.switch(Switch::Apart)
    }

    /// The cgroups just below the root that the hooks are attached to, as the kernel writes
    /// paths, sorted; none: they are attached to the root. One that is gone is left out.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn attached_below(&self) -> Result<Vec<String>> {
        let spots = self.spots()?;
        let there = spots.iter().filter(|spot| !is_gone(spot)).flatten();
        let name = |top: &Top| format!("/{}", top.path.file_name()?.to_string_lossy()).into();
        let mut paths: Vec<String> = there.filter_map(name).collect();
        paths.sort();
        Ok(paths)
    }

    /// Where they are attached now, sorted.
    pub(super) fn spots(&self) -> Result<Vec<Spot>> {
        if !self.is_apart()? {
            return Ok(vec![None]);
        }
        let there = tops(&self.place.cgroup)?;
        let mut spots = Vec::new();
        for id in self.attached()?.keys() {
            let id = id.context("cannot read the map ATTACHED")?;
            // Of one that is gone links may be left, which hang on nothing.
            let path = there.get(&id).cloned().unwrap_or_default();
            spots.push(Some(Top { id, path }));
        }
        spots.sort();
        Ok(spots)
    }

    fn attached(&self) -> Result<aya::maps::HashMap<aya::maps::MapData, u64, u32>> {
        hash(&self.place, name::ATTACHED)
    }

    /// All marks of cgroups.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub(super) fn members(&self) -> Result<Vec<(u64, Member)>> {
        let marks = self.cgroups.iter().collect::<Result<_, _>>();
        marks.context("cannot read the map CGROUPS")
    }

    pub(super) fn switch(&self, switch: Switch) -> Result<bool> {
        let on = self.switches.get(&(switch as u32), 0).map(|on| on == 1);
        on.context("cannot read the map SWITCHES")
    }

    pub(super) fn set_switch(&mut self, switch: Switch, on: bool) -> Result<()> {
        let written = self.switches.set(switch as u32, u32::from(on), 0);
        written.context("cannot write the map SWITCHES")
    }
}

/// Whether it is a cgroup that is no more.
pub(super) fn is_gone(spot: &Spot) -> bool {
    spot.as_ref()
        .is_some_and(|top| top.path.as_os_str().is_empty())
}

/// These cgroups, or the root if there are none.
pub(super) fn spots_of(tops: &[Top]) -> Vec<Spot> {
    if tops.is_empty() {
        return vec![None];
    }
    let mut spots: Vec<_> = tops.iter().cloned().map(Some).collect();
    spots.sort();
    spots
}

/// Whether a pin is of a link on a cgroup. Pure.
pub(super) fn is_cgroup_pin(name: &str) -> bool {
    cgroup_hooks().any(|hook| {
        name.strip_prefix(hook.link)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '_']))
    })
}

/// Names of pins.
pub(super) fn pinned(links: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(links) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot read {}", links.display()))?,
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    Ok(entries.flatten().map(name).collect())
}

/// Removes the pins of all links on cgroups.
pub(super) fn unpin(place: &Place) -> Result<()> {
    let links = place.pins.join("links");
    for name in pinned(&links)? {
        if is_cgroup_pin(&name) {
            unlink(&links.join(&name))?;
        }
    }
    Ok(())
}

/// The cgroups just below the root, by their ids.
///
/// # Errors
/// If they cannot be listed: none is taken for gone then.
fn tops(root: &Path) -> Result<BTreeMap<u64, PathBuf>> {
    let cannot = || format!("cannot list {}", root.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        match entry.metadata() {
            Ok(about) if about.is_dir() => drop(found.insert(about.ino(), entry.path())),
            Ok(_) => {}
            // Since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(cannot),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Path, is_cgroup_pin, top_of};

    #[test]
    fn pins_of_links_on_cgroups_are_told_from_others() {
        for name in [
            "egress",
            "egress@123",
            "connect4_next",
            "sock_create@7_next",
        ] {
            assert!(is_cgroup_pin(name), "{name}");
        }
        for name in ["cgroup_mkdir", "lsm_create", "frame_out", "egresses"] {
            assert!(!is_cgroup_pin(name), "{name}");
        }
    }

    #[test]
    fn what_is_just_below_the_root_is_in_nothing() {
        let root = Path::new("/sys/fs/cgroup");
        assert_eq!(top_of(root, root), None);
        assert_eq!(top_of(root, &root.join("docker")), None);
        assert_eq!(top_of(root, Path::new("/elsewhere/docker/1")), None);
    }
}
