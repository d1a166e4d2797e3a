//! `EPOCH`: while it is odd, no packet takes the short way, and a number that was
//! left behind lets none take it again before it was judged in full.

use std::sync::atomic::{Ordering, fence};

use anyhow::{Context as _, Result};

use super::Gate;

impl Gate {
    /// Whether packets may take the short way. While they may not nothing is open,
    /// but each is judged in full: a policy is being changed, or, if nobody has the
    /// lock, a change was cut short.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn is_settled(&self) -> Result<bool> {
        let epoch = self.epoch.get(&0, 0).context("cannot read the map EPOCH")?;
        Ok(epoch % 2 == 0)
    }

    /// Closes the short way: policies are going to change. To be followed by
    /// [`Self::settle`]; if that never comes, packets are judged in full.
    pub(super) fn unsettle(&mut self) -> Result<()> {
        self.advance(0)
    }

    /// Opens the short way to what is judged by the policies from now on.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.advance(1)
    }

    /// To the next number, from one with this remainder by two. It returns to where
    /// it was after two thousand million changes.
    fn advance(&mut self, remainder: u32) -> Result<()> {
        let epoch = self.epoch.get(&0, 0).context("cannot read the map EPOCH")?;
        if epoch % 2 != remainder {
            return Ok(());
        }
        // The kernel side reads the epoch first, then marks and policies: what was
        // written there before is there for whoever sees the new number.
        fence(Ordering::SeqCst);
        self.epoch
            .set(0, epoch.wrapping_add(1), 0)
            .context("cannot write the map EPOCH")
    }
}
