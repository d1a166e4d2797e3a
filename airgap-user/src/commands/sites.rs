//! What sealing containers begins with: this host's gate, what is read of its kernel, and the
//! engines that answer.

use anyhow::Result;

use crate::{
    container::{Engine, Engines, Hosts},
    gate::{Lock, Place, Reading, mount_bpffs},
    output,
    seal::attach::wanted::Site,
    state::State,
};

/// Where containers of every engine are sealed.
pub(super) struct Sites<'a> {
    place: Place,
    state: &'a State,
    kernel: Reading,
    pub(super) engines: Engines,
}

impl<'a> Sites<'a> {
    /// Begins to read the kernel, meanwhile asks the engines.
    ///
    /// # Errors
    /// If no engine answers, or this host has no place for a gate.
    pub(super) async fn begin(hosts: &Hosts, state: &'a State) -> Result<Self> {
        let place = Place::host()?;
        let kernel = Reading::begin(&place);
        Self::with(hosts, state, place, kernel).await
    }

    /// The same where a gate stands: nothing of the kernel is to be read.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(super) async fn standing(hosts: &Hosts, state: &'a State) -> Result<Self> {
        Self::with(hosts, state, Place::host()?, Reading::default()).await
    }

    async fn with(hosts: &Hosts, state: &'a State, place: Place, kernel: Reading) -> Result<Self> {
        let engines = Engines::connected(hosts).await?;
        Ok(Self {
            place,
            state,
            kernel,
            engines,
        })
    }

    /// That of one engine's containers.
    pub(super) fn of<'s>(&'s self, engine: &'s Engine) -> Site<'s> {
        Site {
            engine,
            place: &self.place,
            state: self.state,
            kernel: &self.kernel,
            tell: output::peer,
        }
    }
}

/// Mounts bpffs where it is not, and says so.
///
/// # Errors
/// If it cannot be mounted.
pub(super) fn mount() -> Result<()> {
    if mount_bpffs()? {
        log::info!("mounted bpffs at /sys/fs/bpf");
    }
    Ok(())
}

/// Makes a service ready that seals what it is told of: bpffs, the directory of records, and
/// quarantine, if that is asked for. `open`: what is open without one, and how to ask for it.
///
/// # Errors
/// If one of them cannot be made.
pub(super) fn prepare(state: &State, quarantine: bool, open: &str) -> Result<()> {
    mount_bpffs()?;
    state.prepare(&Lock::take()?)?;
    if quarantine {
        super::quarantine::turn_on(state)?;
    }
    if !state.quarantine() {
        log::warn!("no quarantine: {open}");
    }
    Ok(())
}
