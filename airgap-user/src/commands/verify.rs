//! `airgap verify`.

use std::{
    net::IpAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use airgap_common::map::{Seal, SealNumber};
use anyhow::Result;
use clap::Args;

use super::{
    reference::{Directory, Meant, Presence, seals_of},
    standing,
};
use crate::{
    command::is_command,
    container::{Hosts, Look},
    failure::{Failure, exit},
    gate::{Gate, Lock, seal_id},
    output,
    pod::is_pod,
    seal::{reach, subtree_of},
    state::{Own, State},
    verify::{self, Kind, Subject, Verdict},
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

pub(crate) async fn run(hosts: &Hosts, state: &State, args: &Verify) -> Result<u8> {
    let gate = standing()?;
    let seals = seals_of(gate.as_ref())?;
    let asked = std::slice::from_ref(&args.container);
    let directory = Directory::open(hosts, &seals, state, asked).await?;
    let meant = directory.find(&args.container).await?;
    let (number, seal) = meant.in_force(&seals)?;
    let Some(mut gate) = gate else {
        anyhow::bail!("the gate is gone while its seals were read");
    };
    if gate.is_audit(number) {
        let what = format!(
            "{} is under audit, NOT SEALED: nothing is refused, so there is nothing to prove",
            meant.name(&seal)
        );
        let hint = format!("airgap attach {} seals it", meant.name(&seal));
        return Err(Failure::new(what, hint).with_code(exit::NOT_SEALED).into());
    }
    let subject = subject(&gate, &meant, (number, &seal))?;
    let mut own = Own::new();
    let mut targets = Vec::new();
    let proof = verify::run(&mut gate, number, &subject, &mut own, &mut targets);
    if let Err(error) = remember(&gate, state, (number, &seal), (&own, &targets)) {
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

/// What runs of what is meant, and is to be tried.
fn subject(gate: &Gate, meant: &Meant, (number, seal): (SealNumber, &Seal)) -> Result<Subject> {
    let (id, name) = (meant.id.clone(), meant.name(seal));
    if is_command(&id) {
        let what = format!("{name} is a command, and verify is for what goes on");
        let hint = "airgap status says what covers it; what it runs can try ways out itself";
        return Err(Failure::new(what, hint).into());
    }
    if is_pod(&id) {
        let path = gate.path_of(number)?;
        let found = path.and_then(|path| Some((Subject::in_pod(gate.place(), &path)?, path)));
        let Some((pid, path)) = found else {
            return Err(stopped(&format!("the pod {name}")));
        };
        let kind = Kind::Pod { path };
        return Ok(Subject {
            id,
            name,
            pid,
            kind,
        });
    }
    if let Some(subtree) = subtree_of(gate, number, &id)? {
        let cgroup = subtree.cgroup.as_ref();
        let running = cgroup.and_then(|cgroup| Some((cgroup, cgroup.first_process()?)));
        let Some((cgroup, pid)) = running else {
            return Err(stopped(&name));
        };
        let look = Look::at_subtree(cgroup.clone())?;
        let kind = Kind::Subtree {
            path: subtree.path,
            capabilities: reach(&look),
        };
        return Ok(Subject {
            id,
            name,
            pid,
            kind,
        });
    }
    if meant.presence == Presence::NotKnown {
        let what = format!("what runs of the container '{name}' is not known");
        let hint =
            "start the container engine that has it, or name its socket: --host unix:///path";
        return Err(Failure::new(what, hint).into());
    }
    let Some(pid) = meant.container.as_ref().and_then(|c| c.pid) else {
        return Err(stopped(&format!("the container '{name}'")));
    };
    Ok(Subject {
        id,
        name,
        pid,
        kind: Kind::Container,
    })
}

fn stopped(what: &str) -> anyhow::Error {
    let hint = "start it: only what runs can be verified";
    Failure::new(format!("{what} does not run"), hint)
        .with_code(exit::NOT_SEALED)
        .into()
}

/// Records how much of what was refused was airgap's own.
fn remember(
    gate: &Gate,
    state: &State,
    (number, seal): (SealNumber, &Seal),
    (own, targets): (&Own, &[IpAddr]),
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
    state.add_own_attempts(&seal_id(seal), number, seal.since, (own, targets), &lock)
}
