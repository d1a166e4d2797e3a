//! What an engine tells of its containers as it happens.

use std::{collections::HashMap, pin::Pin, time::Duration};

use anyhow::{Context as _, Result};
use bollard::{
    errors::Error as DockerError, models::EventMessage, query_parameters::EventsOptionsBuilder,
};
use futures_util::{Stream, StreamExt as _};

use super::Engine;

/// What became of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was created or started.
    Appeared,
    /// It got another network.
    Connected,
    /// It ended, left a network, or got another name.
    Left,
    /// It was removed.
    Destroyed,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEvent {
    /// Container id.
    pub id: String,
    /// What became of it.
    pub what: Happened,
}

/// Events of an engine, old ones first.
pub struct EngineEvents(Pin<Box<dyn Stream<Item = Result<EventMessage, DockerError>> + Send>>);

impl Engine {
    /// What happens, and what happened from `since` on (time since 1970-01-01
    /// UTC): the engine remembers its last few hundred events.
    pub fn events(&self, since: Duration) -> EngineEvents {
        let filters = HashMap::from([("type", vec!["container", "network"])]);
        let since = format!("{}.{:09}", since.as_secs(), since.subsec_nanos());
        let options = EventsOptionsBuilder::new()
            .since(&since)
            .filters(&filters)
            .build();
        EngineEvents(Box::pin(self.docker.events(Some(options))))
    }
}

impl EngineEvents {
    /// The next event of a container that matters.
    ///
    /// # Errors
    /// If the engine is gone.
    pub async fn next(&mut self) -> Result<EngineEvent> {
        loop {
            let message = self.0.next().await.context("the engine ended its events")?;
            let message = message.context("the engine's events cannot be read")?;
            if let Some(event) = read(message) {
                return Ok(event);
            }
        }
    }
}

/// Pure.
fn read(message: EventMessage) -> Option<EngineEvent> {
    let kind = message.typ?.to_string();
    let actor = message.actor?;
    let (id, what) = match (kind.as_str(), message.action?.as_str()) {
        ("container", "create" | "start" | "restart" | "unpause") => (actor.id, Happened::Appeared),
        ("container", "die" | "died" | "rename") => (actor.id, Happened::Left),
        // Podman says remove.
        ("container", "destroy" | "remove") => (actor.id, Happened::Destroyed),
        ("network", "connect") => {
            let mut attributes = actor.attributes?;
            (attributes.remove("container"), Happened::Connected)
        }
        ("network", "disconnect") => {
            let mut attributes = actor.attributes?;
            (attributes.remove("container"), Happened::Left)
        }
        _ => return None,
    };
    Some(EngineEvent { id: id?, what })
}

#[cfg(test)]
mod tests {
    use super::{Happened, read};

    #[test]
    fn reads_the_events_that_matter() {
        let event = |kind: &str, action: &str| {
            let json = format!(
                "{{\"Type\":\"{kind}\",\"Action\":\"{action}\",\"Actor\":{{\"ID\":\"a\",\"Attributes\":{{\"container\":\"c\"}}}}}}"
            );
            let event = read(serde_json::from_str(&json).unwrap());
            event.map(|event| (event.id, event.what))
        };
        let a = |what| Some(("a".to_owned(), what));
        assert_eq!(event("container", "create"), a(Happened::Appeared));
        assert_eq!(event("container", "start"), a(Happened::Appeared));
        assert_eq!(event("container", "destroy"), a(Happened::Destroyed));
        let connected = Some(("c".to_owned(), Happened::Connected));
        assert_eq!(event("network", "connect"), connected);
        let left = Some(("c".to_owned(), Happened::Left));
        assert_eq!(event("network", "disconnect"), left);
        assert_eq!(event("container", "die"), a(Happened::Left));
        assert_eq!(event("container", "exec_start: sh"), None);
        assert_eq!(event("network", "create"), None);
        assert!(read(serde_json::from_str("{}").unwrap()).is_none());
    }
}
