//! Whether a cgroup is sealed, and by which seal.
//!
//! A container's processes may sit in cgroups below the container's own, so the
//! look-up goes by ancestor: nothing a container creates below itself needs an
//! entry, and nothing it creates there can fill a map.

use airgap_common::{
    denial::Reason,
    map::{
        HINT_BUCKETS, MAX_LEVEL, Policy, SealNumber, Stat, Tag, UNRECORDED, overflow_slot, packed,
        unpacked,
    },
};
use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id},
};

use crate::{
    kernel::{HAS_TASK_ANCESTOR, ancestor_id, cgroup_id, cgroup_parent, task_cgroup},
    maps::{CGROUPS, EPOCH, HINTS, LEVELS, OVERFLOW, POLICIES, STATS},
    verifier::after,
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
        at(airgap_task_seal(), |level| unsafe {
            bpf_get_current_ancestor_cgroup_id(level as i32)
        })
    }

    /// Of the task that runs now, for security hooks: tracing programs are refused the
    /// helper above before Linux 5.15.
    #[inline(always)]
    pub(crate) fn of_caller() -> Option<Self> {
        let found = airgap_caller_seal();
        let cgroup = caller_cgroup();
        at(found, |level| caller_ancestor(cgroup, level))
    }

    /// Of the socket that a packet belongs to, as it is in this epoch or in a later one.
    #[inline(always)]
    pub(crate) fn of_packet(skb: *mut __sk_buff, epoch: u32) -> Option<Self> {
        // SAFETY: as above.
        at(airgap_packet_seal(skb, epoch), |level| unsafe {
            bpf_skb_ancestor_cgroup_id(skb, level as i32)
        })
    }

    #[inline(always)]
    pub(crate) fn policy(&self) -> Result<&'static Policy, Reason> {
        // SAFETY: the reference is used only while this program runs; userspace
        // replaces the element as a whole.
        unsafe { POLICIES.get(self.seal) }.ok_or(Reason::Unrecorded)
    }

    /// The policy, as it is in this epoch or in a later one.
    #[inline(always)]
    pub(crate) fn policy_in(&self, epoch: u32) -> Result<&'static Policy, Reason> {
        // SAFETY: as above.
        unsafe { POLICIES.get(after(epoch, self.seal)) }.ok_or(Reason::Unrecorded)
    }

    /// Whether nothing of it is refused, as its own policy says. Read where a verdict falls:
    /// what has no policy is no audit.
    #[inline(always)]
    pub(crate) fn is_audited(&self) -> bool {
        self.policy()
            .is_ok_and(|policy| policy.flags & Policy::AUDIT != 0)
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

/// The present epoch, see [`Tag::epoch`].
#[inline(always)]
pub(crate) fn epoch() -> u32 {
    // SAFETY: a live array element. Volatile: read here, and not again later.
    EPOCH.get(0).map_or(Tag::NO_EPOCH, |epoch| unsafe {
        core::ptr::read_volatile(epoch)
    })
}

/// Seal and level of the sealed cgroup that the task is in or below, [`packed`]; 0 if there is
/// none.
/// A global function: the verifier walks it once, not once for each way that
/// leads to it and for each seal that it may return (Linux 5.6).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn airgap_task_seal() -> u64 {
    // SAFETY: the helper takes any level, 0 stands for "no such ancestor".
    find(|level| unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) })
}

/// The same for security hooks.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn airgap_caller_seal() -> u64 {
    let cgroup = caller_cgroup();
    find(|level| caller_ancestor(cgroup, level))
}

/// Where the helper is missing, the cgroup to ask instead.
#[inline(always)]
fn caller_cgroup() -> u64 {
    if HAS_TASK_ANCESTOR.load() == 1 {
        return 0;
    }
    task_cgroup().unwrap_or(0)
}

#[inline(always)]
fn caller_ancestor(cgroup: u64, level: u32) -> u64 {
    if HAS_TASK_ANCESTOR.load() == 1 {
        // SAFETY: the helper takes any level, 0 stands for "no such ancestor".
        return unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
    }
    ancestor_id(cgroup, level)
}

/// The same of a packet's socket, as it is in this epoch or in a later one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn airgap_packet_seal(skb: *mut __sk_buff, epoch: u32) -> u64 {
    find(|level| {
        // SAFETY: the helper takes any level, 0 stands for "no such ancestor".
        after(epoch, unsafe {
            bpf_skb_ancestor_cgroup_id(skb, level as i32)
        })
    })
}

/// Looks for a sealed cgroup among the ancestors that `ancestor` names; returns its seal and
/// its level, [`packed`], or 0.
#[inline(always)]
fn find(ancestor: impl Fn(u32) -> u64) -> u64 {
    let mut rest = u64::from(levels() as u32) >> 1;
    let mut level = 1;
    while level <= MAX_LEVEL && rest != 0 {
        if rest & 1 != 0 {
            let id = ancestor(level);
            if id == 0 {
                return 0;
            }
            if let Some(seal) = seal_of(id) {
                return packed(seal, level);
            }
        }
        rest >>= 1;
        level += 1;
    }
    0
}

/// The sealed cgroup that was found, if one was; `ancestor` tells its id by its level.
#[inline(always)]
fn at(found: u64, ancestor: impl Fn(u32) -> u64) -> Option<Subject> {
    let (seal, level) = unpacked(found);
    if level == 0 {
        return None;
    }
    Some(Subject {
        seal,
        cgroup: ancestor(level),
        level,
    })
}

/// Whether a sealed cgroup may be among the ancestors, by the hints alone: a
/// "no" is certain.
#[inline(always)]
pub(crate) fn hinted(ancestor: impl Fn(u32) -> u64) -> bool {
    let levels = levels();
    // Written out: most hosts have one level or two, and a turn of a loop costs as much as five
    // bits that are not set.
    macro_rules! at {
        ($($level:literal)+) => {$(
            if levels & 1 << $level != 0 {
                match ancestor($level) {
                    0 => return false,
                    id if is_hint(id) => return true,
                    _ => {}
                }
            }
        )+};
    }
    at!(1 2 3 4 5 6 7 8 9 10 11 12);
    const _: () = assert!(MAX_LEVEL == 12);
    false
}

/// Levels at which a cgroup was ever marked, one bit each.
#[inline(always)]
fn levels() -> u64 {
    // Either half says so.
    let both = LEVELS.get(0).copied().unwrap_or(u64::MAX);
    both | both >> 32
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
    if let Some(member) = unsafe { CGROUPS.get(id) } {
        return Some(member.seal);
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
