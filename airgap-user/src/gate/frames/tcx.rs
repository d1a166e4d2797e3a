//! tcx links (Linux 6.6), pinned; they end with their interface.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use aya::programs::{
    LinkOrder, ProgramInfo, SchedClassifier, TcAttachType, links::FdLink, tc::TcAttachOptions,
};

use super::{Place, Program, program_pin};
use crate::{
    container::HostEnd,
    gate::{
        arm::unlink,
        sys::{self, LinkState},
    },
    netlink::Direction,
};

/// First in line on an interface of this thread's namespace.
pub(super) fn link(place: &Place, program: &Program, interface: &str) -> Result<FdLink> {
    let mut classifier = SchedClassifier::from_pin(program_pin(place, program.name))?;
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let attach_type = match program.direction {
        Direction::Ingress => TcAttachType::Ingress,
        Direction::Egress => TcAttachType::Egress,
    };
    let id = classifier.attach_with_options(interface, attach_type, options)?;
    Ok(classifier.take_link(id)?.try_into()?)
}

/// Links a program that does nothing, for a moment.
pub(super) fn attempt(index: u32) -> Result<()> {
    let program = sys::load_classifier().context("the kernel loads no classifier")?;
    sys::link_tcx(&program, index).context("the kernel makes no tcx link")?;
    Ok(())
}

/// Beside the link that is there, if there is one, which ends only then.
pub(super) fn attach(place: &Place, program: &Program, end: &HostEnd) -> Result<()> {
    let (pin, next) = pins(place, program, end.index);
    // There where an attach was killed before the last step, and the kernel takes
    // a program only once on an interface.
    let current = ProgramInfo::from_pin(program_pin(place, program.name))?.id();
    let torn = sys::obj_get(&next).and_then(|fd| sys::link_state(&fd));
    if !torn.is_ok_and(|link| link.interface == end.index && link.program == current) {
        unlink(&next)?;
        link(place, program, &end.name)?
            .pin(&next)
            .with_context(|| format!("cannot pin {}", next.display()))?;
    }
    fs::rename(&next, &pin).with_context(|| format!("cannot rename the pin to {}", pin.display()))
}

/// Ends the links, if there are any.
pub(super) fn detach(place: &Place, program: &Program, index: u32) -> Result<()> {
    let (pin, next) = pins(place, program, index);
    unlink(&pin)?;
    unlink(&next)
}

/// Id of the program that runs on that very interface: a pin says nothing.
pub(super) fn running(place: &Place, program: &Program, index: u32) -> Option<u32> {
    let state = sys::obj_get(&pins(place, program, index).0).and_then(|fd| sys::link_state(&fd));
    let on_it = |state: &LinkState| state.interface == index;
    state.ok().filter(on_it).map(|state| state.program)
}

fn pins(place: &Place, program: &Program, index: u32) -> (PathBuf, PathBuf) {
    let name = format!("veth{index}_{}", program.suffix);
    let links = place.pins.join("links");
    (links.join(&name), links.join(format!("{name}_next")))
}
