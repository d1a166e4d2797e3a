//! One line of what `airgap doctor` says.

use serde::Serialize;

use crate::gate::{Mechanism, Silence};

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub check: &'static str,
    /// `ok`, `limited` (a seal is possible, but not in full), `failed`, or
    /// `open`: what ought to be sealed is not.
    pub state: &'static str,
    /// What was seen.
    pub seen: String,
    /// What to do, unless it is ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<&'static str>,
}

/// Name of the check of security hooks.
pub const HOOKS: &str = "security hooks";
/// Name of the check of what a reboot does.
pub const BOOT: &str = "host reboot";

impl Check {
    /// This host has no security hooks; what that means comes before why.
    pub(crate) fn without_hooks(why: &str) -> Self {
        Self::limited(
            HOOKS,
            format!(
                "a restart opens hand-made frames until the new veth is guarded; host sockets, and unix sockets of others in shared directories, are not refused: {why}"
            ),
            "boot a kernel that loads BPF LSM or fmod_ret programs, as Debian's from Linux 5.10 on do",
        )
    }

    /// They refuse, and cannot be relied on.
    pub(crate) fn skipped_hooks(mechanism: Mechanism) -> Self {
        Self::limited(
            HOOKS,
            format!(
                "by {}, and this kernel preempts: it passes over a hook that a preempted thread is in, so that many threads get through at times, and what the hooks refuse counts as open",
                mechanism.name()
            ),
            match mechanism {
                Mechanism::ModifyReturn => {
                    "boot with bpf added to lsm= (the list is in /sys/kernel/security/lsm), on Linux 6.2 or newer, or with preempt=voluntary, before Linux 7.0"
                }
                Mechanism::BpfLsm => "boot with preempt=voluntary, or Linux 6.2 or newer",
            },
        )
    }

    /// They are there, or would be, and the kernel does not call them.
    pub(crate) fn silent_hooks(silence: Silence, standing: bool) -> Self {
        if !standing {
            return Self::limited(
                HOOKS,
                "a seal would have none now: kernel.ftrace_enabled is 0, and the kernel calls no such program",
                "sysctl kernel.ftrace_enabled=1",
            );
        }
        Self::open(
            HOOKS,
            format!("not in force now: {}", silence.why()),
            match silence {
                Silence::FtraceOff => "sysctl kernel.ftrace_enabled=1",
                Silence::Broken | Silence::NotCalled => {
                    "airgap attach any sealed container again: it mends the gate"
                }
            },
        )
    }

    /// Nothing restores seals at boot.
    pub(crate) fn no_restore() -> Self {
        Self::limited(
            BOOT,
            "a reboot opens every seal: nothing runs airgap restore before the engine starts",
            "airgap install",
        )
    }

    pub(crate) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            check,
            state: "ok",
            seen: seen.into(),
            mend: None,
        }
    }

    pub(crate) fn limited(
        check: &'static str,
        seen: impl Into<String>,
        mend: &'static str,
    ) -> Self {
        Self {
            check,
            state: "limited",
            seen: seen.into(),
            mend: Some(mend),
        }
    }

    /// Something that ought to be sealed is not.
    pub(crate) fn open(check: &'static str, seen: impl Into<String>, mend: &'static str) -> Self {
        Self {
            state: "open",
            ..Self::failed(check, seen, mend)
        }
    }

    pub(crate) fn failed(check: &'static str, seen: impl Into<String>, mend: &'static str) -> Self {
        Self {
            check,
            state: "failed",
            seen: seen.into(),
            mend: Some(mend),
        }
    }
}
