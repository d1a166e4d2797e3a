//! `airgap verify`.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use airgap_common::map::{Seal, SealNumber};
use anyhow::Result;
use clap::Args;

use super::{
    reference::{Directory, Presence, is_engineless, seals_of},
    standing,
};
use crate::{
    command::is_command,
    failure::{Failure, exit},
    gate::{Gate, Lock, seal_id},
    output,
    state::{Own, State},
    verify::{self, Verdict},
};

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// How long the lock is waited for at the end, when signals are not heeded any more.
const PATIENCE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(5);

pub(crate) async fn run(host: Option<&str>, state: &State, args: &Verify) -> Result<u8> {
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
    if is_engineless(&meant.id) {
        let kind = if is_command(&meant.id) {
            "a command"
        } else {
            "a cgroup"
        };
        let what = format!("{name} is {kind}, and verify is for containers");
        let hint = "airgap status says what covers it; what it runs can try ways out itself";
        return Err(Failure::new(what, hint).into());
    }
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
    let mut own = Own::new();
    let proof = verify::run(&mut gate, number, &meant.id, name, pid, &mut own);
    if let Err(error) = remember(&gate, state, (number, &seal), &own) {
        log::warn!("what this tried counts as the container's: {error:#}");
    }
    let proof = proof?;
    output::proof(&proof, args.json)?;
    Ok(match proof.verdict {
        Verdict::Proven => exit::OK,
        Verdict::Leak => exit::NOT_SEALED,
        Verdict::Unknown => exit::OPENED,
    })
}

/// Records how much of what was refused was airgap's own.
fn remember(
    gate: &Gate,
    state: &State,
    (number, seal): (SealNumber, &Seal),
    own: &Own,
) -> Result<()> {
    if own.is_empty() {
        return Ok(());
    }
    let end = Instant::now() + PATIENCE;
    let lock = loop {
        if let Some(lock) = Lock::try_take()? {
            break lock;
        }
        if Instant::now() >= end {
            anyhow::bail!("another airgap holds the lock");
        }
        sleep(STEP);
    };
    // Lifted meanwhile: its counts went with it.
    if gate.number_of(&seal.id) != Some(number) {
        return Ok(());
    }
    state.add_own_attempts(&seal_id(seal), number, seal.since, own, &lock)
}
