//! `airgap status`.

use anyhow::Result;

use super::{Report, find_seal, standing};
use crate::{cli::Status, container::Engine, gate::seal_id, output, state::State};

pub(super) async fn run(host: Option<&str>, state: &State, args: &Status) -> Result<u8> {
    let gate = standing()?;
    let seals = gate
        .as_ref()
        .map_or_else(|| Ok(Vec::new()), |g| g.seals())?;
    let (number, seal) = match find_seal(&seals, &args.container) {
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
