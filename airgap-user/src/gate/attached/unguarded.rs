//! Cgroups of seals that were born where nothing is attached that would judge their packets:
//! they are denied every socket but unix sockets until it is.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use airgap_common::map::{Member, SealNumber, Stat, UNRECORDED, name};
use anyhow::{Context as _, Result};

use super::super::{Gate, Lock, hints::Stats, map, seal_id};
use crate::container::{Cgroup, find_cgroups};

impl Gate {
    /// Cgroups that were born where nothing was attached, and are denied every socket but unix
    /// sockets.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn unguarded(&self) -> Result<Vec<(u64, SealNumber)>> {
        if self.stat(Stat::Unguarded) == 0 {
            return Ok(Vec::new());
        }
        self.denied_sockets()
    }

    fn denied_sockets(&self) -> Result<Vec<(u64, SealNumber)>> {
        let members = self.members()?.into_iter();
        let denied = members.filter(|(_, member)| is_unguarded(member));
        Ok(denied.map(|(cgroup, member)| (cgroup, member.of)).collect())
    }

    /// Once none is left, sockets are looked at as before.
    pub(in super::super) fn count_unguarded(&mut self) -> Result<()> {
        if self.stat(Stat::Unguarded) == 0 || self.stat(Stat::Overflowed) != 0 {
            return Ok(());
        }
        let stats = map(self.place(), name::STATS)?;
        let stats = Stats::map(stats.fd()).context("cannot map STATS")?;
        // In this order: the kernel enters a cgroup before it counts it. One that comes
        // meanwhile is found, or has changed the count.
        let known = stats.get(Stat::Unguarded);
        if self.denied_sockets()?.is_empty() && !stats.clear(Stat::Unguarded, known) {
            log::debug!("another cgroup was made where nothing is attached");
        }
        Ok(())
    }

    /// Attaches the hooks above those that are denied every socket, and has them judged by
    /// their own seal again. Returns how many there were.
    ///
    /// # Errors
    /// Of one for which that cannot be done; the others are.
    pub fn mend_unguarded(&mut self, lock: &Lock) -> Result<usize> {
        let (mut mended, mut failed) = (0, None);
        for (id, number) in self.unguarded()? {
            // One whose directory is gone has no task any more.
            let done = self.live(id, number).and_then(|found| match found {
                Some(cgroup) => self.seal_cgroup(number, &cgroup, lock).map(|()| 1),
                None => Ok(0),
            });
            match done {
                Ok(more) => mended += more,
                Err(error) => failed = Some(error),
            }
        }
        self.count_unguarded()?;
        failed.map_or(Ok(mended), Err)
    }

    /// A cgroup of a seal, where its directory is there still.
    fn live(&self, id: u64, number: SealNumber) -> Result<Option<Cgroup>> {
        let root = &self.place().cgroup;
        let container = seal_id(&self.seal(number)?);
        let mut found = find_cgroups(root, &container);
        found.extend(self.path_of(number)?.and_then(|path| {
            let path: PathBuf = root.join(path.trim_start_matches('/'));
            Some(Cgroup {
                id: fs::metadata(&path).ok()?.ino(),
                level: path.strip_prefix(root).ok()?.components().count() as u32,
                path,
            })
        }));
        Ok(found.into_iter().find(|cgroup| cgroup.id == id))
    }
}

/// Whether a cgroup is denied every socket as nothing is attached above it. Pure.
fn is_unguarded(member: &Member) -> bool {
    member.seal == UNRECORDED && member.of != UNRECORDED
}

#[cfg(test)]
mod tests {
    use super::{Member, UNRECORDED, is_unguarded};

    #[test]
    fn what_fits_nowhere_is_not_what_is_unguarded() {
        let member = |seal, of| Member { seal, of, top: 7 };
        assert!(is_unguarded(&member(UNRECORDED, 4)));
        assert!(!is_unguarded(&member(4, 4)));
        assert!(!is_unguarded(&member(UNRECORDED, UNRECORDED)));
    }
}
