//! `airgap status`.

use airgap_common::map::{Seal, SealNumber};
use anyhow::Result;

use super::{Report, find_seal, standing};
use crate::{
    cli::Status,
    container::{Container, Engine},
    gate::seal_id,
    labels::{self, Asked},
    output,
    preflight::Risk,
    state::{Entry, Origin, State},
};

pub(super) async fn run(host: Option<&str>, state: &State, args: &Status) -> Result<u8> {
    let gate = standing()?;
    let seals = gate
        .as_ref()
        .map_or_else(|| Ok(Vec::new()), |g| g.seals())?;
    let found = match find_seal(&seals, &args.container) {
        Err(error) => by_engine(host, &seals, &args.container).await.ok_or(error),
        found => found,
    };
    let (number, seal) = match found {
        Ok(found) => found,
        Err(error) => {
            // What is recorded was sealed and ought to be.
            let entry = state.find(&args.container).ok().flatten().ok_or(error)?;
            let report = Report::of_entry(&entry);
            output::report(&report, args.json, false)?;
            return Ok(report.code());
        }
    };
    let Some(gate) = gate else {
        anyhow::bail!("the gate is gone while its seals were read");
    };
    // Without the engine the seal is still told, only less of the container.
    let engine = match Engine::connect(host).await {
        Ok(engine) => Some(engine),
        Err(error) => {
            log::warn!("the container's configuration is not known: {error:#}");
            None
        }
    };
    let container = match &engine {
        Some(engine) => engine.find(&seal_id(&seal)).await.ok(),
        None => None,
    };
    let entry = state.entry(&seal_id(&seal));
    let mut report = Report::gather(&gate, number, &seal, container.as_ref(), entry.as_ref())?;
    if let (Some(engine), Some(container), Some(Entry::Known(record))) =
        (&engine, &container, &entry)
        && record.by == Origin::Label
    {
        report.labels_ignored = ignored(engine, container, seal.accepted).await;
    }
    output::report(&report, args.json, false)?;
    Ok(report.code())
}

/// The labels that do not count, of a container that is sealed by label.
async fn ignored(engine: &Engine, container: &Container, accepted: u64) -> Vec<String> {
    let image = engine.image_labels(container).await;
    let allowed: Vec<_> = Risk::ALL
        .iter()
        .copied()
        .filter(|risk| accepted & risk.bit() != 0)
        .collect();
    match labels::read(&container.labels(), image.as_ref(), &allowed) {
        Asked::Seal(terms) => terms.wrong.into_iter().chain(terms.ignored).collect(),
        Asked::Nothing => Vec::new(),
    }
}

/// A seal whose record could not be read has no name, and a renamed container
/// has another one: the engine knows whose id it is.
async fn by_engine(
    host: Option<&str>,
    seals: &[(SealNumber, Seal)],
    reference: &str,
) -> Option<(SealNumber, Seal)> {
    let engine = Engine::connect(host).await.ok()?;
    let container = engine.find(reference).await.ok()?;
    find_seal(seals, &container.id).ok()
}
