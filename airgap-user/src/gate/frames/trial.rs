//! Guarding an interface of airgap's own for a while, to try the guard.

use std::os::fd::OwnedFd;

use airgap_common::map::{SealNumber, UNOWNED, Veth, name};
use anyhow::{Context as _, Result};
use aya::maps::{HashMap, MapData};

use super::{FrameLayer, Gate, PROGRAMS, Program, VethLock, clsact, origin, tcx};
use crate::{
    container::HostEnd,
    gate::{hash, lock::UnderWay},
    host::netns::Netns,
};

const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

/// Guards an interface until dropped. Others see by a lock that the entry is in use: the
/// interface is in no network namespace of theirs.
pub struct Trial {
    veths: HashMap<MapData, u32, Veth>,
    index: u32,
    /// Filters, unlike links, go with the interface.
    links: Vec<OwnedFd>,
    _under_way: UnderWay,
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

impl Trial {
    /// From now on all that leaves the container by it is judged, as on its other veths.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub fn belongs_to(&mut self, seal: SealNumber) -> Result<()> {
        self.write(seal, BPF_EXIST)
    }

    /// The reverse: again only what sealed tasks send is refused.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub fn belongs_to_nobody(&mut self) -> Result<()> {
        self.write(UNOWNED, BPF_EXIST)
    }

    fn write(&mut self, seal: SealNumber, flags: u64) -> Result<()> {
        self.veths
            .insert(self.index, origin::alone(seal), flags)
            .context("cannot write the map VETHS")
    }
}

impl Gate {
    /// Guards one more interface, in another network namespace, for as long as the result
    /// lives: what sealed tasks send there is refused, all else passes until
    /// [`Trial::belongs_to`]. `end.index` must be in use nowhere on the host: the map knows no
    /// namespaces. `None` where the kernel cannot.
    ///
    /// # Errors
    /// If the map cannot be written or the kernel refuses an attachment.
    pub fn try_frames(&mut self, netns: &Netns, end: &HostEnd) -> Result<Option<Trial>> {
        let _veths = VethLock::take()?;
        self.forget_dead_veths()?;
        let place = &self.place;
        let mut trial = Trial {
            veths: hash(place, name::VETHS)?,
            index: end.index,
            links: Vec::new(),
            _under_way: UnderWay::trial(end.index)?,
        };
        trial.write(UNOWNED, BPF_NOEXIST)?;
        let layer = FrameLayer::of_kernel();
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
