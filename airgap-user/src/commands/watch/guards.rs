//! Guards veths that come later, and shows systemd a sign of life.

use std::cell::Cell;

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::{TICK, tell};
use crate::{
    gate::{Gate, Place},
    seal::keep::Keeper,
};

/// Ticks between two thorough looks, and signs of life to systemd.
const THOROUGH: u32 = 20;

/// Looks after the veths of all seals, whatever engine has them.
pub(super) struct Guards<'a> {
    place: &'a Place,
    keeper: Option<Keeper>,
    /// Whether a thorough look is asked for: a container got another network.
    soon: &'a Cell<bool>,
}

impl<'a> Guards<'a> {
    pub(super) fn new(place: &'a Place, soon: &'a Cell<bool>) -> Self {
        Self {
            place,
            keeper: None,
            soon,
        }
    }

    /// For ever.
    pub(super) async fn look_after(mut self) -> std::convert::Infallible {
        let mut timer = interval(TICK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0_u32;
        loop {
            timer.tick().await;
            ticks = ticks.wrapping_add(1);
            let thorough = ticks.is_multiple_of(THOROUGH);
            if thorough {
                tell("WATCHDOG=1");
            }
            if let Err(error) = self.look(thorough | self.soon.take()) {
                log::debug!("veths cannot be looked after: {error:#}");
            }
        }
    }

    fn look(&mut self, thorough: bool) -> Result<()> {
        let Some(mut gate) = Gate::open(self.place)? else {
            self.keeper = None;
            return Ok(());
        };
        if self.keeper.is_none() {
            self.keeper = Some(Keeper::new(&gate, &[])?);
        }
        if let Some(keeper) = &mut self.keeper {
            if thorough {
                keeper.follow_all(&gate)?;
            }
            keeper.look(&mut gate, thorough);
        }
        Ok(())
    }
}
