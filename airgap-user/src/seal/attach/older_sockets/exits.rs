//! Connections of exceptions that are no more.

use std::{collections::HashSet, os::fd::AsRawFd as _};

use airgap_common::map::SealNumber;
use anyhow::Result;

use super::connection;
use crate::{
    container::{Look, destroy, open_sockets},
    gate::Gate,
};

/// Cuts connections that went out by an exception which is no more; returns how many.
/// The gate refuses what they send anyhow: this tells the programs at once.
///
/// # Errors
/// If the exceptions cannot be read.
pub(crate) fn cut_exits(gate: &Gate, seal: SealNumber, look: &Look) -> Result<usize> {
    let standing: HashSet<u32> = gate.exits_of(seal)?.iter().map(|e| e.number).collect();
    let storage = gate.storage()?;
    let mut cut = 0;
    for network in &look.networks {
        let mut sockets = match open_sockets(&network.netns, Some(storage.as_raw_fd())) {
            Ok(sockets) => sockets,
            Err(error) => {
                log::warn!(
                    "connections of removed exceptions are refused, but not closed: {error:#}"
                );
                continue;
            }
        };
        sockets
            .retain(|one| one.seal == Some(seal) && one.exit != 0 && !standing.contains(&one.exit));
        if sockets.is_empty() {
            continue;
        }
        // The far side is told.
        let ends: Vec<_> = sockets
            .iter()
            .filter_map(|socket| connection(socket, "cut", |_| true))
            .collect();
        if let Err(error) = gate.tell_older(seal, &ends) {
            log::debug!("the far side does not hear of the end: {error:#}");
        }
        match destroy(&network.netns, &sockets) {
            Ok(gone) => cut += gone,
            Err(error) => {
                log::warn!(
                    "connections of removed exceptions are refused, but not closed: {error:#}"
                );
            }
        }
    }
    Ok(cut)
}
