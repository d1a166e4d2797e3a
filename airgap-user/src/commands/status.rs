//! `airgap status`.

use anyhow::Result;

use super::{Report, find_seal, standing};
use crate::{cli::Status, container::Engine, output};

pub(super) async fn run(host: Option<&str>, args: &Status) -> Result<u8> {
    let gate = standing()?;
    let seals = gate
        .as_ref()
        .map_or_else(|| Ok(Vec::new()), |g| g.seals())?;
    let (number, seal) = find_seal(&seals, &args.container)?;
    let Some(gate) = gate else {
        anyhow::bail!("the gate is gone while its seals were read");
    };
    // Without the engine the seal is still told, only less of the container.
    let container = match Engine::connect(host).await {
        Ok(engine) => engine.find(&crate::gate::seal_id(&seal)).await.ok(),
        Err(error) => {
            log::warn!("the container's configuration is not known: {error:#}");
            None
        }
    };
    let report = Report::gather(&gate, number, &seal, container.as_ref())?;
    output::report(&report, args.json, false)?;
    Ok(report.code())
}
