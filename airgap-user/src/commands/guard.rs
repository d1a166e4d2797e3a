//! `airgap guard`: guards one veth that has just come up, before the container behind it
//! speaks, where the host allows; the udev rule of `airgap install` runs it. What is left
//! of a sealed container's restart without it are answers that its kernel gives.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use airgap_common::map::SealNumber;
use anyhow::Result;
use clap::Args;

use super::install;
use crate::{
    container::{
        HostEnd,
        arrival::{OtherEnd, behind, cgroups_of, has_started, other_end, with_addresses},
    },
    failure::exit,
    gate::{Arrival, FrameLayer, Gate, Place},
    udev::{Arrivals, prove_arrivals},
};

/// Arguments of `guard`.
#[derive(Args, Debug)]
pub struct Guard {
    /// Index of the interface, as udev and `ip link` show it
    #[arg(value_name = "IFINDEX")]
    pub index: u32,
}

// udev has nobody configure an interface meanwhile: others wait for this.
/// So long it is looked for whose it is once its other end is where it belongs: the
/// kernel side finds out later, too.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long an end that no bridge has is waited for: engines plug theirs in at once,
const UNPLUGGED: Duration = Duration::from_secs(1);
/// and so long for the other end of one that a bridge has: Docker up to 27 moves it right
/// before it starts the program.
const PLUGGED: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);
/// Pauses are a tenth of the time that has passed, at most so long.
const LONG: Duration = Duration::from_millis(200);

pub(crate) fn run(args: &Guard) -> Result<u8> {
    prove();
    guard(&Place::host()?, args.index)?;
    Ok(exit::OK)
}

/// Where udev runs this, it notes that it could use BPF there: some run it where it may not.
fn prove() {
    // udev(7): what its programs know of the event.
    if std::env::var_os("DEVPATH").is_none() || install::arrivals() == Arrivals::Guarded {
        return;
    }
    let proven = FrameLayer::attempt_load().and_then(|()| Ok(prove_arrivals(Path::new("/"))?));
    if let Err(error) = proven {
        log::warn!("new veths cannot be guarded by udev: {error:#}");
    }
}

/// What is known of a veth.
enum Known {
    /// A container that nobody sealed is behind it.
    Unsealed,
    /// Nobody known is there yet.
    Nobody(Option<u64>),
    /// The seal of who is there; the host's end with all that its other end has; and
    /// whether a program of the container's runs.
    Sealed(SealNumber, HostEnd, bool),
}

/// Guards the veth `index` of this namespace until it is known whose it is.
///
/// # Errors
/// If the gate cannot be used, or the kernel refuses an attachment.
pub(super) fn guard(place: &Place, index: u32) -> Result<()> {
    let began = Instant::now();
    let mut moved = None;
    let (mut counted, mut guarded) = (false, false);
    loop {
        let Some(gate) = Gate::open(place)? else {
            return Ok(());
        };
        if !gate.seals_any() {
            return Ok(());
        }
        let (end, plugged, number) = match other_end(index)? {
            OtherEnd::None if guarded => return Gate::unguard_arrival(place, index),
            OtherEnd::None => return Ok(()),
            OtherEnd::Here { end, plugged } => (end, plugged, None),
            OtherEnd::There {
                end,
                plugged,
                number,
            } => (end, plugged, Some(number)),
        };
        let settling = match number {
            Some(_) => moved.get_or_insert_with(Instant::now).elapsed() < PATIENCE,
            None if plugged => began.elapsed() < PLUGGED,
            None => began.elapsed() < UNPLUGGED,
        };
        // Of two ends in one namespace a bridge has the host's.
        if plugged || number.is_some() {
            let known = match number {
                Some(number) => known(place, &gate, &end, number)?,
                None => Known::Nobody(None),
            };
            drop(gate);
            let mut arrival = Arrival {
                end,
                network: None,
                owner: None,
                settling,
            };
            let mut whole = plugged;
            let mut late = false;
            match known {
                Known::Unsealed => {
                    if guarded {
                        Gate::unguard_arrival(place, index)?;
                    }
                    return Ok(());
                }
                Known::Nobody(network) => arrival.network = network,
                Known::Sealed(owner, end, started) => {
                    whole &= !end.addresses.is_empty();
                    arrival.owner = Some(owner);
                    arrival.end = end;
                    late = started;
                }
            }
            // A program that began while the guard was attached is late, too.
            let owner = Gate::guard_arrival(place, &arrival)?;
            guarded = true;
            if let Some(owner) = owner
                && !counted
            {
                counted = true;
                late |= is_late(place, index)?;
                Gate::count_arrival(place, late)?;
                log::info!(
                    "{} is guarded for seal {owner}{}",
                    arrival.end.name,
                    if late { ", late" } else { "" }
                );
            }
            if owner.is_some() && whole {
                return Ok(());
            }
        }
        if !settling {
            // Both ends stay here: no container is behind it.
            if number.is_none() && guarded {
                return Gate::unguard_arrival(place, index);
            }
            return Ok(());
        }
        thread::sleep((began.elapsed() / 10).clamp(PAUSE, LONG));
    }
}

/// Who is behind the veth of this namespace.
fn known(place: &Place, gate: &Gate, end: &HostEnd, number: i32) -> Result<Known> {
    let behind = behind(number)?;
    let Some(network) = behind.network else {
        return Ok(Known::Nobody(None));
    };
    let mut container = false;
    let mut owner = None;
    let mut started = false;
    for pid in behind.tasks {
        let (cgroups, named) = cgroups_of(&place.cgroup, pid);
        container |= named;
        if let Some(seal) = cgroups.iter().find_map(|id| gate.seal_of(*id)) {
            // A seal that has no number is nobody's yet.
            if gate.seal(seal).is_ok() {
                owner.get_or_insert(seal);
            }
            started |= has_started(pid);
        }
    }
    Ok(match owner {
        Some(seal) => Known::Sealed(seal, with_addresses(end.clone(), &network)?, started),
        None if container && gate.quarantine()? => Known::Nobody(None),
        None if container => Known::Unsealed,
        // Older kernels tell no cookie: then it is found here or not at all.
        None => Known::Nobody(network.cookie().ok()),
    })
}

/// Whether a program of the container behind a veth runs now.
fn is_late(place: &Place, index: u32) -> Result<bool> {
    let OtherEnd::There { end, number, .. } = other_end(index)? else {
        return Ok(false);
    };
    let Some(gate) = Gate::open(place)? else {
        return Ok(false);
    };
    Ok(matches!(
        known(place, &gate, &end, number)?,
        Known::Sealed(_, _, true)
    ))
}
