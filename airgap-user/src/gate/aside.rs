//! A gate whose pins somebody removed. Its links and their maps live on in the
//! kernel, where nobody can reach them any more; another gate is built beside
//! it, and while both run, deny wins.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use airgap_common::map::{Seal, SealNumber, name};
use anyhow::{Context as _, Result, bail};

use super::{Gate, Lock, Place, hash, remove_dir, seal_id};
use crate::failure::{Failure, exit};

/// Errs if maps are missing beside links: to load them anew would put empty
/// ones under programs that go by full ones.
pub(super) fn refuse_damage(place: &Place) -> Result<()> {
    let links = fs::read_dir(place.pins.join("links"));
    if links.is_ok_and(|mut entries| entries.next().is_some()) {
        let missing = |name: &&&str| !place.map(name).exists();
        let missing: Vec<_> = name::ALL.iter().filter(missing).copied().collect();
        if !missing.is_empty() {
            bail!(
                Failure::new(
                    format!(
                        "the gate in {} is damaged, pinned maps are gone: {}",
                        place.pins.display(),
                        missing.join(", ")
                    ),
                    "airgap restore builds another beside it, then ends it",
                )
                .with_code(exit::NOT_SEALED)
            );
        }
    }
    Ok(())
}

impl Gate {
    /// Moves the pins of a damaged gate out of the way, without ending it;
    /// returns the ids that it seals, as far as they can still be read.
    ///
    /// # Errors
    /// If the pins cannot be moved.
    pub fn set_aside(place: &Place, _lock: &Lock) -> Result<Vec<String>> {
        let seals = hash::<SealNumber, Seal>(place, name::SEALS);
        let ids = seals.map_or_else(
            |_| Vec::new(),
            |seals| seals.iter().flatten().map(|(_, s)| seal_id(&s)).collect(),
        );
        let free = (1..).map(|n| aside(place, n)).find(|path| !path.exists());
        let to = free.context("there is no free name")?;
        fs::rename(&place.pins, &to)
            .with_context(|| format!("cannot move {} aside", place.pins.display()))?;
        Ok(ids)
    }

    /// Ends the gates that were set aside; returns how many there were. To be
    /// called once all that they sealed is sealed by another.
    ///
    /// # Errors
    /// If a pin cannot be removed.
    pub fn drop_aside(place: &Place, _lock: &Lock) -> Result<usize> {
        let mut dropped = 0;
        for dir in asides(place) {
            for part in ["links", "programs", "maps"] {
                clear(&dir.join(part))?;
            }
            remove_dir(&dir)?;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Whether a gate that was set aside is still there, and in force.
    pub fn has_aside(place: &Place) -> bool {
        !asides(place).is_empty()
    }
}

fn aside(place: &Place, n: u32) -> PathBuf {
    let name = place.pins.file_name().unwrap_or_default().to_string_lossy();
    place.pins.with_file_name(format!("{name}-aside-{n}"))
}

fn asides(place: &Place) -> Vec<PathBuf> {
    (1..)
        .map(|n| aside(place, n))
        .take_while(|dir| dir.exists())
        .collect()
}

fn clear(dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot read {}", dir.display()))?,
    };
    for entry in entries.flatten() {
        super::links::unlink(&entry.path())?;
    }
    remove_dir(dir)
}
