//! `airgap list`.

use anyhow::Result;
use serde::Serialize;

use super::{Report, standing};
use crate::{cli::List, container::Engine, failure::exit, output};

/// One line of the list.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// State of the seal.
    #[serde(flatten)]
    pub report: Report,
    /// Id of another container that now has this one's name and is not sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_sealed: Option<String>,
}

pub(super) async fn run(host: Option<&str>, args: &List) -> Result<u8> {
    let Some(gate) = standing()? else {
        output::list(&[], args.json)?;
        return Ok(exit::OK);
    };
    let engine = match Engine::connect(host).await {
        Ok(engine) => Some(engine),
        Err(error) => {
            log::warn!("whether names have new containers is not known: {error:#}");
            None
        }
    };
    let containers = match &engine {
        Some(engine) => engine.list().await?,
        None => Vec::new(),
    };
    let seals = gate.seals()?;
    let sealed: Vec<String> = seals.iter().map(|(_, s)| crate::gate::seal_id(s)).collect();
    let mut rows = Vec::new();
    for (number, seal) in &seals {
        let id = crate::gate::seal_id(seal);
        let container = match &engine {
            Some(engine) if containers.iter().any(|c| c.0 == id) => engine.find(&id).await.ok(),
            _ => None,
        };
        let report = Report::gather(&gate, *number, seal, container.as_ref())?;
        let not_sealed = containers
            .iter()
            .find(|(other, name, _)| *name == report.container.name && !sealed.contains(other))
            .map(|(other, _, _)| other.clone());
        rows.push(Row { report, not_sealed });
    }
    output::list(&rows, args.json)?;
    Ok(rows
        .iter()
        .map(|row| {
            if row.not_sealed.is_some() {
                exit::NOT_SEALED
            } else {
                row.report.code()
            }
        })
        .max_by_key(|code| match *code {
            exit::NOT_SEALED => 3,
            exit::FAILED => 2,
            exit::DEGRADED => 1,
            _ => 0,
        })
        .unwrap_or(exit::OK))
}
