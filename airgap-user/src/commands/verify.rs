//! `airgap verify`.

use anyhow::Result;

use super::{find_seal, standing};
use crate::{
    cli::Verify,
    container::Engine,
    failure::{Failure, exit},
    gate::{seal_id, seal_name},
    output,
    verify::{self, Verdict},
};

pub(super) async fn run(host: Option<&str>, args: &Verify) -> Result<u8> {
    let gate = standing()?;
    let seals = gate
        .as_ref()
        .map_or_else(|| Ok(Vec::new()), |g| g.seals())?;
    let (number, seal) = find_seal(&seals, &args.container)?;
    let Some(mut gate) = gate else {
        anyhow::bail!("the gate is gone while its seals were read");
    };
    let container = Engine::connect(host).await?.find(&seal_id(&seal)).await?;
    let Some(pid) = container.pid else {
        let what = format!("the container '{}' does not run", seal_name(&seal));
        let hint = "start it: only a running container can be verified";
        return Err(Failure::new(what, hint).with_code(exit::NOT_SEALED).into());
    };
    let proof = verify::run(&mut gate, number, &seal, pid)?;
    output::proof(&proof, args.json)?;
    Ok(match proof.verdict {
        Verdict::Proven => exit::OK,
        Verdict::Leak => exit::NOT_SEALED,
        Verdict::Unknown => exit::DEGRADED,
    })
}
