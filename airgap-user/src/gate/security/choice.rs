//! By what the kernel calls the security hooks, and what is said of them. Pure, but for
//! what it reads from `/proc` and `/sys`.

use std::fs;

use aya::util::KernelVersion;
use aya_obj::generated::{bpf_attach_type, bpf_prog_type};

use super::preemption::is_preemptible;

/// How the kernel comes to the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Programs of its own security module, `bpf` in `lsm=`.
    BpfLsm,
    /// `fmod_ret` programs on the functions from which all modules are asked.
    ModifyReturn,
}

impl Mechanism {
    /// The best first; the last is called whatever `lsm=` says.
    const ALL: [Self; 2] = [Self::BpfLsm, Self::ModifyReturn];

    /// In texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BpfLsm => "BPF LSM",
            Self::ModifyReturn => "fmod_ret",
        }
    }

    /// Oldest kernel with all that they use. For LSM programs
    /// `bpf_get_current_ancestor_cgroup_id` is the last to come; tracing programs
    /// do without.
    pub(super) const fn minimum(self) -> KernelVersion {
        match self {
            Self::BpfLsm => KernelVersion::new(5, 15, 0),
            Self::ModifyReturn => KernelVersion::new(5, 8, 0),
        }
    }

    /// Whether a kernel passes over programs of this kind that a preempted task is in,
    /// if it preempts; see [`super::preemption`].
    pub(super) fn may_be_skipped(self, version: KernelVersion) -> bool {
        let since = KernelVersion::new(5, 12, 0);
        match self {
            Self::BpfLsm => since <= version && version < KernelVersion::new(6, 2, 0),
            Self::ModifyReturn => since <= version,
        }
    }

    pub(super) const fn kind(self) -> (bpf_prog_type, bpf_attach_type) {
        match self {
            Self::BpfLsm => (
                bpf_prog_type::BPF_PROG_TYPE_LSM,
                bpf_attach_type::BPF_LSM_MAC,
            ),
            Self::ModifyReturn => (
                bpf_prog_type::BPF_PROG_TYPE_TRACING,
                bpf_attach_type::BPF_MODIFY_RETURN,
            ),
        }
    }

    /// By what a link says (`enum bpf_attach_type`).
    pub(super) fn of_attach_type(attach_type: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.kind().1 as u32 == attach_type)
    }
}

/// What the security hooks do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// There are none: this kernel has no use for any.
    #[default]
    Absent,
    /// Every link is alive, and a refusal was seen.
    InForce(Mechanism),
    /// They refuse, but this kernel preempts, and then may pass over them: no cover.
    Skipped(Mechanism),
    /// They are attached, and refuse nothing.
    Silent(Silence),
}

impl Security {
    /// By what they refuse, if they do.
    pub const fn in_force(self) -> Option<Mechanism> {
        match self {
            Self::InForce(mechanism) => Some(mechanism),
            Self::Absent | Self::Skipped(_) | Self::Silent(_) => None,
        }
    }
}

/// Why hooks that are attached refuse nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// `kernel.ftrace_enabled` is 0: the kernel calls no attached program of this kind.
    FtraceOff,
    /// A link is gone or dead.
    Broken,
    /// Nothing says why.
    NotCalled,
}

impl Silence {
    /// In words.
    pub const fn why(self) -> &'static str {
        match self {
            Self::FtraceOff => {
                "kernel.ftrace_enabled is 0: the security hooks are attached, and the kernel does not call them"
            }
            Self::Broken => "a link of the security hooks is gone",
            Self::NotCalled => "the security hooks are attached, and the kernel does not call them",
        }
    }

    /// What to run; `name` is a container's.
    pub fn mend(self, name: &str) -> String {
        match self {
            Self::FtraceOff => "sysctl kernel.ftrace_enabled=1".to_owned(),
            Self::Broken | Self::NotCalled => format!("airgap attach {name}"),
        }
    }
}

/// In which order they are tried. `listed` is the kernel's list of security modules: of
/// one that is not in it no program is ever called.
pub(super) fn order(listed: Option<&str>) -> impl Iterator<Item = Mechanism> {
    let without = listed.is_some_and(|list| !has_bpf(list));
    let all = Mechanism::ALL.into_iter();
    all.filter(move |mechanism| !(without && *mechanism == Mechanism::BpfLsm))
}

/// Whether BPF LSM is among them.
pub(super) fn has_bpf(list: &str) -> bool {
    list.trim().split(',').any(|name| name == "bpf")
}

/// The security modules that the kernel runs; `None` without securityfs.
pub(super) fn lsm_list() -> Option<String> {
    fs::read_to_string("/sys/kernel/security/lsm").ok()
}

/// Of hooks that refuse.
pub(super) fn refusing(mechanism: Mechanism) -> Security {
    // What cannot be told counts as the worse.
    let may = KernelVersion::current().map_or(true, |version| mechanism.may_be_skipped(version));
    if may && is_preemptible() {
        Security::Skipped(mechanism)
    } else {
        Security::InForce(mechanism)
    }
}

/// Whether `kernel.ftrace_enabled` is 0, which no kernel before 6.1 allows while programs
/// are attached, and none from 7.3 on.
pub(super) fn ftrace_is_off() -> bool {
    fs::read_to_string("/proc/sys/kernel/ftrace_enabled").is_ok_and(|text| text.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::{
        Mechanism::{BpfLsm, ModifyReturn},
        *,
    };

    #[test]
    fn a_module_that_is_not_listed_is_not_tried() {
        let tried = |list| order(list).collect::<Vec<_>>();
        for list in [Some("lockdown,capability\n"), Some("bpffs"), Some("")] {
            assert_eq!(tried(list), [ModifyReturn], "{list:?}");
        }
        for list in [Some("capability,bpf\n"), Some("bpf"), None] {
            assert_eq!(tried(list), [BpfLsm, ModifyReturn], "{list:?}");
        }
    }

    #[test]
    fn a_link_says_by_what_it_is_called() {
        assert_eq!(Mechanism::of_attach_type(26), Some(ModifyReturn));
        assert_eq!(Mechanism::of_attach_type(27), Some(BpfLsm));
        assert_eq!(Mechanism::of_attach_type(0), None);
    }

    #[test]
    fn which_kernels_pass_over_a_program() {
        let version = |(major, minor)| KernelVersion::new(major, minor, 0);
        for old in [(5, 10), (5, 11)].map(version) {
            assert!(!ModifyReturn.may_be_skipped(old) && !BpfLsm.may_be_skipped(old));
        }
        for middle in [(5, 15), (6, 1)].map(version) {
            assert!(ModifyReturn.may_be_skipped(middle) && BpfLsm.may_be_skipped(middle));
        }
        for new in [(6, 2), (7, 3)].map(version) {
            assert!(ModifyReturn.may_be_skipped(new) && !BpfLsm.may_be_skipped(new));
        }
        assert_eq!(Security::Skipped(ModifyReturn).in_force(), None);
    }

    #[test]
    fn only_what_helps_is_advised() {
        let mends = [Silence::FtraceOff, Silence::Broken].map(|silence| silence.mend("web"));
        assert_eq!(
            mends,
            ["sysctl kernel.ftrace_enabled=1", "airgap attach web"]
        );
    }
}
