//! Guarding an interface of airgap's own for a while, to try the guard.

use std::os::fd::OwnedFd;

use airgap_common::map::{SealNumber, Veth, name};
use anyhow::{Context as _, Result};
use aya::maps::{HashMap, MapData};

use super::{FrameLayer, Gate, Lock, PROGRAMS, Program, VethLock, clsact, origin, tcx};
use crate::{container::HostEnd, gate::hash, netns::Netns};

const BPF_NOEXIST: u64 = 1;

/// Guards an interface until dropped. Holds the gate's lock: an attach that
/// tidies up would take the entry for one of a veth that is gone.
pub struct Trial {
    veths: HashMap<MapData, u32, Veth>,
    index: u32,
    /// Filters, unlike links, go with the interface.
    links: Vec<OwnedFd>,
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

impl Gate {
    /// Guards one more interface for a seal, in another network namespace, for
    /// as long as the result lives. `end.index` must be in use nowhere on the
    /// host: the map knows no namespaces. `None` where the kernel cannot.
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
        let _veths = VethLock::take()?;
        self.forget_dead_veths()?;
        let mut trial = Trial {
            veths: hash(&self.place, name::VETHS)?,
            index: end.index,
            links: Vec::new(),
            _lock,
        };
        trial
            .veths
            .insert(end.index, origin::alone(seal), BPF_NOEXIST)
            .context("cannot write the map VETHS")?;
        let (layer, place) = (FrameLayer::of_kernel(), &self.place);
        let attach = |program: &Program| match layer {
            FrameLayer::Tcx => tcx::link_pinned(place, program, end.index).map(Some),
            FrameLayer::Clsact => clsact::attach(place, program, end.index).map(|()| None),
        };
        let links = netns.run(|| PROGRAMS.iter().map(attach).collect::<Result<Vec<_>>>());
        match links {
            Err(error) if layer == FrameLayer::Clsact && clsact::is_unknown(&error) => {
                return Ok(None);
            }
            links => {
                let links = links.with_context(|| format!("cannot attach to {}", end.name))?;
                trial.links = links.into_iter().flatten().collect();
            }
        }
        Ok(Some(trial))
    }
}
