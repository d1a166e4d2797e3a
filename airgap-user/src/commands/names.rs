//! What to call the containers behind seal numbers.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use airgap_common::map::SealNumber;
use anyhow::Result;

use crate::{
    container::{Engines, Hosts, Identity},
    gate::{Gate, seal_id, seal_name},
};

/// A name is asked for again after so long: it may have been changed.
const FRESH: Duration = Duration::from_secs(2);
/// Longest that events wait for a name to be asked for again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Identities by seal.
pub(super) struct Names {
    engines: Engines,
    known: HashMap<SealNumber, (Identity, Instant)>,
}

impl Names {
    /// Without an engine image and compose service stay unknown.
    pub(super) async fn new(hosts: &Hosts) -> Self {
        let engines = Engines::connect(hosts).await;
        if let (true, Some(error)) = (engines.is_empty(), engines.why_silent()) {
            log::warn!(
                "names are as recorded, images and compose services are not known: {error:#}"
            );
        }
        Self {
            engines,
            known: HashMap::new(),
        }
    }

    /// The container of a seal, also of one that was lifted meanwhile.
    pub(super) async fn of(&mut self, gate: &Gate, seal: SealNumber) -> Result<Identity> {
        if !self.known.contains_key(&seal) {
            self.learn(gate).await?;
        } else if let Some((identity, asked)) = self.known.get_mut(&seal)
            && asked.elapsed() > FRESH
        {
            let again = tokio::time::timeout(PATIENCE, self.engines.by_id(&identity.id)).await;
            if let Ok(Some((_, container))) = again {
                identity.name = container.name;
            }
            *asked = Instant::now();
        }
        let known = self.known.get(&seal);
        Ok(known.map_or_else(|| Identity::of_seal(seal), |(known, _)| known.clone()))
    }

    async fn learn(&mut self, gate: &Gate) -> Result<()> {
        for (number, seal) in gate.seals()? {
            if self.known.contains_key(&number) {
                continue;
            }
            let id = seal_id(&seal);
            let found = self.engines.by_id(&id).await;
            let container = found.as_ref().map(|(_, container)| container);
            let identity = Identity::of(&id, seal_name(&seal), container);
            self.known.insert(number, (identity, Instant::now()));
        }
        Ok(())
    }
}
