//! `airgap keep`: looks after the addresses of exceptions by name.

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    container::Hosts,
    failure::{Failure, exit},
    gate::KeeperLock,
    host::sd_notify::notify,
    names::keeper::begin,
};

/// Arguments of `keep`.
#[derive(Args, Debug)]
pub struct Keep {}

/// Until asked to stop.
///
/// # Errors
/// If another process looks after them.
pub(crate) async fn run(hosts: &Hosts, _args: &Keep) -> Result<u8> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let Some(lock) = KeeperLock::try_take()? else {
        return Err(Failure::new(
            "another airgap looks after the addresses of names on this host",
            "airgap watch does so, too: one of them is enough",
        )
        .into());
    };
    begin(hosts, Some(lock))?;
    if let Err(error) = notify("READY=1\nSTATUS=looking after the addresses of names") {
        log::debug!("systemd cannot be told: {error}");
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(exit::OK)
}
