//! tcx links (Linux 6.6), pinned; they end with their interface.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::programs::ProgramInfo;
use aya_obj::generated::bpf_attach_type::{BPF_TCX_EGRESS, BPF_TCX_INGRESS};

use super::{Early, Place, Program, program_pin};
use crate::{
    container::HostEnd,
    gate::{
        links::unlink,
        sys::{self, LinkState},
    },
    host::netlink::Direction,
};

/// A link that was let go is waited for so often, and so long each time.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// First in line on an interface of this thread's namespace, until it is closed.
pub(super) fn link(loaded: &impl AsFd, program: &Program, index: u32) -> io::Result<OwnedFd> {
    let attach_type = match program.direction {
        Direction::Ingress => BPF_TCX_INGRESS,
        Direction::Egress => BPF_TCX_EGRESS,
    };
    sys::link_tcx(loaded, attach_type, index)
}

/// The same with the program that is pinned.
pub(super) fn link_pinned(place: &Place, program: &Program, index: u32) -> Result<OwnedFd> {
    let pin = program_pin(place, program.name);
    let loaded = sys::obj_get(&pin).with_context(|| format!("cannot open {}", pin.display()))?;
    let mut tries = 0;
    loop {
        match link(&loaded, program, index) {
            // One that was just let go ends a little later, and the kernel takes a
            // program only once on an interface.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) && tries < TRIES => {
                tries += 1;
                thread::sleep(PAUSE);
            }
            made => return made.context("the kernel makes no tcx link"),
        }
    }
}

/// Links a program that does nothing, for a moment.
pub(super) fn attempt(index: u32) -> Result<()> {
    let program = sys::load_classifier().context("the kernel loads no classifier")?;
    sys::link_tcx(&program, BPF_TCX_INGRESS, index).context("the kernel makes no tcx link")?;
    Ok(())
}

/// Beside the link that is there, if there is one, which ends only then.
pub(super) fn attach(
    place: &Place,
    program: &Program,
    end: &HostEnd,
    early: &mut Early,
) -> Result<()> {
    let (pin, next) = pins(place, program, end.index);
    // There where an attach was killed before the last step, and the kernel takes
    // a program only once on an interface.
    let current = ProgramInfo::from_pin(program_pin(place, program.name))?.id();
    let torn = sys::obj_get(&next).and_then(|fd| sys::link_state(&fd));
    if !torn.is_ok_and(|link| link.interface == end.index && link.program == current) {
        unlink(&next)?;
        let link = match early.take(current, end) {
            Some(link) => link,
            None => link_pinned(place, program, end.index)?,
        };
        sys::obj_pin(&link, &next).with_context(|| format!("cannot pin {}", next.display()))?;
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
