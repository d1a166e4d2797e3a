//! Whether a cgroup is sealed, and by which seal.
//!
//! A container's processes may sit in cgroups below the container's own, so the
//! look-up goes by ancestor: nothing a container creates below itself needs an
//! entry, and nothing it creates there can fill a map.

use airgap_common::{
    denial::Reason,
    map::{HINT_BUCKETS, MAX_LEVEL, Policy, SealNumber, Stat, UNRECORDED, overflow_slot},
};
use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;

use crate::{
    kernel::{cgroup_id, cgroup_parent},
    maps::{CGROUPS, HINTS, LEVELS, OVERFLOW, POLICIES, STATS},
};

/// A sealed cgroup.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) seal: SealNumber,
    /// Cgroup id of the container, not of the nested cgroup.
    pub(crate) cgroup: u64,
    /// Its level below the root.
    pub(crate) level: u32,
}

impl Subject {
    /// Of the task that runs now. Not for packets: they pass in any context.
    #[inline(always)]
    pub(crate) fn of_task() -> Option<Self> {
        // SAFETY: the helper takes any level, 0 stands for "no such ancestor".
        find(|level| unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) })
    }

    #[inline(always)]
    pub(crate) fn policy(&self) -> Result<&'static Policy, Reason> {
        // SAFETY: the reference is used only while this program runs; userspace
        // replaces the element as a whole.
        unsafe { POLICIES.get(self.seal) }.ok_or(Reason::Unrecorded)
    }

    /// Whether `cgroup`, a `struct cgroup`, is this container's or below it.
    #[inline(always)]
    pub(crate) fn contains(&self, cgroup: u64) -> bool {
        let mut at = cgroup;
        let mut i = 0;
        // One more than MAX_LEVEL below would do; nesting may go deeper.
        while i < 32 {
            match cgroup_id(at) {
                Some(id) if id == self.cgroup => return true,
                None => return false,
                _ => {}
            }
            match cgroup_parent(at) {
                Some(parent) if parent != 0 => at = parent,
                _ => return false,
            }
            i += 1;
        }
        false
    }
}

/// Looks for a sealed cgroup among the ancestors that `ancestor` names.
#[inline(always)]
pub(crate) fn find(ancestor: impl Fn(u32) -> u64) -> Option<Subject> {
    let mut level = 1;
    while level <= MAX_LEVEL {
        if let Some(1) = LEVELS.get(level) {
            let id = ancestor(level);
            if id == 0 {
                return None;
            }
            if let Some(seal) = seal_of(id) {
                return Some(Subject {
                    seal,
                    cgroup: id,
                    level,
                });
            }
        }
        level += 1;
    }
    None
}

/// Whether a sealed cgroup may be among the ancestors, by the hints alone: a
/// "no" is certain.
#[inline(always)]
pub(crate) fn hinted(ancestor: impl Fn(u32) -> u64) -> bool {
    let mut level = 1;
    while level <= MAX_LEVEL {
        if let Some(1) = LEVELS.get(level) {
            let id = ancestor(level);
            if id == 0 {
                return false;
            }
            if is_hint(id) {
                return true;
            }
        }
        level += 1;
    }
    false
}

#[inline(always)]
fn is_hint(id: u64) -> bool {
    HINTS
        .get(id as u32 & (HINT_BUCKETS - 1))
        .is_some_and(|hint| *hint != 0)
}

/// The seal of exactly this cgroup.
#[inline(always)]
pub(crate) fn seal_of(id: u64) -> Option<SealNumber> {
    if !is_hint(id) {
        return None;
    }
    // SAFETY: the value is copied out at once.
    if let Some(seal) = unsafe { CGROUPS.get(id) } {
        return Some(*seal);
    }
    overflowed(id).then_some(UNRECORDED)
}

#[inline(always)]
fn overflowed(id: u64) -> bool {
    match STATS.get(Stat::Overflowed as u32) {
        Some(0) | None => false,
        Some(_) => match OVERFLOW.get(overflow_slot(id)) {
            Some(slot) => *slot == id || *slot == u64::MAX,
            None => true,
        },
    }
}
