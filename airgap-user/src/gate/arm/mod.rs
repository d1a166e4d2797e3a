//! Loading, attaching and pinning; and taking it all down again.

mod kernel;
mod load;
mod places;

use std::{fs, io, os::unix::fs::DirBuilderExt as _, sync::mpsc, thread};

use airgap_common::{
    ABI_VERSION,
    map::{Counters, Gate as GateInfo, UNRECORDED, name},
};
use anyhow::{Context as _, Result, anyhow};
use aya::{Btf, Ebpf, util::KernelVersion};

use self::places::Moving;
pub(super) use self::places::{end_moving, load_again};
pub use self::{kernel::Reading, load::has_set_retval};
use super::{
    Gate, HOOKS, Hook, Kind, Lock, Next, Place, Security, Silence, attached,
    frames::{self, Early},
    links::{unlink, unlink_hook},
    lock::VethLock,
    object, remove_dir, security,
    verifier::verify,
};
use crate::{
    failure::Failure,
    host::{clock, netns::Netns},
};

/// Oldest kernel with all that the gate uses: `bpf_skb_ancestor_cgroup_id` for
/// cgroup_skb and ring buffers.
const MINIMUM: (u8, u8) = (5, 8);

impl Gate {
    /// Makes the gate stand: loads and attaches what is missing or older than
    /// this binary. Existing seals stay in force all the while: new programs
    /// are attached beside the old before those go, and while both run, deny wins.
    ///
    /// # Errors
    /// If the kernel refuses a program or an attachment, with what it said.
    pub fn arm(place: &Place, lock: &Lock) -> Result<Self> {
        Self::arm_for(&Next::Nothing, None, &Reading::default(), place, lock)
    }

    /// As [`Gate::arm`], with what was read before, for what is to be sealed next, and for the
    /// container of a network namespace: if none stood, its interfaces are linked on the way,
    /// and guarded once [`Gate::guard_frames`] says for which seal.
    ///
    /// # Errors
    /// As there.
    pub fn arm_for(
        next: &Next,
        network: Option<&Netns>,
        kernel: &Reading,
        place: &Place,
        lock: &Lock,
    ) -> Result<Self> {
        Self::clear_remains(place, lock)?;
        let standing = Self::open(place)?;
        // Where one stands, its programs are on interfaces of sealed containers, and a new
        // one of a pair would judge there before the other.
        let network = network.filter(|_| standing.is_none());
        if let Some(mut gate) = standing
            && gate.info()?.object == object::digest()
            && gate.broken_links().is_empty()
            && gate.security_under(lock) != Security::Silent(Silence::NotCalled)
        {
            // Of a change that was cut short. What stands is judged as it stands, and
            // whoever repairs it unsettles first.
            gate.settle()?;
            gate.attach_for(next, kernel, lock)?;
            return Ok(gate);
        }
        match load_and_attach(place, next, kernel, network, lock) {
            Ok(early) => {
                let gate = Self::open(place)?;
                let mut gate = gate.ok_or_else(|| anyhow!("the gate's maps are gone again"))?;
                gate.settle()?;
                Ok(Self { early, ..gate })
            }
            Err(error) => {
                // Nothing may be left of a gate that guards nobody.
                let _ = Self::clear_remains(place, lock);
                let idle = |gate: Self| gate.is_idle().unwrap_or(false);
                if Self::open(place).is_ok_and(|gate| gate.is_none_or(idle)) {
                    let _ = VethLock::take().and_then(|veths| disarm(place, &veths));
                }
                Err(error)
            }
        }
    }

    /// Takes the gate down if no seal is left; returns whether it did.
    ///
    /// # Errors
    /// If a pin cannot be removed.
    pub fn disarm_if_idle(mut self, _lock: &Lock) -> Result<bool> {
        if !self.is_idle()? {
            return Ok(false);
        }
        let veths = VethLock::take()?;
        self.unguard_unowned()?;
        let place = self.place.clone();
        drop(self);
        disarm(&place, &veths)?;
        Ok(true)
    }

    /// Removes what a load or a removal that was cut short left behind. Links
    /// come after all maps and go before all maps: without any, nothing is or
    /// was in force. (A map that is missing beside links is no remains but
    /// somebody's doing, and an error.)
    ///
    /// # Errors
    /// If a pin cannot be removed.
    pub fn clear_remains(place: &Place, _lock: &Lock) -> Result<()> {
        let links = place.pins.join("links");
        let any = fs::read_dir(&links).is_ok_and(|mut entries| entries.next().is_some());
        if !place.pins.exists() {
            // A removal can end between the last two directories.
            return remove_parent(place);
        }
        if !any {
            disarm(place, &VethLock::take()?)?;
        }
        Ok(())
    }

    pub(super) fn is_idle(&self) -> Result<bool> {
        Ok(self.ids.keys().next().is_none()
            && self.cgroups.keys().next().is_none()
            && !self.quarantine()?)
    }

    pub(super) fn info(&self) -> Result<GateInfo> {
        self.info.get(&0, 0).context("cannot read the map GATE")
    }
}

fn load_and_attach(
    place: &Place,
    next: &Next,
    kernel: &Reading,
    network: Option<&Netns>,
    lock: &Lock,
) -> Result<Early> {
    let version = KernelVersion::current().context("cannot tell the kernel's version")?;
    if version < KernelVersion::new(MINIMUM.0, MINIMUM.1, 0) {
        return Err(Failure::new(
            format!("this kernel is older than {}.{}", MINIMUM.0, MINIMUM.1),
            "boot a newer kernel",
        )
        .into());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for dir in ["maps", "links", "programs"] {
        let dir = place.pins.join(dir);
        builder
            .create(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let load::Loaded {
        mut programs,
        btf: kernel,
        test,
    } = load::load(place, kernel.end()?, version)?;
    let early = verify_and_link(&mut programs, &kernel, network)?;
    frames::pin(&mut programs, place)?;
    let mut gate = Gate::open(place)?.ok_or_else(|| anyhow!("the map GATE is not pinned"))?;
    let moving = Moving::begin(&mut gate)?;
    // What refuses nothing is not worth an attach that fails, unless it may again.
    let kept = match gate.security_under(lock) {
        Security::InForce(_) | Security::Skipped(_) | Security::Silent(Silence::FtraceOff) => true,
        Security::Silent(Silence::Broken | Silence::NotCalled) | Security::Absent => false,
    };
    // After that look, which may have found that they refuse no more.
    let before = gate.info()?.lsm;
    let hooks = security::attach(&mut programs, &kernel, test, kept)?;
    let in_force = hooks.as_ref().is_some_and(|hooks| hooks.in_force);
    let tops = gate.wanted(next, in_force)?;
    places::attach(&gate, &mut programs, &tops, &moving)?;
    places::attach_others(&gate, &mut programs)?;
    let lsm = match &hooks {
        None => 0,
        Some(hooks) if !hooks.proven => security::NOT_SINCE,
        // Those before ended only then: there was no moment without.
        Some(_) if before != 0 && before != security::NOT_SINCE => before,
        Some(_) => clock::since_boot_seconds(),
    };
    match hooks {
        Some(hooks) => hooks.pin(place)?,
        None => security::detach(place)?,
    }
    gate.counters
        .insert(UNRECORDED, NO_DENIALS, 0)
        .context("cannot write the map COUNTERS")?;
    let info = GateInfo {
        abi: ABI_VERSION,
        lsm,
        object: object::digest(),
        test,
        ..gate.info()?
    };
    gate.info
        .set(0, info, 0)
        .context("cannot write the map GATE")?;
    // Only now: nobody is without security hooks where the hooks are apart.
    places::leave_others(&mut gate, &mut programs, &tops, &moving)?;
    moving.end(&mut gate)?;
    Ok(early)
}

/// Has all programs verified, and meanwhile links those for frames.
fn verify_and_link(programs: &mut Ebpf, kernel: &Btf, network: Option<&Netns>) -> Result<Early> {
    let hooks: Vec<_> = frames::HOOKS.into_iter().chain(HOOKS).collect();
    let Some(network) = network else {
        verify(programs, &hooks, kernel, &|_, _| {})?;
        return Ok(Early::default());
    };
    let (sender, loaded) = mpsc::channel();
    thread::scope(|scope| {
        // Without it the links are made when they are needed.
        let linker =
            thread::Builder::new().spawn_scoped(scope, move || Early::link(network, &loaded));
        let verified = verify(programs, &hooks, kernel, &|name, program| {
            if let Some(program) = frames::of_loaded(name, program) {
                // Nobody listens if there is no linker.
                let _ = sender.send(program);
            }
        });
        drop(sender);
        let early = linker.ok().and_then(|linker| linker.join().ok());
        verified.map(|()| early.unwrap_or_default())
    })
}

/// Counters of a seal that refused nothing yet.
pub(super) const NO_DENIALS: Counters = Counters::ZERO;

/// Removes all pins: links first, in reverse order, so that nothing is marked
/// any more when the gate opens.
fn disarm(place: &Place, _veths: &VethLock) -> Result<()> {
    security::detach(place)?;
    let others = |hook: &&Hook| matches!(hook.kind, Kind::Tracepoint(_));
    for hook in HOOKS.iter().rev().filter(others) {
        unlink_hook(place, hook)?;
    }
    attached::unpin(place)?;
    // Links go before all maps.
    frames::unpin(place)?;
    for name in name::ALL {
        unlink(&place.map(name))?;
    }
    for dir in [
        place.pins.join("links"),
        place.pins.join("maps"),
        place.pins.clone(),
    ] {
        remove_dir(&dir)?;
    }
    remove_parent(place)
}

/// Removes the version directory's parent, unless another version is in it.
fn remove_parent(place: &Place) -> Result<()> {
    use io::ErrorKind::{DirectoryNotEmpty, NotFound};
    match place.pins.parent().map(fs::remove_dir) {
        Some(Err(e)) if matches!(e.kind(), DirectoryNotEmpty | NotFound) => Ok(()),
        Some(Err(e)) => Err(e).context("cannot remove the pin directory"),
        _ => Ok(()),
    }
}
