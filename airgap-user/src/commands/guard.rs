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

use crate::{
    container::{
        HostEnd,
        arrival::{OtherEnd, behind, cgroups_of, has_started, other_end, with_addresses},
    },
    failure::exit,
    gate::{Arrival, FrameLayer, Gate, Place},
    host::{
        installed,
        udev::{Arrivals, prove_arrivals},
    },
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
/// kernel side finds out later, too, if it was told of the network there.
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
    if std::env::var_os("DEVPATH").is_none() || installed::arrivals() == Arrivals::Guarded {
        return;
    }
    let proven = FrameLayer::attempt_load().and_then(|()| Ok(prove_arrivals(Path::new("/"))?));
    if let Err(error) = proven {
        log::warn!("new veths cannot be guarded by udev: {error:#}");
    }
}

/// The cookie of a network, where the kernel tells it (Linux 5.14).
struct Network(Option<u64>);

/// What is known of a veth.
enum Known {
    /// A container that nobody sealed is behind it.
    Unsealed,
    /// Nobody known is there yet, in a network that was found or not.
    Nobody(Option<Network>),
    /// The seal of who is there; the host's end with all that its other end has; and
    /// whether a program of the container's runs.
    Sealed(SealNumber, HostEnd, bool),
}

/// Guards the veth `index` of this namespace until it is known whose it is.
///
/// # Errors
/// If the gate cannot be used, or the kernel refuses an attachment. One failure may come of
/// what changes meanwhile: it is tried again as long as [`PATIENCE`].
pub(super) fn guard(place: &Place, index: u32) -> Result<()> {
    let began = Instant::now();
    let mut guarding = Guarding {
        place,
        index,
        began,
        moved: None,
        named: false,
        counted: false,
        guarded: false,
    };
    let mut failing: Option<Instant> = None;
    loop {
        match guarding.look() {
            Ok(true) => return Ok(()),
            Ok(false) => failing = None,
            Err(error) if failing.get_or_insert_with(Instant::now).elapsed() < PATIENCE => {
                log::debug!("the interface {index} is looked at again: {error:#}");
            }
            Err(error) => return Err(error),
        }
        thread::sleep((began.elapsed() / 10).clamp(PAUSE, LONG));
    }
}

/// One veth, and what is known of it so far.
struct Guarding<'a> {
    place: &'a Place,
    index: u32,
    began: Instant,
    /// Since when its other end is elsewhere.
    moved: Option<Instant>,
    /// Whether the network there was found: the kernel side finds out whose it is by that.
    named: bool,
    counted: bool,
    guarded: bool,
}

impl Guarding<'_> {
    /// Looks once; whether all is done.
    fn look(&mut self) -> Result<bool> {
        let (place, index) = (self.place, self.index);
        let Some(gate) = Gate::open(place)? else {
            return Ok(true);
        };
        if !gate.seals_any() {
            return Ok(true);
        }
        let (end, plugged, number) = match other_end(index)? {
            OtherEnd::None if self.guarded => {
                return Gate::unguard_arrival(place, index).map(|()| true);
            }
            OtherEnd::None => return Ok(true),
            OtherEnd::Here { end, plugged } => (end, plugged, None),
            OtherEnd::There {
                end,
                plugged,
                number,
            } => (end, plugged, Some(number)),
        };
        let settling = self.is_settling(number.is_some(), plugged);
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
                    if self.guarded {
                        Gate::unguard_arrival(place, index)?;
                    }
                    return Ok(true);
                }
                Known::Nobody(network) => {
                    self.named = network.is_some();
                    arrival.network = network.and_then(|network| network.0);
                }
                Known::Sealed(owner, end, started) => {
                    whole &= !end.addresses.is_empty();
                    arrival.owner = Some(owner);
                    arrival.end = end;
                    late = started;
                }
            }
            // A program that began while the guard was attached is late, too.
            let owner = Gate::guard_arrival(place, &arrival)?;
            self.guarded = true;
            if let Some(owner) = owner
                && !self.counted
            {
                self.counted = true;
                late |= is_late(place, index)?;
                Gate::count_arrival(place, late)?;
                log::info!(
                    "{} is guarded for seal {owner}{}",
                    arrival.end.name,
                    if late { ", late" } else { "" }
                );
            }
            if owner.is_some() && whole {
                return Ok(true);
            }
        }
        if settling {
            return Ok(false);
        }
        // Both ends stay here: no container is behind it.
        if number.is_none() && self.guarded {
            Gate::unguard_arrival(place, index)?;
        }
        Ok(true)
    }

    /// Whether it is worth another look. `moved`: its other end is elsewhere.
    fn is_settling(&mut self, moved: bool, plugged: bool) -> bool {
        let began = self.began.elapsed();
        if moved {
            let moved = self.moved.get_or_insert_with(Instant::now).elapsed();
            return moved < PATIENCE || !self.named && moved < PLUGGED && !self.counted;
        }
        began < if plugged { PLUGGED } else { UNPLUGGED }
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
        None => Known::Nobody(Some(Network(network.cookie().ok()))),
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
