//! `airgap nri`: seals pods of Kubernetes by the annotations of their manifests, before their
//! first instruction. The runtime asks, and waits for the answer (Node Resource Interface):
//! a pod that asks for a seal and cannot be sealed is not made, and its event says why.
//!
//! Nothing that is sealed needs it. A runtime drops a plugin that is slow, and goes on without
//! one that is not there: under quarantine what it makes then is denied, and else open.

mod serving;
mod worker;

use std::{os::unix::net::UnixStream, path::PathBuf, thread::sleep, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;

use self::worker::Worker;
use super::{only_one, sites::prepare};
use crate::{
    config::Config,
    gate::{Gate, Lock, Place},
    host::sd_notify::notify,
    output,
    preflight::Risk,
    seal::pods::{Judge, let_go_of_itself},
    state::State,
};

/// Arguments of `nri`.
#[derive(Args, Debug)]
pub struct Nri {
    /// Where the runtime listens for plugins
    #[arg(long, value_name = "PATH", default_value = airgap_nri::SOCKET)]
    pub socket: PathBuf,
    /// Pods and containers that nobody has judged start denied everything, also while this
    /// process is dead; stays on until: airgap quarantine off
    #[arg(long)]
    pub quarantine: bool,
    /// Let the annotation airgap.dev/accept accept this risk, by its name; repeatable
    /// [default: none]
    #[arg(long, value_name = "RISK", value_parser = Risk::by_label)]
    pub allow_accept: Vec<Risk>,
}

/// How long a runtime that does not listen is left alone.
const RETRY: Duration = Duration::from_millis(200);

pub(crate) fn run(state: &State, config: &Config, args: &Nri) -> Result<u8> {
    let _alone = only_one(
        "nri",
        &args.socket,
        "is asked for each pod by the runtime at",
    )?;
    let place = Place::host()?;
    let open = format!("{OPEN} (airgap nri --quarantine)");
    prepare(state, args.quarantine, &open)?;
    // Loading it takes longer than a runtime waits.
    drop(Gate::arm(&place, &Lock::take()?)?);
    let_go_of_itself(&place)?;
    let judge = Judge::new(
        state.clone(),
        place,
        config,
        &args.allow_accept,
        output::peer,
    );
    let worker = Worker::begin(judge)?;
    let mut told = false;
    loop {
        match UnixStream::connect(&args.socket) {
            Ok(stream) => {
                told = false;
                let ended = serving::serve(stream, &worker);
                let why = match &ended {
                    Ok(()) => "it has closed the connection".to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                log::error!(
                    "the runtime is gone, or has dropped airgap as too slow ({why}): until it is connected again, {}",
                    match state.quarantine() {
                        true => "what it makes starts denied everything",
                        false => OPEN,
                    }
                );
            }
            Err(error) if !told => {
                let socket = args.socket.display();
                log::warn!("no runtime listens at {socket}: {error}; waiting for it");
                tell("STATUS=waiting for the runtime");
                told = true;
            }
            Err(_) => {}
        }
        sleep(RETRY);
    }
}

/// What a runtime does without a plugin.
const OPEN: &str = "while this process is dead, or was dropped as too slow, the runtime goes on without it, and pods start unsealed";

fn tell(state: &str) {
    if let Err(error) = notify(state) {
        log::debug!("systemd cannot be told: {error}");
    }
}

/// A thread of this process.
fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let spawned = std::thread::Builder::new().spawn(work);
    spawned.map(drop).context("cannot start a thread")
}
