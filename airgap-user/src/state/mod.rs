//! What outlives the kernel: a record of each seal, so that `airgap restore`
//! can put all of them in force before the engine starts a container.
//!
//! One file a seal, `seals/<id>.json`: the id that must be sealed is in the
//! name, so a file that cannot be read still seals its container, and sealing
//! one container costs the same with one record as with ten thousand. Every
//! change is a rename. Whoever writes holds the gate's lock.

mod file;
mod own;
mod record;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub use self::{
    own::Own,
    record::{Origin, Record, VERSION, is_id},
};
use crate::{
    failure::{Failure, exit},
    gate::Lock,
};

/// Where the state is unless told otherwise.
pub const DEFAULT: &str = "/var/lib/airgap";

/// Stands for a name that no record tells.
pub const UNKNOWN: &str = "?";

/// The directory of the state.
#[derive(Clone, Debug)]
pub struct State {
    dir: PathBuf,
}

/// One file of the state.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A record.
    Known(Record),
    /// A file that cannot be read as one; its name is the id of a container.
    Unreadable {
        /// 64 hex digits.
        id: String,
        /// Why.
        why: String,
    },
}

impl Entry {
    /// Id of the container.
    pub fn id(&self) -> &str {
        match self {
            Self::Known(record) => &record.id,
            Self::Unreadable { id, .. } => id,
        }
    }

    /// Its name, as far as it is known.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(record) => &record.name,
            Self::Unreadable { .. } => UNKNOWN,
        }
    }
}

impl State {
    /// The state in `dir`, which need not exist.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn marker(&self) -> PathBuf {
        self.dir.join("version")
    }

    fn seals(&self) -> PathBuf {
        self.dir.join("seals")
    }

    fn path(&self, id: &str) -> PathBuf {
        self.seals().join(format!("{id}.json"))
    }

    fn switch(&self) -> PathBuf {
        self.dir.join("quarantine")
    }

    /// Makes the directory, if it is not there, so that "no seals" can be told
    /// from "the directory is gone".
    ///
    /// # Errors
    /// If it cannot be made or written, or others than root can write to it.
    pub fn prepare(&self, _lock: &Lock) -> Result<()> {
        file::directory(&self.dir)?;
        file::directory(&self.seals())?;
        match self.version()? {
            Some(_) => Ok(()),
            None => file::replace(&self.marker(), format!("{VERSION}\n").as_bytes()),
        }
    }

    /// Whether seals were ever recorded here.
    ///
    /// # Errors
    /// If the marker cannot be read or is of a newer airgap.
    pub fn is_prepared(&self) -> Result<bool> {
        Ok(self.version()?.is_some())
    }

    fn version(&self) -> Result<Option<u32>> {
        let Some(bytes) = file::read(&self.marker())? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        match text.trim().parse() {
            Ok(VERSION) => Ok(Some(VERSION)),
            _ => Err(Failure::new(
                format!(
                    "{} is of another version of airgap: '{}', not {VERSION}",
                    self.dir.display(),
                    text.trim()
                ),
                "use that version, or attach each container again with this one after moving the directory away",
            )
            .into()),
        }
    }

    /// Every record, sorted by id. Files that are none are in it too.
    ///
    /// # Errors
    /// If the directory is there and cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        // A newer layout: nothing but the names can be relied upon.
        let newer = self.version().err().map(|error| error.to_string());
        let mut entries = Vec::new();
        for name in file::names(&self.seals())? {
            let Some(id) = name.strip_suffix(".json").filter(|id| is_id(id)) else {
                // Temporary files begin with a dot.
                if !name.starts_with('.') {
                    log::warn!(
                        "{} holds a file that is no record: {name}",
                        self.seals().display()
                    );
                }
                continue;
            };
            entries.extend(match &newer {
                Some(why) => Some(Entry::Unreadable {
                    id: id.to_owned(),
                    why: why.clone(),
                }),
                None => self.entry(id),
            });
        }
        entries.sort_by(|a, b| a.id().cmp(b.id()));
        Ok(entries)
    }

    /// The entry of one container; `None` if there is none.
    pub fn entry(&self, id: &str) -> Option<Entry> {
        let path = self.path(id);
        let read = match file::read(&path) {
            Ok(None) => return None,
            Ok(Some(bytes)) => Record::decode(id, &bytes),
            Err(error) => Err(error),
        };
        Some(read.map_or_else(
            |error| Entry::Unreadable {
                id: id.to_owned(),
                why: format!("{}: {error:#}", path.display()),
            },
            Entry::Known,
        ))
    }

    /// What is in the file of one container now, to be put back by
    /// [`Self::put_back`].
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn raw(&self, id: &str) -> Result<Option<Vec<u8>>> {
        file::read(&self.path(id))
    }

    /// Records a seal, in place of an earlier record of the same container.
    ///
    /// # Errors
    /// If it cannot be written; then nothing has changed.
    pub fn write(&self, record: &Record, lock: &Lock) -> Result<()> {
        let write = || {
            self.prepare(lock)?;
            file::replace(&self.path(&record.id), &record.encode()?)
        };
        write().with_context(|| {
            Failure::new(
                format!(
                    "the seal cannot be recorded in {}: a reboot would open it, so nothing was changed",
                    self.dir.display()
                ),
                format!("make {} writable and give it room, or name another place: --state-dir DIR", self.dir.display()),
            )
        })
    }

    /// Undoes a [`Self::write`].
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn put_back(&self, id: &str, earlier: Option<&[u8]>, lock: &Lock) -> Result<()> {
        match earlier {
            Some(bytes) => file::replace(&self.path(id), bytes),
            None => self.remove([id], lock),
        }
    }

    /// Forgets containers, whether or not there are records of them.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn remove<'a>(&self, ids: impl IntoIterator<Item = &'a str>, _lock: &Lock) -> Result<()> {
        let stays = |id: &str| {
            Failure::new(
                format!("the record of {id} cannot be removed: the next restore seals it again"),
                format!(
                    "make {} writable, then: airgap detach {id}",
                    self.dir.display()
                ),
            )
        };
        let mut last = None;
        for id in ids {
            // Of another seal from now on, it would not be believed either.
            let _ = file::remove(&self.own(id));
            if file::remove(&self.path(id)).with_context(|| stays(id))? {
                last = Some(id);
            }
        }
        // Once for all of them.
        let Some(id) = last else { return Ok(()) };
        file::flush_parent(&self.path(id)).with_context(|| stays(id))
    }

    /// Whether containers that nobody has judged are to start denied.
    pub fn quarantine(&self) -> bool {
        // Anything but a clear "no such file" is a yes.
        !matches!(file::read(&self.switch()), Ok(None))
    }

    /// Remembers the switch.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn set_quarantine(&self, on: bool, lock: &Lock) -> Result<()> {
        self.prepare(lock)?;
        match on {
            true => file::replace(&self.switch(), b"on\n"),
            false => {
                if file::remove(&self.switch())? {
                    file::flush_parent(&self.switch())?;
                }
                Ok(())
            }
        }
    }

    /// The records that `reference` names: by name, id or prefix of an id.
    ///
    /// # Errors
    /// If the directory cannot be read, or there is more than one.
    pub fn find(&self, reference: &str) -> Result<Option<Entry>> {
        let mut entries = self.entries()?;
        let exact = |e: &Entry| e.name() == reference || e.id() == reference;
        let any = entries.iter().any(exact);
        entries.retain(|e| match any {
            true => exact(e),
            false => !reference.is_empty() && e.id().starts_with(reference),
        });
        if entries.len() > 1 {
            let ids: Vec<_> = entries.iter().map(Entry::id).collect();
            return Err(Failure::new(
                format!("'{reference}' stands for {} recorded seals", ids.len()),
                format!("name one by its id: {}", ids.join(", ")),
            )
            .with_code(exit::FAILED)
            .into());
        }
        Ok(entries.pop())
    }
}

#[cfg(test)]
mod tests;
