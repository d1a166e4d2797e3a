//! Keeps the hooks attached where they are needed: at the root as soon as they belong there,
//! at single cgroups once that has been enough for a while.

use std::time::Duration;

use airgap_common::map::Stat;
use anyhow::Result;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::gate::{Gate, Lock, Place, Placing, Reading};

const TICK: Duration = Duration::from_millis(500);
/// Ticks between two looks at where everything is: ten seconds.
const THOROUGH: u32 = 20;
/// Thorough looks at which less must have been enough: a container that is made and started,
/// or a host that boots, moves nothing back and forth.
const QUIET: u32 = 3;
/// Ticks after one that failed.
const PATIENCE: u32 = 60;

/// What is remembered from one look to the next.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Ticks until the next thorough look.
    rest: u32,
    /// Thorough looks at which less has been enough.
    quiet: u32,
    /// Whether a failure was told.
    failed: bool,
    /// Cgroups that got no network socket, and were looked after as far as can be.
    unguarded: u64,
}

/// Looks for ever, with an engine or without.
pub(super) async fn look_after(place: &Place) -> std::convert::Infallible {
    let mut timer = interval(TICK);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    loop {
        timer.tick().await;
        let (place, before) = (place.clone(), seen);
        // Loading programs takes a while.
        let looked = spawn_blocking(move || look(&place, before)).await;
        seen = match looked {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => {
                if !seen.failed {
                    log::warn!("the hooks cannot be attached where they are needed: {error:#}");
                }
                Seen {
                    rest: PATIENCE,
                    failed: true,
                    ..Seen::default()
                }
            }
            Err(_panic) => Seen {
                rest: PATIENCE,
                ..Seen::default()
            },
        };
    }
}

/// One look. Between thorough ones only for what cannot wait: something that gets no network socket,
/// and security hooks that fell silent.
fn look(place: &Place, seen: Seen) -> Result<Seen> {
    let Some(gate) = Gate::open(place)? else {
        return Ok(Seen::default());
    };
    let unguarded = gate.stat(Stat::Unguarded);
    // Of one that has ended, and that memory still holds, the count stays.
    let urgent =
        unguarded > seen.unguarded || gate.is_apart()? && gate.security().in_force().is_none();
    if seen.rest > 0 && (!urgent || seen.failed) {
        return Ok(Seen {
            rest: seen.rest - 1,
            unguarded: seen.unguarded.min(unguarded),
            ..seen
        });
    }
    let next = Seen {
        rest: THOROUGH,
        unguarded,
        ..Seen::default()
    };
    match gate.placing()? {
        Placing::Right => return Ok(next),
        Placing::Less if seen.quiet < QUIET => {
            let quiet = seen.quiet + 1;
            return Ok(Seen { quiet, ..next });
        }
        Placing::Unguarded | Placing::Wrong | Placing::Less => drop(gate),
    }
    // Whoever has it places them himself; what is there is asked again under it.
    let Some(lock) = Lock::try_take()? else {
        return Ok(Seen { rest: 1, ..seen });
    };
    let Some(mut gate) = Gate::open(place)? else {
        return Ok(Seen::default());
    };
    let mended = gate.mend_unguarded(&lock)?;
    if mended > 0 {
        log::warn!(
            "{mended} cgroups of sealed containers were made where nothing was attached, and had no network sockets: they are sealed as they should be now"
        );
        return Ok(next);
    }
    if gate.attach_where_needed(&Reading::default(), &lock)? {
        match gate.attached_below()?.join(" and ") {
            at if at.is_empty() => log::info!("packets are looked at on the whole host now"),
            at => log::info!("packets are looked at in {at} alone now"),
        }
    }
    Ok(next)
}
