//! Where hooks on cgroups are attached by a load, and what was attached before leaves.

use std::{
    thread,
    time::{Duration, Instant},
};

use airgap_common::map::{Call, Counted, Switch, name};
use anyhow::{Context as _, Result};
use aya::{Ebpf, util::KernelVersion};

use super::{
    super::{
        Gate, HOOKS, Kind, Reading,
        attached::{Top, cgroup_hooks, is_cgroup_pin, open, pin, pinned, spots_of},
        hash,
        links::{attach as link, replace_pin},
        sys,
        verifier::verify,
    },
    load::{Loaded, load},
};

/// Loads the hooks on cgroups once more, and attaches them to these cgroups, or to the root, in
/// the place of those that are attached now. Others stay as they are: a kernel that has
/// switched ftrace off cannot replace security hooks.
///
/// # Errors
/// If the kernel refuses a program or an attachment.
pub(in super::super) fn load_again(gate: &mut Gate, tops: &[Top], kernel: &Reading) -> Result<()> {
    let version = KernelVersion::current().context("cannot tell the kernel's version")?;
    let Loaded {
        mut programs, btf, ..
    } = load(gate.place(), kernel.end()?, version)?;
    let hooks: Vec<_> = cgroup_hooks().copied().collect();
    verify(&mut programs, &hooks, &btf, &|_, _| {})?;
    let moving = Moving::begin(gate)?;
    attach(gate, &mut programs, tops, &moving)?;
    leave_others(gate, &mut programs, tops, &moving)?;
    moving.end(gate)
}

/// Attaches the hooks to these cgroups, or to the root, beside those that are attached; what
/// was attached to the same before ends once both were for long enough.
pub(super) fn attach(
    gate: &Gate,
    programs: &mut Ebpf,
    tops: &[Top],
    moving: &Moving,
) -> Result<()> {
    let place = gate.place();
    let spots = spots_of(tops);
    let mut links = Vec::new();
    for spot in &spots {
        let dir = open(place, spot)?;
        for hook in cgroup_hooks() {
            links.push((pin(hook, spot), link(programs, hook, Some(&dir))?));
        }
    }
    moving.both_for_long_enough();
    for (pin, link) in links {
        replace_pin(place, &pin, link)?;
    }
    spots.iter().try_for_each(|spot| gate.read_back(spot))
}

/// Attaches those on tracepoints, in the place of those that are attached.
pub(super) fn attach_others(gate: &Gate, programs: &mut Ebpf) -> Result<()> {
    let others = HOOKS
        .iter()
        .filter(|hook| matches!(hook.kind, Kind::Tracepoint(_)));
    for hook in others {
        let made = link(programs, hook, None)?;
        replace_pin(gate.place(), hook.link, made)?;
    }
    Ok(())
}

/// Has the kernel go by where they are attached now, and takes them away elsewhere.
pub(super) fn leave_others(
    gate: &mut Gate,
    programs: &mut Ebpf,
    tops: &[Top],
    moving: &Moving,
) -> Result<()> {
    let mut tops = tops;
    if !gate.go_by(tops)? {
        tops = &[];
        attach(gate, programs, tops, moving)?;
        gate.go_by(tops)?;
    }
    gate.remove_others(&spots_of(tops))
}

/// While it lasts two programs may be called for one attempt, and count it once.
pub(super) struct Moving(bool);

impl Moving {
    /// Begins, if anything is attached yet.
    pub(super) fn begin(gate: &mut Gate) -> Result<Self> {
        let links = gate.place().pins.join("links");
        let stands = pinned(&links)?.iter().any(|name| is_cgroup_pin(name));
        if stands {
            forget_counted(gate)?;
            gate.set_switch(Switch::Moving, true)?;
            wait();
        }
        Ok(Self(stands))
    }

    /// Waits for longer than one load takes the other's word for what it has counted.
    fn both_for_long_enough(&self) {
        let enough = 2 * Duration::from_nanos(Counted::LIFE);
        let both = Instant::now();
        while self.0
            && let Some(rest) = enough.checked_sub(both.elapsed())
            && !rest.is_zero()
        {
            thread::sleep(rest);
        }
    }

    /// Ends it. Where it is left behind nothing is open: a look-up more is made of what is
    /// refused.
    pub(super) fn end(self, gate: &mut Gate) -> Result<()> {
        if self.0 { end_moving(gate) } else { Ok(()) }
    }
}

/// Has one program be called for one attempt again, if that is not so.
///
/// # Errors
/// If a map cannot be read or written.
pub(in super::super) fn end_moving(gate: &mut Gate) -> Result<()> {
    if !gate.switch(Switch::Moving)? {
        return Ok(());
    }
    wait();
    gate.set_switch(Switch::Moving, false)?;
    wait();
    forget_counted(gate)
}

fn forget_counted(gate: &Gate) -> Result<()> {
    let mut counted = hash::<Call, Counted>(gate.place(), name::COUNTED)?;
    let calls: Vec<Call> = counted.keys().flatten().collect();
    for call in calls {
        let _ = counted.remove(&call);
    }
    Ok(())
}

/// Until each program that runs goes by what is switched now. Nothing but counts hangs on it.
fn wait() {
    if let Err(error) = sys::wait_for_programs() {
        log::debug!("cannot wait for programs that run: {error}");
    }
}
