//! What is in force right now, read from the kernel.

use std::{fs::File, path::Path};

use airgap_common::map::{SealNumber, Stat};
use anyhow::{Context as _, Result};

use super::{
    Gate, HOOKS, Hook, Kind, LinkState,
    attached::{Spot, cgroup_hooks, is_gone, pin},
    hints::Levels,
    security,
    sys::{effective_programs, link_state, obj_get},
};

impl Gate {
    /// Links that are missing, dead, or hang on the wrong hook or cgroup: what
    /// a pin says is worth nothing, its link has to be alive.
    pub fn broken_links(&self) -> Vec<String> {
        let mut broken = self.broken_on_cgroups();
        let others = self
            .hooks()
            .filter(|hook| matches!(hook.kind, Kind::Tracepoint(_) | Kind::Security(_)))
            .filter(|hook| self.link(hook.link).is_err());
        broken.extend(others.map(|hook| format!("{}: its pin is gone", hook.link)));
        broken
    }

    fn broken_on_cgroups(&self) -> Vec<String> {
        let mut before = self.spots();
        loop {
            let spots = match before {
                Ok(spots) => spots,
                Err(error) => return vec![format!("{error:#}")],
            };
            // Nothing is below one that is gone.
            let there = spots.iter().filter(|spot| !is_gone(spot));
            let broken: Vec<_> = there.flat_map(|spot| self.broken_at(spot)).collect();
            let now = self.spots();
            // They were moved meanwhile.
            if broken.is_empty() || now.as_ref().is_ok_and(|now| *now == spots) {
                return broken;
            }
            before = now;
        }
    }

    /// The same of the hooks on cgroups in one place.
    pub(super) fn broken_at(&self, spot: &Spot) -> Vec<String> {
        let own = match spot {
            Some(top) => top.id,
            None => self.root_id(),
        };
        let why = |hook: &Hook| match self.link(&pin(hook, spot)) {
            Err(_) => Some("its pin is gone"),
            Ok(state) if state.cgroup == 0 => Some("its cgroup is gone"),
            Ok(state) if state.cgroup != own => Some("it hangs on another cgroup"),
            Ok(state) if state.attach_type != hook.attach_type => Some("it hangs on another hook"),
            Ok(_) => None,
        };
        let place = match spot {
            Some(top) => format!(" ({})", top.path.display()),
            None => String::new(),
        };
        cgroup_hooks()
            .filter_map(|hook| Some(format!("{}: {}{place}", hook.link, why(hook)?)))
            .collect()
    }

    /// Hooks whose program does not run for `cgroup`, by an effective query.
    ///
    /// # Errors
    /// If the directory cannot be opened or queried.
    pub fn missing_hooks(&self, cgroup: &Path) -> Result<Vec<&'static str>> {
        let dir =
            File::open(cgroup).with_context(|| format!("cannot open {}", cgroup.display()))?;
        let mut missing = Vec::new();
        let spots = self.spots()?;
        for hook in cgroup_hooks() {
            let effective = effective_programs(&dir, hook.attach_type)
                .with_context(|| format!("cannot query the programs of {}", cgroup.display()))?;
            let mut ours = spots.iter().map(|spot| self.link(&pin(hook, spot)));
            if !ours.any(|link| link.is_ok_and(|link| effective.contains(&link.program))) {
                missing.push(hook.link);
            }
        }
        Ok(missing)
    }

    /// Whether a packet of this cgroup is looked up and found: entry, level
    /// and hint, all three.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn is_marked(&self, cgroup: u64, level: u32, seal: SealNumber) -> Result<bool> {
        let hints = self.hints()?;
        let levels = Levels::map(self.levels.fd()).context("cannot map LEVELS")?;
        let member = self.cgroups.get(&cgroup, 0);
        Ok(member.is_ok_and(|member| member.seal == seal)
            && levels.has(level)
            && hints.get(cgroup) > 0)
    }

    /// The kernel side's debug lines, which go to [`log`]; one reader at a time.
    ///
    /// # Errors
    /// If the gate was loaded by another kind of program, or its link is gone.
    pub fn debug_log(&self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>> {
        let program = self.link("cgroup_mkdir")?.program;
        aya_log::EbpfLogger::init_from_id(program).context("cannot read the gate's debug log")
    }

    /// A host-wide counter.
    pub fn stat(&self, stat: Stat) -> u64 {
        self.stats.get(&(stat as u32), 0).unwrap_or(0)
    }

    /// How many links there should be.
    pub fn link_count(&self) -> usize {
        let spots = self.spots().unwrap_or_default();
        let there = spots.iter().filter(|spot| !is_gone(spot)).count();
        let others = self.hooks().count() - cgroup_hooks().count();
        others + there * cgroup_hooks().count()
    }

    /// Those every gate has, and those this kernel was seen to heed.
    fn hooks(&self) -> impl Iterator<Item = &'static Hook> {
        let lsm = self.lsm_since() != 0;
        HOOKS.iter().chain(
            security::HOOKS
                .iter()
                .take(if lsm { usize::MAX } else { 0 }),
        )
    }

    /// Second since boot since which the security hooks refuse, 0 without them; the last
    /// number if they do not.
    pub fn lsm_since(&self) -> u32 {
        self.info().map_or(0, |info| info.lsm)
    }

    pub(super) fn link(&self, name: &str) -> Result<LinkState> {
        let path = self.place.link(name);
        let fd = obj_get(&path).with_context(|| format!("cannot open {}", path.display()))?;
        link_state(&fd).with_context(|| format!("cannot read the link {}", path.display()))
    }

    fn root_id(&self) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(&self.place.cgroup).map_or(0, |m| m.ino())
    }
}
