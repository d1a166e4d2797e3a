//! `airgap status`.

use airgap_common::map::{Seal, SealNumber};
use anyhow::Result;

use super::{Report, find_seal, standing};
use crate::{cli::Status, container::Engine, gate::seal_id, output, state::State};

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
    let container = match Engine::connect(host).await {
        Ok(engine) => engine.find(&seal_id(&seal)).await.ok(),
        Err(error) => {
            log::warn!("the container's configuration is not known: {error:#}");
            None
        }
    };
    let entry = state.entry(&seal_id(&seal));
    let report = Report::gather(&gate, number, &seal, container.as_ref(), entry.as_ref())?;
    output::report(&report, args.json, false)?;
    Ok(report.code())
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
