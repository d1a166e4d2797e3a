//! What `airgap verify` tried itself, so that nobody takes it for the
//! container's. One file a seal, beside the records.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{State, file};
use crate::gate::Lock;

/// Attempts by reason.
pub type Own = BTreeMap<String, u64>;

#[derive(Serialize, Deserialize)]
struct File {
    /// Seal number.
    seal: u64,
    /// Sealed since, seconds since 1970-01-01 UTC: numbers come again.
    since: u64,
    attempts: Own,
    /// Where they led, as far as that was airgap's own.
    #[serde(default)]
    targets: Vec<IpAddr>,
}

impl State {
    /// How many of a seal's refused attempts were airgap's own; none where that
    /// is not known.
    pub fn own_attempts(&self, id: &str, seal: u64, since: u64) -> Own {
        self.verified(id, seal, since)
            .map_or_else(Own::new, |file| file.attempts)
    }

    /// Addresses that were airgap's own while it tried; none where that is not known.
    pub fn own_targets(&self, id: &str, seal: u64, since: u64) -> Vec<IpAddr> {
        self.verified(id, seal, since)
            .map_or_else(Vec::new, |file| file.targets)
    }

    fn verified(&self, id: &str, seal: u64, since: u64) -> Option<File> {
        let read = || -> Result<Option<File>> {
            let bytes = file::read(&self.own(id))?;
            bytes
                .map(|bytes| serde_json::from_slice(&bytes).context("it is no record"))
                .transpose()
        };
        match read() {
            Ok(file) => file.filter(|file| file.seal == seal && file.since == since),
            Err(error) => {
                log::debug!("what verify tried of {id} is not known: {error:#}");
                None
            }
        }
    }

    /// Adds to them.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn add_own_attempts(
        &self,
        id: &str,
        seal: u64,
        since: u64,
        (more, at): (&Own, &[IpAddr]),
        lock: &Lock,
    ) -> Result<()> {
        self.prepare(lock)?;
        let path = self.own(id);
        file::directory(path.parent().unwrap_or(&self.dir))?;
        let mut attempts = self.own_attempts(id, seal, since);
        let mut targets = self.own_targets(id, seal, since);
        targets.extend(at);
        targets.sort_unstable();
        targets.dedup();
        for (reason, count) in more {
            *attempts.entry(reason.clone()).or_default() += count;
        }
        let written = serde_json::to_vec(&File {
            seal,
            since,
            attempts,
            targets,
        });
        file::replace(&path, &written.context("cannot write JSON")?)
    }

    pub(super) fn own(&self, id: &str) -> std::path::PathBuf {
        self.dir.join("verified").join(format!("{id}.json"))
    }
}
