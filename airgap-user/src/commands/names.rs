//! What to call the containers behind seal numbers.

use std::collections::HashMap;

use airgap_common::map::SealNumber;
use anyhow::Result;

use crate::{
    container::{Engine, Identity},
    gate::{Gate, seal_id, seal_name},
};

/// Identities by seal, asked for once each.
pub(super) struct Names {
    engine: Option<Engine>,
    known: HashMap<SealNumber, Identity>,
}

impl Names {
    /// Without an engine image and compose service stay unknown.
    pub(super) async fn new(host: Option<&str>) -> Self {
        let engine = match Engine::connect(host).await {
            Ok(engine) => Some(engine),
            Err(error) => {
                log::warn!("images and compose services are not known: {error:#}");
                None
            }
        };
        Self {
            engine,
            known: HashMap::new(),
        }
    }

    /// The container of a seal, also of one that was lifted meanwhile.
    pub(super) async fn of(&mut self, gate: &Gate, seal: SealNumber) -> Result<Identity> {
        if !self.known.contains_key(&seal) {
            for (number, seal) in gate.seals()? {
                if self.known.contains_key(&number) {
                    continue;
                }
                let mut identity = Identity {
                    id: seal_id(&seal),
                    name: seal_name(&seal),
                    ..Identity::default()
                };
                if let Some(engine) = &self.engine
                    && let Ok(container) = engine.find(&identity.id).await
                {
                    identity = identity.with(&container.inspect);
                }
                self.known.insert(number, identity);
            }
        }
        Ok(self
            .known
            .get(&seal)
            .cloned()
            .unwrap_or_else(|| Identity::of_seal(seal)))
    }
}
