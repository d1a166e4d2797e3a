//! The frame layer: programs on the host's ends of a container's veths, by tcx
//! where the kernel has it, by clsact before.
//!
//! Both end with their veth, so a restart of the container ends them; what is
//! in force is always asked of the kernel.

mod announced;
mod bridges;
mod clsact;
mod early;
mod guarded;
mod origin;
mod tcx;
mod trial;
mod unowned;

use std::{fs, io, path::PathBuf};

use airgap_common::map::{Own, SealNumber, UNOWNED, Veth, name};
use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{ProgramInfo, SchedClassifier},
    util::KernelVersion,
};

pub(super) use self::early::{Early, of_loaded};
use self::guarded::no_end;
pub use self::{guarded::FrameGuard, trial::Trial, unowned::Arrival};
use super::{
    Gate, Hook, Kind, Lock, Place,
    lock::{UnderWay, VethLock},
    sys,
};
use crate::{
    container::{HostEnd, Interface},
    host::{netlink::Direction, netns::Netns},
};

/// A frame program.
struct Program {
    /// Its name in the object.
    name: &'static str,
    /// Suffix of its links' pins.
    suffix: &'static str,
    /// Where it hangs: ingress of the host's end is what the container sends.
    direction: Direction,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "airgap_frame_in",
        suffix: "in",
        direction: Direction::Egress,
    },
    Program {
        name: "airgap_frame_out",
        suffix: "out",
        direction: Direction::Ingress,
    },
];

/// How this kernel runs a program for each frame of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameLayer {
    /// Links of the kernel (Linux 6.6).
    Tcx,
    /// Filters of the traffic control subsystem.
    Clsact,
}

impl FrameLayer {
    /// The one to use here.
    pub fn of_kernel() -> Self {
        let first = KernelVersion::new(6, 6, 0);
        match KernelVersion::current() {
            Ok(version) if version < first => Self::Clsact,
            _ => Self::Tcx,
        }
    }

    /// The kernel's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// Whether that works, by trying it on an interface that nobody uses.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn attempt() -> Result<Self> {
        /// lo of a new namespace.
        const LO: u32 = 1;
        let layer = Self::of_kernel();
        Netns::fresh()?.run(|| match layer {
            Self::Tcx => tcx::attempt(LO),
            Self::Clsact => clsact::attempt(LO),
        })?;
        Ok(layer)
    }

    /// Whether a program of its kind can be loaded where this runs.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn attempt_load() -> Result<()> {
        sys::load_classifier().context("the kernel loads no classifier")?;
        Ok(())
    }

    fn attach(
        self,
        place: &Place,
        program: &Program,
        end: &HostEnd,
        early: &mut Early,
    ) -> Result<()> {
        match self {
            Self::Tcx => tcx::attach(place, program, end, early),
            Self::Clsact => clsact::attach(place, program, end.index),
        }
    }

    fn detach(self, place: &Place, program: &Program, index: u32) -> Result<()> {
        match self {
            Self::Tcx => tcx::detach(place, program, index),
            Self::Clsact => clsact::detach(program, index),
        }
    }

    /// Id of the program that runs on an interface.
    fn running(self, place: &Place, program: &Program, index: u32) -> Option<u32> {
        match self {
            Self::Tcx => tcx::running(place, program, index),
            Self::Clsact => clsact::running(program, index),
        }
    }
}

fn program_pin(place: &Place, program: &str) -> PathBuf {
    place.pins.join("programs").join(program)
}

/// The same programs, as those who load them want to know them.
pub(super) const HOOKS: [Hook; 2] = {
    const fn hook(program: &Program) -> Hook {
        Hook {
            program: program.name,
            link: program.suffix,
            kind: Kind::Frame,
            attach_type: 0,
        }
    }
    [hook(&PROGRAMS[0]), hook(&PROGRAMS[1])]
};

/// Pins the programs, for veths of later containers.
pub(super) fn pin(programs: &mut Ebpf, place: &Place) -> Result<()> {
    for Program { name, .. } in PROGRAMS {
        let program: &mut SchedClassifier = programs
            .program_mut(name)
            .with_context(|| format!("the BPF object has no program {name}"))?
            .try_into()?;
        let (pin, next) = (
            program_pin(place, name),
            program_pin(place, &format!("{name}_next")),
        );
        super::links::unlink(&next)?;
        program
            .pin(&next)
            .with_context(|| format!("cannot pin {}", next.display()))?;
        fs::rename(&next, &pin)
            .with_context(|| format!("cannot rename the pin to {}", pin.display()))?;
    }
    Ok(())
}

impl Gate {
    /// Guards the host's ends of these interfaces for a seal; interfaces that
    /// have none here are left alone and show in [`Self::frame_guards`].
    ///
    /// # Errors
    /// If the map cannot be written, or the kernel refuses an attachment.
    pub fn guard_frames(
        &mut self,
        seal: SealNumber,
        interfaces: &[Interface],
        _lock: &Lock,
    ) -> Result<()> {
        let _veths = VethLock::take()?;
        self.forget_dead_veths()?;
        let ends: Vec<_> = interfaces.iter().filter_map(|i| i.host.as_ref()).collect();
        if ends.is_empty() {
            return Ok(());
        }
        let host = origin::Host::read()?;
        for end in ends {
            if self.is_audit(seal) && self.is_sealed_veth(seal, end.index) {
                continue;
            }
            let veth = host.veth(seal, end.index)?;
            // First: without it only what is sent to the bridge itself passes.
            if veth.is_port() {
                self.write_bridge(&host, veth.bridge, end)?;
            }
            self.veths
                .insert(end.index, veth, 0)
                .context("cannot write the map VETHS")?;
            self.announceable(end)?;
            // Where there is no frame layer `status` says that nothing guards it.
            self.attach_programs(end)?;
        }
        Ok(())
    }

    /// Whether the veth is guarded for another seal, which no audit takes from it.
    fn is_sealed_veth(&self, seal: SealNumber, index: u32) -> bool {
        let other = self.veths.get(&index, 0).map(|veth| veth.seal);
        other.is_ok_and(|other| other != seal && self.seal(other).is_ok() && !self.is_audit(other))
    }

    /// Has the programs run on an interface; false where the kernel cannot.
    fn attach_programs(&mut self, end: &HostEnd) -> Result<bool> {
        let layer = FrameLayer::of_kernel();
        let mut all = true;
        for program in &PROGRAMS {
            if self.is_current(end.index, program) {
                continue;
            }
            match layer.attach(&self.place, program, end, &mut self.early) {
                // The other direction may have its place: half of a guard is more than none.
                Err(error)
                    if layer == FrameLayer::Clsact
                        && (clsact::is_unknown(&error) || clsact::is_taken(end.index)) =>
                {
                    log::debug!("{}: {error:#}", end.name);
                    all = false;
                }
                done => {
                    let what = || format!("cannot attach {} to {}", program.name, end.name);
                    done.with_context(what)?;
                }
            }
        }
        Ok(all)
    }

    /// What guards each interface now.
    pub fn frame_guards(&self, seal: SealNumber, interfaces: Vec<Interface>) -> Vec<FrameGuard> {
        interfaces
            .into_iter()
            .map(|interface| {
                let missing = self.why_unguarded(seal, &interface);
                let misroutes = self.misroutes(&interface);
                FrameGuard::of(interface, missing, misroutes)
            })
            .collect()
    }

    /// Whether its frames are judged by whom they are sent to: without a bridge the host has
    /// them all.
    fn misroutes(&self, interface: &Interface) -> bool {
        let end = interface.host.as_ref();
        let veth = end.and_then(|end| self.veths.get(&end.index, 0).ok());
        veth.is_none_or(|veth| veth.bridge != 0 && !veth.is_port())
    }

    fn why_unguarded(&self, seal: SealNumber, interface: &Interface) -> Option<String> {
        let Some(end) = &interface.host else {
            return Some(no_end(interface));
        };
        let veth = self.veths.get(&end.index, 0).ok();
        let runs = PROGRAMS.iter().all(|p| self.is_alive(end.index, p));
        let at = format!("{} on the host's side, {}", interface.name, end.name);
        match veth {
            Some(veth) if runs && veth.seal == UNOWNED => {
                Some(format!("what guards {at}, has not learnt yet whose it is"))
            }
            Some(veth) if runs && veth.seal == seal => (veth.bridge == Veth::UNPLUGGED)
                .then(|| format!("what guards {at}, does not know its bridge yet")),
            _ => Some(format!("nothing guards {at}")),
        }
    }

    /// Lifts the guards of a seal.
    pub(super) fn unguard_frames(&mut self, of: impl Fn(SealNumber) -> bool) -> Result<()> {
        for index in self.guarded()? {
            if !UnderWay::is_trial(index)
                && self.veths.get(&index, 0).is_ok_and(|veth| of(veth.seal))
            {
                self.drop_veth(index)?;
            }
        }
        Ok(())
    }

    /// Veths that are gone leave pins of dead links behind.
    fn forget_dead_veths(&mut self) -> Result<()> {
        for index in self.guarded()? {
            // In a namespace of its own, where nobody else sees its programs.
            if UnderWay::is_trial(index) {
                continue;
            }
            let of_nobody = |seal| seal != UNOWNED && self.seal(seal).is_err();
            let lifted = self.veths.get(&index, 0).is_ok_and(|v| of_nobody(v.seal));
            if lifted || !PROGRAMS.iter().any(|p| self.is_alive(index, p)) {
                self.drop_veth(index)?;
            }
        }
        self.forget_bridges()?;
        self.forget_waiting()
    }

    /// Ends the guards of veths that are nobody's, with those of dead ones.
    pub(super) fn unguard_unowned(&mut self) -> Result<()> {
        self.forget_dead_veths()?;
        self.unguard_frames(|seal| seal == UNOWNED)?;
        self.forget_waiting()
    }

    fn guarded(&self) -> Result<Vec<u32>> {
        self.veths
            .keys()
            .collect::<Result<_, _>>()
            .context("cannot read the map VETHS")
    }

    fn drop_veth(&mut self, index: u32) -> Result<()> {
        for program in &PROGRAMS {
            FrameLayer::of_kernel().detach(&self.place, program, index)?;
        }
        let mut own = super::hash::<u32, Own>(&self.place, name::OWN)?;
        if own.get(&index, 0).is_ok() {
            own.remove(&index).context("cannot write the map OWN")?;
        }
        self.veths
            .remove(&index)
            .context("cannot write the map VETHS")
    }

    fn running(&self, index: u32, program: &Program) -> Option<u32> {
        FrameLayer::of_kernel().running(&self.place, program, index)
    }

    fn is_alive(&self, index: u32, program: &Program) -> bool {
        self.running(index, program).is_some()
    }

    /// Alive, and the program that is pinned for later veths.
    fn is_current(&self, index: u32, program: &Program) -> bool {
        let pinned = ProgramInfo::from_pin(program_pin(&self.place, program.name)).map(|p| p.id());
        self.running(index, program)
            .is_some_and(|id| pinned.is_ok_and(|pinned| pinned == id))
    }
}

/// Removes the programs' pins, and those of links that nothing else tells of: a guard
/// that was killed left them.
pub(super) fn unpin(place: &Place) -> Result<()> {
    let links = match fs::read_dir(place.pins.join("links")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        entries => Some(entries.context("cannot list the pinned links")?),
    };
    for entry in links.into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("veth") {
            super::links::unlink(&entry.path())?;
        }
    }
    for Program { name, .. } in PROGRAMS {
        super::links::unlink(&program_pin(place, name))?;
        super::links::unlink(&program_pin(place, &format!("{name}_next")))?;
    }
    super::remove_dir(&place.pins.join("programs"))
}
