//! `airgap quarantine`: whether containers that nobody has judged start denied.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{
    container::all_cgroups,
    failure::exit,
    gate::{Gate, Lock, Place, mount_bpffs},
    output,
    state::State,
};

/// Arguments of `quarantine`.
#[derive(Args, Debug)]
pub struct Quarantine {
    /// What to do with the switch
    #[arg(value_enum, default_value = "status")]
    pub switch: Switch,
}

/// What to do with the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Containers that nobody has judged start denied everything
    On,
    /// They start like on any host; those denied now are let go
    Off,
    /// Say what is in force, and who is denied
    Status,
}

pub(crate) fn run(state: &State, args: &Quarantine) -> Result<u8> {
    match args.switch {
        Switch::On => turn_on(state)?,
        Switch::Off => turn_off(state)?,
        Switch::Status => return status(state),
    }
    Ok(exit::OK)
}

/// Remembered first: cut short, a reboot comes up with it on.
pub(super) fn turn_on(state: &State) -> Result<()> {
    let lock = Lock::take()?;
    let place = Place::host()?;
    mount_bpffs()?;
    let before = state.quarantine();
    state.set_quarantine(true, &lock)?;
    Gate::clear_remains(&place, &lock)?;
    let mut gate = match Gate::arm(&place, &lock) {
        Ok(gate) => gate,
        Err(error) => {
            state.set_quarantine(before, &lock)?;
            return Err(error);
        }
    };
    gate.set_quarantine(true, &lock)?;
    warn_of_frames(&gate);
    Ok(())
}

/// No veth of a container that nobody has judged is guarded.
fn warn_of_frames(gate: &Gate) {
    if gate.security().in_force().is_none() {
        log::warn!(
            "without security hooks, quarantine does not deny raw frames to containers with CAP_NET_RAW, which Docker gives by default: --cap-drop NET_RAW, or what airgap doctor says of security hooks"
        );
    }
}

/// In the kernel first: cut short, a reboot comes up with it on.
fn turn_off(state: &State) -> Result<()> {
    let lock = Lock::take()?;
    let place = Place::host()?;
    if let Some(mut gate) = Gate::open(&place)? {
        gate.set_quarantine(false, &lock)?;
        gate.disarm_if_idle(&lock)?;
    }
    state.set_quarantine(false, &lock)
}

fn status(state: &State) -> Result<u8> {
    let place = Place::host()?;
    let gate = super::standing()?;
    let on = gate.as_ref().map_or(Ok(false), Gate::quarantine)?;
    let denied = match &gate {
        Some(gate) => gate.quarantined()?,
        None => Vec::new(),
    };
    let ids: Vec<String> = all_cgroups(&place.cgroup)
        .into_iter()
        .filter(|(_, cgroup)| denied.contains(&cgroup.id))
        .map(|(id, _)| id)
        .collect();
    output::quarantine(on, &ids)?;
    if let Some(gate) = gate.filter(|_| on) {
        warn_of_frames(&gate);
    }
    if state.quarantine() && !on {
        log::error!("it ought to be on and is not in force: airgap restore");
        return Ok(exit::NOT_SEALED);
    }
    Ok(exit::OK)
}
