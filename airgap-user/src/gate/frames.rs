//! The frame layer: programs on the host's ends of a container's veths.
//!
//! These links end with their veth, so a restart of the container ends them;
//! what is in force is always asked of the kernel.

use std::{
    fs,
    path::{Path, PathBuf},
};

use airgap_common::map::{SealNumber, name};
use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData},
    programs::{
        LinkOrder, ProgramInfo, SchedClassifier, TcAttachType, links::FdLink, tc::TcAttachOptions,
    },
};

use super::{Gate, Lock, Place, sys};
use crate::{
    container::{HostEnd, Interface},
    netns::Netns,
};

const BPF_NOEXIST: u64 = 1;

/// Program, suffix of the links' pins, and where it hangs. tcx ingress of the
/// host's end is what the container sends.
const PROGRAMS: [(&str, &str, TcAttachType); 2] = [
    ("airgap_frame_in", "in", TcAttachType::Egress),
    ("airgap_frame_out", "out", TcAttachType::Ingress),
];

/// What guards one interface of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameGuard {
    /// The interface.
    pub interface: Interface,
    /// Why nothing does, if nothing does.
    pub missing: Option<String>,
}

/// Guards an interface until dropped. Holds the gate's lock: an attach that
/// tidies up would take the entry for one of a veth that is gone.
pub struct Trial {
    veths: HashMap<MapData, u32, SealNumber>,
    index: u32,
    links: Vec<FdLink>,
    _lock: Lock,
}

impl Drop for Trial {
    fn drop(&mut self) {
        // First the links: without its entry a frame would pass.
        self.links.clear();
        if let Err(error) = self.veths.remove(&self.index) {
            log::warn!("cannot remove interface {} from VETHS: {error}", self.index);
        }
    }
}

/// Attaches a pinned program to an interface of this thread's namespace.
fn attach(pin: &Path, interface: &str, attach_type: TcAttachType) -> Result<FdLink> {
    let mut program = SchedClassifier::from_pin(pin)?;
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(interface, attach_type, options)?;
    Ok(program.take_link(id)?.try_into()?)
}

fn program_pin(place: &Place, program: &str) -> PathBuf {
    place.pins.join("programs").join(program)
}

fn link_pin(place: &Place, index: u32, suffix: &str) -> PathBuf {
    place
        .pins
        .join("links")
        .join(format!("veth{index}_{suffix}"))
}

/// Loads and pins the programs, for veths of later containers.
pub(super) fn load(programs: &mut Ebpf, place: &Place) -> Result<()> {
    for (name, _, _) in PROGRAMS {
        let program: &mut SchedClassifier = programs
            .program_mut(name)
            .with_context(|| format!("the BPF object has no program {name}"))?
            .try_into()?;
        program.load().map_err(|e| super::arm::refused(name, e))?;
        let (pin, next) = (
            program_pin(place, name),
            program_pin(place, &format!("{name}_next")),
        );
        super::arm::unlink(&next)?;
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
    /// If the map cannot be written, or the kernel refuses an attachment
    /// although it has tcx.
    pub fn guard_frames(
        &mut self,
        seal: SealNumber,
        interfaces: &[Interface],
        _lock: &Lock,
    ) -> Result<()> {
        self.forget_dead_veths()?;
        if !self.has_tcx() {
            return Ok(());
        }
        for end in interfaces.iter().filter_map(|i| i.host.as_ref()) {
            self.veths
                .insert(end.index, seal, 0)
                .context("cannot write the map VETHS")?;
            for (name, suffix, attach_type) in PROGRAMS {
                if !self.is_current(end.index, name, suffix) {
                    self.attach_frames(end, name, suffix, attach_type)
                        .with_context(|| format!("cannot attach {name} to {}", end.name))?;
                }
            }
        }
        Ok(())
    }

    fn attach_frames(
        &self,
        end: &HostEnd,
        name: &str,
        suffix: &str,
        attach_type: TcAttachType,
    ) -> Result<()> {
        let link = attach(&program_pin(&self.place, name), &end.name, attach_type)?;
        // Beside the old one, if there is one, which ends only then.
        let pin = link_pin(&self.place, end.index, suffix);
        let next = link_pin(&self.place, end.index, &format!("{suffix}_next"));
        super::arm::unlink(&next)?;
        link.pin(&next)
            .with_context(|| format!("cannot pin {}", next.display()))?;
        fs::rename(&next, &pin)
            .with_context(|| format!("cannot rename the pin to {}", pin.display()))?;
        Ok(())
    }

    /// Guards one more interface for a seal, in another network namespace, for
    /// as long as the result lives. `end.index` must be in use nowhere on the
    /// host: the map knows no namespaces. `None` without tcx (Linux 6.6).
    ///
    /// # Errors
    /// If the map cannot be written or the kernel refuses an attachment.
    pub fn try_frames(
        &mut self,
        seal: SealNumber,
        netns: &Netns,
        end: &HostEnd,
        _lock: Lock,
    ) -> Result<Option<Trial>> {
        self.forget_dead_veths()?;
        if !self.has_tcx() {
            return Ok(None);
        }
        let pins = PROGRAMS.map(|(name, _, attach_type)| {
            let pin = program_pin(&self.place, name);
            (name, pin, attach_type)
        });
        let mut trial = Trial {
            veths: super::hash(&self.place, name::VETHS)?,
            index: end.index,
            links: Vec::new(),
            _lock,
        };
        trial
            .veths
            .insert(end.index, seal, BPF_NOEXIST)
            .context("cannot write the map VETHS")?;
        trial.links = netns.run(|| {
            let attach = |(name, pin, attach_type): &(&str, PathBuf, TcAttachType)| {
                attach(pin, &end.name, *attach_type)
                    .with_context(|| format!("cannot attach {name} to {}", end.name))
            };
            pins.iter().map(attach).collect()
        })?;
        Ok(Some(trial))
    }

    /// What guards each interface now.
    pub fn frame_guards(&self, seal: SealNumber, interfaces: Vec<Interface>) -> Vec<FrameGuard> {
        interfaces
            .into_iter()
            .map(|interface| FrameGuard {
                missing: self.why_unguarded(seal, &interface),
                interface,
            })
            .collect()
    }

    fn why_unguarded(&self, seal: SealNumber, interface: &Interface) -> Option<String> {
        let Some(end) = &interface.host else {
            return Some(format!(
                "{} is no veth with its other end on this host",
                interface.name
            ));
        };
        if !self.has_tcx() {
            return Some("this kernel has no tcx (Linux 6.6)".into());
        }
        let ours = self.veths.get(&end.index, 0).is_ok_and(|n| n == seal);
        if ours
            && PROGRAMS
                .iter()
                .all(|(_, suffix, _)| self.is_alive(end.index, suffix))
        {
            return None;
        }
        Some(format!(
            "nothing guards {} on the host's side, {}",
            interface.name, end.name
        ))
    }

    /// Lifts the guards of a seal.
    pub(super) fn unguard_frames(&mut self, seal: SealNumber) -> Result<()> {
        for index in self.guarded()? {
            if self.veths.get(&index, 0).is_ok_and(|n| n == seal) {
                self.drop_veth(index)?;
            }
        }
        Ok(())
    }

    /// Veths that are gone leave pins of dead links behind.
    fn forget_dead_veths(&mut self) -> Result<()> {
        for index in self.guarded()? {
            if !PROGRAMS
                .iter()
                .any(|(_, suffix, _)| self.is_alive(index, suffix))
            {
                self.drop_veth(index)?;
            }
        }
        Ok(())
    }

    fn guarded(&self) -> Result<Vec<u32>> {
        self.veths
            .keys()
            .collect::<Result<_, _>>()
            .context("cannot read the map VETHS")
    }

    fn drop_veth(&mut self, index: u32) -> Result<()> {
        for (_, suffix, _) in PROGRAMS {
            super::arm::unlink(&link_pin(&self.place, index, suffix))?;
            super::arm::unlink(&link_pin(&self.place, index, &format!("{suffix}_next")))?;
        }
        self.veths
            .remove(&index)
            .context("cannot write the map VETHS")
    }

    /// A pin says nothing: the link must hang on that very interface.
    fn is_alive(&self, index: u32, suffix: &str) -> bool {
        sys::obj_get(&link_pin(&self.place, index, suffix))
            .and_then(|fd| sys::link_state(&fd))
            .is_ok_and(|state| state.interface == index)
    }

    /// Alive, and running the program that is pinned for later veths.
    fn is_current(&self, index: u32, name: &str, suffix: &str) -> bool {
        let pinned = ProgramInfo::from_pin(program_pin(&self.place, name)).map(|p| p.id());
        sys::obj_get(&link_pin(&self.place, index, suffix))
            .and_then(|fd| sys::link_state(&fd))
            .is_ok_and(|state| {
                state.interface == index && pinned.is_ok_and(|id| id == state.program)
            })
    }

    fn has_tcx(&self) -> bool {
        PROGRAMS
            .iter()
            .all(|(name, _, _)| program_pin(&self.place, name).exists())
    }
}

/// Removes the programs' pins.
pub(super) fn unpin(place: &Place) -> Result<()> {
    for (name, _, _) in PROGRAMS {
        super::arm::unlink(&program_pin(place, name))?;
        super::arm::unlink(&program_pin(place, &format!("{name}_next")))?;
    }
    super::remove_dir(&place.pins.join("programs"))
}
