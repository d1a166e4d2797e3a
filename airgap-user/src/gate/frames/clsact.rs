//! Filters in a clsact discipline (Linux 4.5), for kernels before tcx. They
//! need no pin and end with their interface.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result};
use aya::programs::SchedClassifier;

use super::{Place, Program, program_pin};
use crate::{
    gate::sys,
    host::netlink::{Filter, Netlink},
};

/// The discipline with a place for filters of both directions.
const CLSACT: &CStr = c"clsact";
/// Before all others.
const PRIORITY: u16 = 1;
/// Tells airgap's filters from others of that priority: "air" in ASCII.
const HANDLE: u32 = 0x0061_6972;

/// Puts the program that is pinned first in line on an interface of this
/// thread's namespace, or in the place of the one that runs there.
pub(super) fn attach(place: &Place, program: &Program, index: u32) -> Result<()> {
    let classifier = SchedClassifier::from_pin(program_pin(place, program.name))?;
    add(program, index, classifier.fd()?.as_fd())
}

/// Adds a program that does nothing to an interface that nobody uses.
pub(super) fn attempt(index: u32) -> Result<()> {
    let classifier = sys::load_classifier().context("the kernel loads no classifier")?;
    add(&super::PROGRAMS[0], index, classifier.as_fd())
}

fn add(program: &Program, index: u32, classifier: BorrowedFd<'_>) -> Result<()> {
    let netlink = Netlink::route()?;
    match netlink.add_discipline(index, CLSACT) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => {
            return Err(error).context("the kernel has no clsact (sch_ingress)");
        }
        _ => {}
    }
    let name = CString::new(program.name)?;
    netlink
        .set_filter(
            index,
            program.direction,
            PRIORITY,
            HANDLE,
            &name,
            classifier,
        )
        .context("the kernel takes no BPF filter (cls_bpf)")
}

/// Removes the filter; with the last one of the interface goes the discipline.
pub(super) fn detach(program: &Program, index: u32) -> Result<()> {
    let netlink = Netlink::route()?;
    let filters = netlink.filters(index, program.direction);
    if !filters.is_ok_and(|filters| filters.iter().any(|f| is_ours(f, program))) {
        // Gone with the interface, whose index may be a new one's.
        return Ok(());
    }
    netlink
        .delete_filter(index, program.direction, PRIORITY, HANDLE)
        .context("cannot remove a BPF filter")?;
    let left = |direction| netlink.filters(index, direction).map_or(1, |f| f.len());
    let ours = || {
        netlink
            .arriving_discipline(index)
            .is_ok_and(|kind| kind.as_deref() == Some(CLSACT))
    };
    if super::PROGRAMS.iter().all(|p| left(p.direction) == 0) && ours() {
        netlink
            .delete_discipline(index, CLSACT)
            .context("cannot remove the clsact discipline")?;
    }
    Ok(())
}

/// Id of the program that sees every frame first.
pub(super) fn running(program: &Program, index: u32) -> Option<u32> {
    let filters = Netlink::route().and_then(|n| n.filters(index, program.direction));
    let first = filters.ok()?.into_iter().next()?;
    first.program.filter(|_| is_ours(&first, program))
}

fn is_ours(filter: &Filter, program: &Program) -> bool {
    (filter.priority, filter.handle) == (PRIORITY, HANDLE) && filter.name == program.name
}

/// Whether an `ingress` discipline of somebody else's is where a clsact one would be: filters
/// of frames towards the container have no place then.
pub(super) fn is_taken(index: u32) -> bool {
    let kind = Netlink::route().and_then(|netlink| netlink.arriving_discipline(index));
    kind.is_ok_and(|kind| kind.is_some_and(|kind| kind.as_c_str() != CLSACT))
}

/// Whether the kernel said that it cannot do this at all: no `sch_ingress`, no `cls_bpf`.
pub(super) fn is_unknown(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|e| e.downcast_ref::<io::Error>());
    io.and_then(io::Error::raw_os_error)
        .is_some_and(|errno| [libc::ENOENT, libc::EOPNOTSUPP].contains(&errno))
}
