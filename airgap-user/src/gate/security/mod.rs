//! The security hooks: present only where the kernel was seen to refuse by them.
//!
//! A kernel may load and attach such programs and never call them (`bpf` is
//! missing in `lsm=`, `kernel.ftrace_enabled` is 0), or refuse to load any. So the
//! layer is chosen by proof: load, attach, and a refusal, which [`Gate::security`]
//! asks for again whenever somebody wants to know.

mod choice;
mod modify_return;
mod preemption;

use std::io;

use airgap_common::{
    map::{Gate as GateInfo, name},
    verdict::socket::{SELF_TEST_ERRNO, SELF_TEST_PROTOCOL},
};
use anyhow::{Context as _, Result, anyhow, bail};
use aya::{Btf as AyaBtf, Ebpf, util::KernelVersion};
use aya_obj::btf::BtfKind;

use self::choice::ftrace_is_off;
pub use self::choice::{Mechanism, Security, Silence};
use super::{Gate, Hook, Kind, Lock, Place, array, links, sys, verifier};
use crate::host::clock;

/// In the order of arming.
pub(super) const HOOKS: [Hook; 7] = {
    const fn hook(program: &'static str, link: &'static str, hook: &'static str) -> Hook {
        Hook {
            program,
            link,
            kind: Kind::Security(hook),
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

/// The kernel's function that a hook of this name hangs on.
pub(super) fn target(mechanism: Mechanism, hook: &str) -> String {
    match mechanism {
        Mechanism::BpfLsm => format!("bpf_lsm_{hook}"),
        Mechanism::ModifyReturn => format!("security_{hook}"),
    }
}

/// A protocol that no other gate's hooks answer to.
pub(super) const fn test_protocol(random: u64) -> u32 {
    SELF_TEST_PROTOCOL | random as u32 & (SELF_TEST_PROTOCOL - 1)
}

/// New hooks in force, or attached for the time when the kernel calls them again.
#[derive(Debug)]
pub(super) struct Attached {
    /// A refusal was seen.
    pub(super) proven: bool,
    /// And the kernel passes over none.
    pub(super) in_force: bool,
    links: Vec<(&'static Hook, links::Link)>,
}

impl Attached {
    /// Puts them in the place of those before, which end only then.
    pub(super) fn pin(self, place: &Place) -> Result<()> {
        self.links
            .into_iter()
            .try_for_each(|(hook, link)| links::replace_pin(place, hook.link, link))
    }
}

/// Attaches all of them by the first mechanism that is seen to refuse, beside those
/// that stand; `None`: this kernel has no use for any.
///
/// # Errors
/// If there are some to be `kept` that cannot be replaced: those stay.
pub(super) fn attach(
    programs: &mut Ebpf,
    kernel: &AyaBtf,
    test: u32,
    kept: bool,
) -> Result<Option<Attached>> {
    let off = ftrace_is_off();
    let list = choice::lsm_list();
    let listed = list.as_deref().is_some_and(choice::has_bpf);
    let (mut reasons, mut unproven) = (Vec::new(), None);
    for mechanism in choice::order(list.as_deref()) {
        let attached = load_and_attach(programs, kernel, mechanism);
        let proven = attached.and_then(|links| match self_test(test) {
            Ok(true) => Ok((true, links)),
            Ok(false) if off => Ok((false, links)),
            Ok(false) => bail!("they are attached and refuse nothing"),
            Err(error) => bail!("they cannot be tested: {error}"),
        });
        match proven {
            Ok((true, links)) => {
                return Ok(Some(Attached {
                    proven: true,
                    in_force: choice::refusing(mechanism).in_force().is_some(),
                    links,
                }));
            }
            // Once ftrace is on again the first is called if lsm= says so, and the last in
            // any case.
            Ok((false, links)) if listed => {
                unproven.get_or_insert(links);
            }
            Ok((false, links)) => unproven = Some(links),
            Err(error) => {
                log::debug!("no security hooks by {}: {error:#}", mechanism.name());
                reasons.push(format!("{}: {error:#}", mechanism.name()));
            }
        }
    }
    if let Some(links) = unproven {
        return Ok(Some(Attached {
            proven: false,
            in_force: false,
            links,
        }));
    }
    if kept {
        bail!("cannot replace the security hooks: {}", reasons.join("; "));
    }
    Ok(None)
}

fn load_and_attach(
    programs: &mut Ebpf,
    kernel: &AyaBtf,
    mechanism: Mechanism,
) -> Result<Vec<(&'static Hook, links::Link)>> {
    if KernelVersion::current()? < mechanism.minimum() {
        bail!("this kernel is too old");
    }
    // Of a kernel that has none the first answer is soon there, and the last.
    try_load(kernel, mechanism)?;
    match mechanism {
        Mechanism::BpfLsm => {
            verifier::verify(programs, &HOOKS, kernel, &|_, _| {})?;
            let link = |hook| Ok((hook, links::attach(programs, hook, None)?.into()));
            HOOKS.iter().map(link).collect()
        }
        Mechanism::ModifyReturn => modify_return::load(programs, kernel)?
            .into_iter()
            .map(|(hook, program)| {
                let link = sys::attach_tracing(&program)
                    .with_context(|| format!("cannot attach {} to {}", hook.program, hook.link))?;
                Ok((hook, link.into()))
            })
            .collect(),
    }
}

/// Removes the pins, the last attached first.
pub(super) fn detach(place: &Place) -> Result<()> {
    for hook in HOOKS.iter().rev() {
        links::unlink_hook(place, hook)?;
    }
    Ok(())
}

/// Asks for a socket that no kernel has and only the hooks of one load refuse with
/// this errno. Nothing is created either way.
fn self_test(protocol: u32) -> io::Result<bool> {
    // SAFETY: socket takes no pointers.
    let fd = unsafe {
        libc::socket(
            libc::AF_UNIX,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
            protocol as i32,
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

/// What they will do, as far as it can be told without a gate: whether the kernel loads a
/// program that does nothing. It need not call it.
///
/// # Errors
/// What the kernel said to the last mechanism that was tried.
pub fn likely() -> Result<Security> {
    let version = KernelVersion::current()?;
    let kernel = AyaBtf::from_sys_fs().context("cannot read the kernel's BTF")?;
    let mut last = anyhow!("this kernel is too old");
    for mechanism in choice::order(choice::lsm_list().as_deref()) {
        if version < mechanism.minimum() {
            continue;
        }
        match try_load(&kernel, mechanism) {
            Ok(()) if ftrace_is_off() => return Ok(Security::Silent(Silence::FtraceOff)),
            Ok(()) => return Ok(choice::refusing(mechanism)),
            Err(error) => last = error.context(mechanism.name()),
        }
    }
    Err(last)
}

fn try_load(kernel: &AyaBtf, mechanism: Mechanism) -> Result<()> {
    let target = target(mechanism, "socket_create");
    let hook = kernel
        .id_by_type_name_kind(&target, BtfKind::Func)
        .with_context(|| format!("it has no function {target}"))?;
    sys::load_hook(mechanism.kind(), hook).context("BPF_PROG_LOAD")
}

/// In place of the second since which they refuse: they do not, or did not when somebody
/// last looked. No process is younger than that.
pub(super) const NOT_SINCE: u32 = u32::MAX;

impl Gate {
    /// What the security hooks do now: every link alive, and a refusal seen now. That
    /// they do not is remembered, and so is since when they do again, at the latest:
    /// what a process opened in between is older than they are.
    pub fn security(&self) -> Security {
        self.look_at_security(None)
    }

    /// The same of who has the lock already.
    pub(super) fn security_under(&self, lock: &Lock) -> Security {
        self.look_at_security(Some(lock))
    }

    fn look_at_security(&self, lock: Option<&Lock>) -> Security {
        let Ok(info) = self.info() else {
            return Security::Absent;
        };
        if info.lsm == 0 {
            return Security::Absent;
        }
        let security = self.security_of(&info);
        let since = match security {
            Security::Silent(_) | Security::Skipped(_) => NOT_SINCE,
            _ if info.lsm == NOT_SINCE => clock::since_boot_seconds(),
            _ => info.lsm,
        };
        if since != info.lsm
            && let Err(error) = self.remember_since(since, lock)
        {
            log::debug!("cannot remember since when the security hooks refuse: {error:#}");
        }
        security
    }

    fn security_of(&self, info: &GateInfo) -> Security {
        let states: Result<Vec<_>> = HOOKS.iter().map(|hook| self.link(hook.link)).collect();
        let Ok(states) = states else {
            return Security::Silent(Silence::Broken);
        };
        let mechanism = states
            .first()
            .and_then(|state| Mechanism::of_attach_type(state.attach_type));
        match (mechanism, self_test(info.test)) {
            (Some(mechanism), Ok(true)) => choice::refusing(mechanism),
            _ if ftrace_is_off() => Security::Silent(Silence::FtraceOff),
            _ => Security::Silent(Silence::NotCalled),
        }
    }

    /// Whoever else writes there has the lock, and looks again.
    fn remember_since(&self, since: u32, lock: Option<&Lock>) -> Result<()> {
        let taken = match lock {
            Some(_) => None,
            None => Lock::try_take()?,
        };
        if lock.is_none() && taken.is_none() {
            return Ok(());
        }
        let mut map = array::<GateInfo>(&self.place, name::GATE)?;
        let info = map.get(&0, 0).context("cannot read the map GATE")?;
        if info.lsm == 0 {
            return Ok(());
        }
        map.set(0, GateInfo { lsm: since, ..info }, 0)
            .context("cannot write the map GATE")
    }
}
