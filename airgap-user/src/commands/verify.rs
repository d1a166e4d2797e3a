//! `airgap verify`.

use anyhow::Result;

use super::{
    reference::{Directory, Presence, seals_of},
    standing,
};
use crate::{
    cli::Verify,
    failure::{Failure, exit},
    output,
    state::State,
    verify::{self, Verdict},
};

pub(super) async fn run(host: Option<&str>, state: &State, args: &Verify) -> Result<u8> {
    let gate = standing()?;
    let seals = seals_of(gate.as_ref())?;
    let asked = std::slice::from_ref(&args.container);
    let directory = Directory::open(host, &seals, state, asked).await?;
    let meant = directory.find(&args.container).await?;
    let (number, seal) = meant.in_force(&seals)?;
    let Some(mut gate) = gate else {
        anyhow::bail!("the gate is gone while its seals were read");
    };
    let name = meant.name(&seal);
    if meant.presence == Presence::NotKnown {
        let what = format!("what runs of the container '{name}' is not known");
        let hint =
            "start the container engine that has it, or name its socket: --host unix:///path";
        return Err(Failure::new(what, hint).into());
    }
    let Some(pid) = meant.container.as_ref().and_then(|c| c.pid) else {
        let what = format!("the container '{name}' does not run");
        let hint = "start it: only a running container can be verified";
        return Err(Failure::new(what, hint).with_code(exit::NOT_SEALED).into());
    };
    let proof = verify::run(&mut gate, number, &meant.id, name, pid)?;
    output::proof(&proof, args.json)?;
    Ok(match proof.verdict {
        Verdict::Proven => exit::OK,
        Verdict::Leak => exit::NOT_SEALED,
        Verdict::Unknown => exit::DEGRADED,
    })
}
