//! Links that are made before anybody needs them. Each waits for a grace period
//! of the kernel's, 10 to 20 ms, and an interface takes two: for the first seal of
//! a host that passes while the verifier is at the other programs. Until the
//! interface is in VETHS, where none is before the first gate stands, they let
//! everything through.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::mpsc::Receiver,
};

use aya::programs::Program as Loaded;

use super::{FrameLayer, PROGRAMS, Program, tcx};
use crate::{
    container::{HostEnd, interfaces},
    gate::sys,
    host::netns::Netns,
};

/// Links that no pin keeps: what is not taken ends with this.
#[derive(Default)]
pub(in super::super) struct Early(Vec<OwnedFd>);

impl Early {
    /// Links the frame programs to the interfaces of a network as they are loaded,
    /// until the sender is gone. What fails is tried again when it is needed.
    pub(in super::super) fn link(
        network: &Netns,
        loaded: &Receiver<(&'static str, OwnedFd)>,
    ) -> Self {
        let mut links = Vec::new();
        if FrameLayer::of_kernel() != FrameLayer::Tcx {
            return Self(links);
        }
        let found = interfaces([network]).unwrap_or_default();
        let ends: Vec<_> = found.into_iter().filter_map(|i| i.host).collect();
        for (name, fd) in loaded {
            for program in PROGRAMS.iter().filter(|p| p.name == name) {
                for end in &ends {
                    match tcx::link(&fd, program, end.index) {
                        Ok(link) => links.push(link),
                        Err(error) => log::debug!("{name} on {}: {error}", end.name),
                    }
                }
            }
        }
        Self(links)
    }

    /// The link of the program of this id on an interface, if it was made.
    pub(super) fn take(&mut self, program: u32, end: &HostEnd) -> Option<OwnedFd> {
        let at = self.0.iter().position(|link| {
            sys::link_state(link)
                .is_ok_and(|state| state.program == program && state.interface == end.index)
        })?;
        Some(self.0.swap_remove(at))
    }
}

/// A descriptor of its own of a frame program that was loaded.
pub(in super::super) fn of_loaded(name: &str, program: &Loaded) -> Option<(&'static str, OwnedFd)> {
    let Program { name, .. } = PROGRAMS.iter().find(|p| p.name == name)?;
    let Loaded::SchedClassifier(classifier) = program else {
        return None;
    };
    let fd = classifier.fd().ok()?.as_fd().try_clone_to_owned().ok()?;
    Some((name, fd))
}
