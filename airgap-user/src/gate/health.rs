//! What is in force right now, read from the kernel.

use std::{fs::File, path::Path};

use airgap_common::map::{SealNumber, Stat};
use anyhow::{Context as _, Result};

use super::{
    Gate, HOOKS, Hook, Kind, LinkState,
    hints::Hints,
    map, security,
    sys::{effective_programs, link_state, obj_get},
};
use airgap_common::map::name;

impl Gate {
    /// Links that are missing, dead, or hang on the wrong hook or cgroup: what
    /// a pin says is worth nothing, its link has to be alive.
    pub fn broken_links(&self) -> Vec<String> {
        self.hooks()
            .filter_map(|hook| {
                let why = match self.link(hook.link) {
                    Err(_) => "its pin is gone",
                    Ok(state) => match hook.kind {
                        Kind::Tracepoint(_) | Kind::Security(_) => return None,
                        _ if state.cgroup == 0 => "its cgroup is gone",
                        _ if state.cgroup != self.root_id() => "it hangs on another cgroup",
                        _ if state.attach_type != hook.attach_type => "it hangs on another hook",
                        _ => return None,
                    },
                };
                Some(format!("{}: {why}", hook.link))
            })
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
        for hook in HOOKS
            .iter()
            .filter(|h| !matches!(h.kind, Kind::Tracepoint(_)))
        {
            let effective = effective_programs(&dir, hook.attach_type)
                .with_context(|| format!("cannot query the programs of {}", cgroup.display()))?;
            let ours = self.link(hook.link).map(|l| l.program);
            if !ours.is_ok_and(|program| effective.contains(&program)) {
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
        let hints = Hints::map(map(&self.place, name::HINTS)?.fd()).context("cannot map HINTS")?;
        let levels: Vec<u32> = self.levels.iter().collect::<Result<_, _>>()?;
        Ok(self.cgroups.get(&cgroup, 0).is_ok_and(|n| n == seal)
            && levels.iter().any(|levels| levels & (1 << level) != 0)
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
        self.hooks().count()
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
