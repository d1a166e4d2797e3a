//! The security hooks: present only where the kernel was seen to refuse by them.
//!
//! A kernel may load and attach such programs and never call them (`bpf` is
//! missing in `lsm=`), or refuse to load any. So the layer is chosen by proof:
//! load, attach, and a refusal, which [`Gate::lsm_refuses`] asks for again
//! whenever somebody wants to know.

use std::{fs::File, io};

use airgap_common::verdict::socket::{SELF_TEST_ERRNO, SELF_TEST_PROTOCOL};
use anyhow::{Context as _, Result, bail};
use aya::{Btf as AyaBtf, Ebpf, util::KernelVersion};
use aya_obj::btf::BtfKind;

use super::{Gate, Hook, Kind, Place, links, sys, verifier};

/// In the order of arming.
pub(super) const HOOKS: [Hook; 7] = {
    const fn hook(program: &'static str, link: &'static str, hook: &'static str) -> Hook {
        Hook {
            program,
            link,
            kind: Kind::Lsm(hook),
            attach_type: 0,
        }
    }
    [
        hook("airgap_lsm_create", "lsm_create", "socket_create"),
        hook("airgap_lsm_sendmsg", "lsm_sendmsg", "socket_sendmsg"),
        hook("airgap_lsm_connect", "lsm_connect", "socket_connect"),
        hook("airgap_lsm_option", "lsm_option", "socket_setsockopt"),
        hook(
            "airgap_lsm_unix_connect",
            "lsm_unix_connect",
            "unix_stream_connect",
        ),
        hook("airgap_lsm_unix_send", "lsm_unix_send", "unix_may_send"),
        hook("airgap_lsm_receive", "lsm_receive", "file_receive"),
    ]
};

/// Oldest kernel with all that they use, `bpf_get_current_ancestor_cgroup_id`
/// for them being the last to come.
const MINIMUM: (u8, u8) = (5, 15);

/// Attaches all of them, or leaves none; returns whether they refuse.
///
/// # Errors
/// If there were some before that cannot be replaced: those stay in force.
pub(super) fn attach(
    programs: &mut Ebpf,
    place: &Place,
    cgroup: &File,
    kernel: &AyaBtf,
    before: bool,
) -> Result<bool> {
    if KernelVersion::current()? < KernelVersion::new(MINIMUM.0, MINIMUM.1, 0) {
        return Ok(false);
    }
    let attached = verifier::verify(programs, &HOOKS, kernel, &|_, _| {}).and_then(|()| {
        HOOKS.iter().try_for_each(|hook| {
            let link = links::attach(programs, hook, cgroup)?;
            links::replace_pin(place, hook, link)
        })
    });
    let proven = attached.and_then(|()| match self_test() {
        Ok(true) => Ok(()),
        Ok(false) => bail!("they are attached and refuse nothing: is bpf in lsm=?"),
        Err(error) => bail!("they cannot be tested: {error}"),
    });
    if let Err(error) = proven {
        if before {
            return Err(error.context("cannot replace the security hooks"));
        }
        log::debug!("no security hooks: {error:#}");
        detach(place)?;
        return Ok(false);
    }
    Ok(true)
}

/// Removes the pins, the last attached first.
pub(super) fn detach(place: &Place) -> Result<()> {
    for hook in HOOKS.iter().rev() {
        links::unlink_hook(place, hook)?;
    }
    Ok(())
}

/// Asks for a socket that no kernel has and only the hooks refuse with this
/// errno. Nothing is created either way.
fn self_test() -> io::Result<bool> {
    // SAFETY: socket takes no pointers.
    let fd = unsafe {
        libc::socket(
            libc::AF_UNIX,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
            SELF_TEST_PROTOCOL,
        )
    };
    let error = io::Error::last_os_error();
    if fd >= 0 {
        // SAFETY: just opened, and nobody else has it.
        unsafe { libc::close(fd) };
        return Ok(false);
    }
    match error.raw_os_error() {
        Some(SELF_TEST_ERRNO) => Ok(true),
        Some(libc::EPROTONOSUPPORT) => Ok(false),
        _ => Err(error),
    }
}

/// Whether the kernel loads a program that does nothing. It need not call it.
///
/// # Errors
/// What the kernel said.
pub fn loads() -> Result<()> {
    let kernel = AyaBtf::from_sys_fs().context("cannot read the kernel's BTF")?;
    let hook = kernel
        .id_by_type_name_kind("bpf_lsm_socket_create", BtfKind::Func)
        .context("it has no BPF LSM (CONFIG_BPF_LSM)")?;
    sys::load_lsm(hook).context("BPF_PROG_LOAD")
}

impl Gate {
    /// Whether the security hooks are in force: every link alive, and a
    /// refusal seen now.
    pub fn lsm_refuses(&self) -> bool {
        HOOKS.iter().all(|hook| self.link(hook.link).is_ok()) && self_test().unwrap_or(false)
    }
}
