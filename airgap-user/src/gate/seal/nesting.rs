//! One sealed cgroup is not in another.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use airgap_common::map::SealNumber;
use anyhow::Result;

use super::{
    super::{Gate, seal_name},
    Cgroup, Failure,
};

impl Gate {
    /// Two policies for one packet: the outer one alone would count.
    pub(super) fn refuse_nesting(&self, number: SealNumber, cgroup: &Cgroup) -> Result<()> {
        let foreign = |n: &SealNumber| *n != number && self.is_in_force(*n);
        let other = |id: u64| {
            let member = self.cgroups.get(&id, 0).ok()?;
            Some(member.of).filter(foreign)
        };
        let above = cgroup.path.ancestors().skip(1).map_while(|dir| {
            dir.starts_with(&self.place.cgroup)
                .then(|| dir.to_path_buf())
        });
        for dir in above.chain(below(&cgroup.path)) {
            let id = std::fs::metadata(&dir).map_or(0, |m| m.ino());
            if let Some(other) = other(id) {
                let name = self
                    .seals
                    .get(&other, 0)
                    .map_or_else(|_| "?".into(), |s| seal_name(&s));
                return Err(Failure::new(
                    format!(
                        "{} is nested with the sealed container {name}",
                        cgroup.path.display()
                    ),
                    format!("seal only the outer container, or: airgap detach {name}"),
                )
                .into());
            }
        }
        Ok(())
    }
}

/// All directories below, depth first.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = vec![dir.to_path_buf()];
    while let Some(dir) = queue.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                queue.push(entry.path());
                found.push(entry.path());
            }
        }
    }
    found
}
