//! Sealing a command that has not begun (`airgap exec`), and lifting that when it has ended.
//!
//! The gate is armed, the cgroup marked and all of it read back before anything enters.

use std::{
    ffi::OsStr,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use airgap_common::map::{ID_LEN, SealNumber};
use anyhow::{Context as _, Result};

use super::{
    Report,
    attach::refusing::{refuse_broken, refuse_gaps},
};
use crate::{
    command::{Confined, Nest, PREFIX, abandoned, exists, is_command, prepare},
    container::end_orphans,
    failure::Failure,
    gate::{Gate, Lock, Next, Place, Reading, Sealing, seal_id},
    host::clock::now,
    policy::Rules,
    preflight::Risk,
};

/// How long closed connections are ended for, and how long is in between.
const PATIENCE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(5);

/// A command's seal, read back.
pub(crate) struct Sealed {
    /// As it is called.
    pub(crate) name: String,
    pub(crate) number: SealNumber,
    /// Where it is to run.
    pub(crate) nest: Nest,
    pub(crate) confined: Confined,
}

/// What a command's seal is to be.
pub(crate) struct Asked<'a> {
    /// The program, as it was named.
    pub(crate) program: &'a OsStr,
    pub(crate) rules: &'a Rules,
    pub(crate) accept: &'a [Risk],
    /// Refuse unless every vector is covered.
    pub(crate) full: bool,
}

impl Sealed {
    /// Puts the seal in force, and makes the cgroup. On an error everything is as before.
    pub(crate) fn make(place: &Place, kernel: &Reading, asked: &Asked<'_>) -> Result<Self> {
        let rules = asked.rules;
        let lock = Lock::take()?;
        tidy_up(place, &lock)?;
        let parent = Nest::parent(&place.cgroup).context("cannot make the cgroup of commands")?;
        let next = Next::At(parent.join("command"));
        let armed = Gate::arm_for(&next, None, kernel, place, &lock);
        let mut gate = armed.inspect_err(|_failed| {
            // It goes with the last of them.
            let _ = std::fs::remove_dir(&parent);
        })?;
        let hooks = gate.security().in_force().is_some();
        let confined = Confined {
            unix: hooks || asked.accept.contains(&Risk::UnixSockets),
            hooks,
            // What it shares with the host leads out, too.
            apart: rules.ports.is_empty() && rules.exits.is_empty(),
        };
        if confined.apart {
            prepare()?;
        }
        let made = Nest::id(confined).and_then(|id| {
            let command = Path::new(asked.program)
                .file_name()
                .unwrap_or(asked.program);
            let name = format!("{PREFIX}{}-{}", command.display(), &id[..4]);
            let key: [u8; ID_LEN] = id
                .as_bytes()
                .try_into()
                .context("an id of another length")?;
            let sealed = gate.seal_id(
                &Sealing {
                    id: &key,
                    name: &name,
                    policy: rules.compile_in(!confined.apart),
                    clients: &rules.clients,
                    exits: &rules.exits,
                    accepted: Risk::set(asked.accept),
                    since: now(),
                },
                &lock,
            )?;
            // The kernel marks it: it knows the id.
            match Nest::make(&place.cgroup, id) {
                Ok(nest) => Ok((sealed.number, name, nest)),
                Err(error) => {
                    gate.unseal(&[sealed.number], &lock)?;
                    Err(error)
                }
            }
        });
        let (number, name, nest) = match made {
            Ok(made) => made,
            Err(error) => {
                gate.disarm_if_idle(&lock)?;
                return Err(error.context("the command cannot be sealed, and was not started"));
            }
        };
        let sealed = Self {
            name,
            number,
            nest,
            confined,
        };
        match sealed.read_back(&mut gate, asked.full, &lock) {
            Ok(()) => Ok(sealed),
            Err(error) => {
                sealed.nest.remove()?;
                gate.unseal(&[number], &lock)?;
                gate.disarm_if_idle(&lock)?;
                Err(error.context("the command was not started"))
            }
        }
    }

    fn read_back(&self, gate: &mut Gate, full: bool, lock: &Lock) -> Result<()> {
        // What the kernel has marked need not be marked again; an overflow is seen here.
        gate.seal_cgroup(self.number, &self.nest.cgroup, lock)?;
        gate.complete(self.number, lock)?;
        let seal = gate.seal(self.number)?;
        let report = Report::with(gate, self.number, &seal, None, None, None)?;
        const DOCTOR: &str = "airgap doctor says what this host can do";
        refuse_broken(&report, DOCTOR)?;
        if report.cgroups.is_empty() {
            let what = "the kernel does not show the seal in force: it has no cgroup";
            return Err(Failure::new(what, DOCTOR).into());
        }
        if full {
            refuse_gaps(&report.coverage)?;
        }
        Ok(())
    }

    /// Lifts the seal of a command that has ended, or could not be started.
    pub(crate) fn lift(self, place: &Place) -> Result<()> {
        self.nest.kill();
        let lock = Lock::take()?;
        lift(place, self.number, self.nest, &lock)
    }
}

/// Ends the connections that the command has left.
fn await_orphans(cgroup: u64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = match end_orphans(cgroup)? {
            Some(0) => return Ok(()),
            Some(left) => left,
            None => {
                log::warn!(
                    "this kernel has no tcp_diag: what connections that the command has closed still have is not ended"
                );
                return Ok(());
            }
        };
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(
                format!("{left} connections of the command do not end; they stay sealed"),
                "airgap list, later, lifts the seal",
            )
            .into());
        }
        sleep(STEP);
    }
}

/// The cgroup first: without a process in it nothing is left to be refused.
fn lift(place: &Place, number: SealNumber, nest: Nest, lock: &Lock) -> Result<()> {
    // While they are under the seal: later what they were refused would leave.
    if !Confined::of(&nest.id).is_some_and(|confined| confined.apart) {
        await_orphans(nest.cgroup.id)?;
    }
    let gone = nest.remove();
    if let Some(mut gate) = Gate::open(place)? {
        let stands = gate.seals()?.iter().any(|(other, _)| *other == number);
        // Somebody may have detached it meanwhile.
        if stands && gone.is_ok() {
            gate.unseal(&[number], lock)?;
        }
        gate.disarm_if_idle(lock)?;
    }
    gone
}

/// Ends the seals of commands that have ended without an airgap to see it.
///
/// # Errors
/// If the gate cannot be read or written.
pub(crate) fn tidy_up(place: &Place, lock: &Lock) -> Result<()> {
    for nest in abandoned(&place.cgroup) {
        let key = <[u8; ID_LEN]>::try_from(nest.id.as_bytes());
        let gate = Gate::open(place)?;
        let number = key
            .ok()
            .zip(gate)
            .and_then(|(key, gate)| gate.number_of(&key));
        let name = nest.id.clone();
        let gone = match number {
            Some(number) => lift(place, number, nest, lock),
            None => nest.remove(),
        };
        // It stays sealed, and delays nobody's command.
        if let Err(error) = gone {
            log::warn!("the seal of the ended command {name} is lifted later: {error:#}");
        }
    }
    lift_without_cgroup(place, lock)
}

/// Seals of commands whose cgroup is not there: airgap was killed before it was made, or
/// after it was removed. Both are done under this lock.
fn lift_without_cgroup(place: &Place, lock: &Lock) -> Result<()> {
    let Some(mut gate) = Gate::open(place)? else {
        return Ok(());
    };
    let mut orphans = Vec::new();
    for (number, seal) in gate.seals()? {
        let id = seal_id(&seal);
        if is_command(&id) && !exists(&place.cgroup, &id) {
            orphans.push(number);
        }
    }
    if !orphans.is_empty() {
        gate.unseal(&orphans, lock)?;
        gate.disarm_if_idle(lock)?;
    }
    Ok(())
}
