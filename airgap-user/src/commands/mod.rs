//! One file a command; each composes the layers and returns an exit code.

pub(crate) mod allow;
pub(crate) mod apply;
pub(crate) mod attach;
pub(crate) mod complete;
pub(crate) mod config;
pub(crate) mod detach;
pub(crate) mod doctor;
pub(crate) mod elsewhere;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod guard;
pub(crate) mod hook;
pub(crate) mod install;
pub(crate) mod keep;
pub(crate) mod learn;
pub(crate) mod list;
mod names;
pub(crate) mod nri;
pub(crate) mod quarantine;
mod reference;
pub(crate) mod reporting;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod schema;
mod seal_options;
mod sites;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod top;
pub(crate) mod verify;
pub(crate) mod watch;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{
    container::{Engines, Hosts},
    failure::{Failure, exit},
    gate::{Gate, Lock, Place},
    host::alone::Alone,
    metrics::{Address, Listener, gather, render},
    seal::{Row, command},
    state::State,
};

pub use {
    allow::{Allow, Disallow},
    apply::Apply,
    attach::Attach,
    complete::Complete,
    config::Configuration,
    detach::Detach,
    doctor::Doctor,
    elsewhere::Elsewhere,
    exec::Exec,
    explain::Explain,
    guard::Guard,
    hook::Hook,
    install::Install,
    keep::Keep,
    learn::Learn,
    list::List,
    nri::Nri,
    quarantine::Quarantine,
    reporting::Reporting,
    restore::Restore,
    run::Run,
    schema::{Schema, Shape},
    status::Status,
    tail::{Output, Tail},
    verify::Verify,
    watch::Watch,
};

/// The exit code that stands for all of these: what is not sealed first, then what failed.
fn worst(codes: impl Iterator<Item = u8>) -> u8 {
    let worst = codes.max_by_key(|code| match *code {
        exit::NOT_SEALED => 3,
        exit::FAILED | exit::USAGE => 2,
        exit::OPENED => 1,
        _ => 0,
    });
    worst.unwrap_or(exit::OK)
}

/// Becomes the only `airgap SERVICE` for what listens at `socket`. `does`: what one does there.
///
/// # Errors
/// If another runs; nothing has changed.
fn only_one(service: &str, socket: &Path, does: &str) -> Result<Alone> {
    Alone::at(service, socket)?.map_err(|other| {
        let what = format!(
            "airgap {service} runs already ({other}): it {does} {}",
            socket.display()
        );
        let hint = format!(
            "one is enough; for other options end that one first (systemctl stop airgap-{service}, where it is the service)"
        );
        Failure::new(what, hint).into()
    })
}

/// Serves OpenMetrics of all seals while `work` is done, if there is an address for it.
///
/// # Errors
/// If the address is taken or cannot be used.
async fn with_metrics<T>(
    address: Option<&Address>,
    hosts: &Hosts,
    state: &State,
    work: impl Future<Output = T>,
) -> Result<T> {
    let Some(address) = address else {
        return Ok(work.await);
    };
    let serve = Listener::bind(address)
        .await?
        .serve(async || exposition(hosts, state).await);
    // The socket file goes with its listener.
    Ok(tokio::select! {
        done = work => done,
        never = serve => match never {},
    })
}

/// Counts and states of now. Judging takes looks at containers: on a thread of its own,
/// so that what is displayed meanwhile does not wait.
async fn exposition(hosts: &Hosts, state: &State) -> Result<String> {
    let (hosts, state) = (hosts.clone(), state.clone());
    let read = move || -> Result<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let engines = Engines::connect(&hosts).await;
            let gate = standing()?;
            let rows = list::rows(gate.as_ref(), &state, &engines).await?;
            let states: Vec<_> = rows.iter().flat_map(Row::states).collect();
            Ok(render(&gather(gate.as_ref())?, &states))
        })
    };
    tokio::task::spawn_blocking(read)
        .await
        .context("the thread that judges has ended")?
}

/// The gate of this host, if it stands.
fn standing() -> Result<Option<Gate>> {
    // A detach of the last seal takes the gate down map by map.
    let lock = Lock::take()?;
    let place = Place::host()?;
    Gate::clear_remains(&place, &lock)?;
    command::tidy_up(&place, &lock)?;
    Gate::open(&place)
}
