//! `airgap tail`, and the tail of `attach`.

use std::collections::HashMap;

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{find_seal, keep::Keeper, standing};
use crate::{
    cli::Tail,
    events::{Event, Follower, POLL},
    failure::{Failure, exit},
    gate::{bpf_log_level, seal_id, seal_name},
    output,
};

pub(super) async fn run(args: &Tail) -> Result<u8> {
    let seals = standing()?.map_or_else(|| Ok(Vec::new()), |gate| gate.seals())?;
    let chosen: Result<Vec<_>> = args
        .containers
        .iter()
        .map(|r| find_seal(&seals, r).map(|(number, _)| number))
        .collect();
    Ok(match follow(&chosen?, args.json, false).await? {
        End::Asked => exit::OK,
        End::Unsealed => exit::NOT_SEALED,
    })
}

/// Why a display of denials ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Ctrl-C or SIGTERM.
    Asked,
    /// The last of the seals was lifted: there is nothing left to show.
    Unsealed,
}

/// How often the seals are looked at, in polls: about once a second.
const SEAL_CHECK: u32 = 50;

/// Prints denials until asked to end or nothing is sealed any more; `seals`
/// empty: all of them. `keep`: guards the veths they get meanwhile.
pub(super) async fn follow(seals: &[SealNumber], json: bool, keep: bool) -> Result<End> {
    let mut gate = standing()?.ok_or_else(|| {
        Failure::new(
            "no container is sealed on this host",
            "airgap attach CONTAINER",
        )
        .with_code(exit::NOT_SEALED)
    })?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut follower = Follower::start(&mut gate)?;
    log::info!("showing refused attempts; Ctrl-C ends this, not the seal");
    let mut debug_log = match bpf_log_level() {
        0 => None,
        _ => Some(gate.debug_log()?),
    };
    let mut names: HashMap<SealNumber, (String, String)> = HashMap::new();
    let mut timer = interval(POLL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut polls = 0;
    let mut keeper = keep.then(|| Keeper::new(&gate, seals)).transpose()?;
    loop {
        tokio::select! {
            _ = timer.tick() => polls += 1,
            _ = interrupt.recv() => return Ok(End::Asked),
            _ = terminate.recv() => return Ok(End::Asked),
        }
        // Read before the ring, so that nothing refused until then is lost.
        let unsealed = polls % SEAL_CHECK == 0
            && !gate
                .seals()?
                .iter()
                .any(|(n, _)| seals.is_empty() || seals.contains(n));
        if let Some(keeper) = &mut keeper {
            keeper.look(&mut gate, polls % SEAL_CHECK == 0);
        }
        if let Some(log) = &mut debug_log {
            log.flush();
        }
        let events = follower.poll();
        for event in &events {
            match event {
                Event::Denial(denial) => {
                    if !seals.is_empty() && !seals.contains(&denial.seal) {
                        continue;
                    }
                    if !names.contains_key(&denial.seal) {
                        for (number, seal) in gate.seals()? {
                            names.insert(number, (seal_id(&seal), seal_name(&seal)));
                        }
                    }
                    let unknown = (String::new(), format!("seal {}", denial.seal));
                    let container = names.get(&denial.seal).unwrap_or(&unknown);
                    output::denial(denial, container, json)?;
                }
                Event::Lost(count) => output::lost(*count, json)?,
            }
        }
        if unsealed {
            log::warn!("the seal was lifted: nothing is refused any more");
            return Ok(End::Unsealed);
        }
    }
}
