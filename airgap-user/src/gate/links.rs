//! Links, and the pins that keep them.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf,
    programs::{
        BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSock, CgroupSockAddr, Lsm, links::FdLink,
    },
};

use super::{Hook, Kind, Place, sys};

/// Attaches a program that the kernel has verified.
///
/// # Errors
/// If the object lacks it, or the kernel refuses the link; for a hook on cgroups, without one.
pub(super) fn attach(programs: &mut Ebpf, hook: &Hook, cgroup: Option<&File>) -> Result<FdLink> {
    let program = programs
        .program_mut(hook.program)
        .ok_or_else(|| anyhow!("the BPF object has no program {}", hook.program))?;
    let at = || cgroup.ok_or_else(|| anyhow!("{} hangs on a cgroup", hook.program));
    let attached = || format!("cannot attach {} to {}", hook.program, hook.link);
    // A bpf_link is always multi, and only "single" makes it one (aya#1078).
    const MODE: CgroupAttachMode = CgroupAttachMode::Single;
    let link = match hook.kind {
        Kind::Skb => {
            let program: &mut CgroupSkb = program.try_into()?;
            let attach_type = if hook.attach_type == 1 {
                aya::programs::CgroupSkbAttachType::Egress
            } else {
                aya::programs::CgroupSkbAttachType::Ingress
            };
            let id = program
                .attach(at()?, attach_type, MODE)
                .with_context(attached)?;
            program.take_link(id)?.try_into()
        }
        Kind::Sock => {
            let program: &mut CgroupSock = program.try_into()?;
            let id = program.attach(at()?, MODE).with_context(attached)?;
            program.take_link(id)?.try_into()
        }
        Kind::SockAddr => {
            let program: &mut CgroupSockAddr = program.try_into()?;
            let id = program.attach(at()?, MODE).with_context(attached)?;
            program.take_link(id)?.try_into()
        }
        Kind::Tracepoint(_) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            let id = program.attach().with_context(attached)?;
            return Ok(program.take_link(id)?.into());
        }
        Kind::Frame => bail!("{} hangs on no cgroup", hook.program),
        Kind::Security(_) => {
            let program: &mut Lsm = program.try_into()?;
            let id = program.attach().with_context(attached)?;
            return Ok(program.take_link(id)?.into());
        }
    };
    link.with_context(|| format!("{} was attached without a bpf_link", hook.program))
}

/// A link that ends with this, unless it is pinned.
#[derive(Debug)]
pub(super) enum Link {
    Aya(FdLink),
    Own(OwnedFd),
}

impl From<FdLink> for Link {
    fn from(link: FdLink) -> Self {
        Self::Aya(link)
    }
}

impl From<OwnedFd> for Link {
    fn from(link: OwnedFd) -> Self {
        Self::Own(link)
    }
}

/// Puts a new link's pin in the place of the old one, which ends only then.
pub(super) fn replace_pin(place: &Place, name: &str, link: impl Into<Link>) -> Result<()> {
    let (path, next) = (place.link(name), place.link(&format!("{name}_next")));
    unlink(&next)?;
    let pinned = match link.into() {
        Link::Aya(link) => link.pin(&next).map(drop).map_err(Into::into),
        Link::Own(link) => sys::obj_pin(&link, &next).map_err(anyhow::Error::new),
    };
    pinned.with_context(|| format!("cannot pin {}", next.display()))?;
    fs::rename(&next, &path).with_context(|| format!("cannot rename the pin to {}", path.display()))
}

pub(super) fn unlink_hook(place: &Place, hook: &Hook) -> Result<()> {
    unlink(&place.link(hook.link))?;
    unlink(&place.link(&format!("{}_next", hook.link)))
}

pub(super) fn unlink(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove the pin {}", path.display()))
        }
        _ => Ok(()),
    }
}
