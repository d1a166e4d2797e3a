//! Rebirth: a container that restarts gets a new cgroup, and it must be in the
//! map before any task can enter it. `cgroup_mkdir()` fires its tracepoint
//! before the directory becomes visible (kernel/cgroup/cgroup.c), with
//! `cgroup_mutex` held, so these programs never race each other.

use core::mem::MaybeUninit;

use airgap_common::{
    cgroup,
    map::{
        HINT_BUCKETS, ID_LEN, MAX_LEVEL, Member, PATH_LEN, Policy, QUARANTINED, SealNumber, Stat,
        Switch, UNRECORDED, Writer, overflow_slot,
    },
};
use aya_ebpf::{
    helpers::{
        bpf_probe_read_kernel,
        generated::{self, bpf_probe_read_kernel_str, bpf_send_signal},
    },
    programs::BtfTracePointContext,
};

use aya_log_ebpf::{debug, error};

use crate::{
    kernel::{
        OFF_CGROUP_KN, OFF_CGROUP_LEVEL, OFF_CGROUP_ROOT, OFF_KN_NAME, OFF_ROOT_HIERARCHY,
        cgroup_id, cgroup_parent, read,
    },
    maps::{
        ATTACHED, CGROUPS, HINTS, IDS, JUDGED, LEVELS, NEIGHBOURS, OVERFLOW, PATH, PATHS, POLICIES,
        STATS, SWITCHES, add,
    },
    subject::seal_of,
    verifier::forgotten,
};

const BPF_NOEXIST: u64 = 1;
const SIGKILL: u32 = 9;
/// How far up a sealed ancestor is looked for. A name with a sealed id further
/// down is refused like any other that cannot be guarded.
const WALK: u32 = 48;

/// `tp_btf/cgroup_mkdir(struct cgroup *cgrp, const char *path)`.
#[inline(always)]
pub(crate) fn mkdir(ctx: &BtfTracePointContext) {
    let cgroup = ctx.arg::<*const u8>(0) as u64;
    // For the verifier this one is a number already.
    let path = ctx.arg::<*const u8>(1) as u64;
    let Some((seal, id)) = reborn(cgroup, path) else {
        return;
    };
    let Some(level) = read::<u32>(cgroup, &OFF_CGROUP_LEVEL) else {
        return refuse();
    };
    if id == 0 || level == 0 || level > MAX_LEVEL {
        return refuse();
    }
    // By the other of two gates, while one is replaced.
    if CGROUPS.get_ptr(id).is_some() {
        return;
    }
    let top = top_of(cgroup, level);
    // None of its sockets may be before that is known, and no task is in it yet.
    let guarded = is_guarded(top) || is_audit(seal);
    // Hint and level first: without them the entry would not be looked for.
    if let Some(hint) = HINTS.get_ptr_mut(id as u32 & (HINT_BUCKETS - 1)) {
        // SAFETY: a live array element.
        unsafe { add(hint, 1) };
    }
    let Some(levels) = LEVELS.get_ptr_mut(0) else {
        return refuse();
    };
    // SAFETY: a live array element of two halves; who writes this one holds cgroup_mutex.
    unsafe {
        let levels = levels.cast::<u32>().add(Writer::Kernel as usize);
        *levels |= 1 << level;
    }
    let member = Member {
        seal: if guarded { seal } else { UNRECORDED },
        of: seal,
        top,
    };
    if CGROUPS.insert(id, member, BPF_NOEXIST).is_err() {
        overflow(id);
        error!(
            ctx,
            "cgroup {} of seal {} fits into no map and is denied everything", id, seal
        );
    }
    if !guarded {
        // After the entry: whoever counts them anew looks for those first.
        count(Stat::Unguarded);
        error!(
            ctx,
            "cgroup {} of seal {} is where nothing is attached, and is denied every socket",
            id,
            seal
        );
    }
    debug!(ctx, "cgroup {} is born under seal {}", id, seal);
    count(Stat::Reborn);
}

/// Id of the cgroup just below the root that this one is in; 0: it is one of those itself.
#[inline(always)]
fn top_of(cgroup: u64, level: u32) -> u64 {
    if level < 2 {
        return 0;
    }
    // Not by the function: what the tracepoint hands over is no number yet.
    let mut at = cgroup_parent(cgroup).unwrap_or(0);
    let mut i = 2;
    while i < MAX_LEVEL {
        if i < level {
            at = airgap_parent(at);
        }
        i += 1;
    }
    cgroup_id(at).unwrap_or(0)
}

/// Whether what is attached judges the packets of all that is below this cgroup: at the root,
/// or there.
#[inline(always)]
fn is_guarded(top: u64) -> bool {
    match SWITCHES.get(Switch::Apart as u32) {
        Some(0) => true,
        Some(_) => ATTACHED.get_ptr(top).is_some(),
        None => false,
    }
}

/// Whether nothing is refused to it wherever it is, as its seal's policy says.
#[inline(always)]
fn is_audit(seal: SealNumber) -> bool {
    // SAFETY: the reference is used at once.
    unsafe { POLICIES.get(seal) }.is_some_and(|policy| policy.flags & Policy::AUDIT != 0)
}

/// `tp_btf/cgroup_release`: not rmdir, as sockets outlive the directory.
#[inline(always)]
pub(crate) fn release(ctx: &BtfTracePointContext) {
    let cgroup = ctx.arg::<*const u8>(0) as u64;
    if !is_v2(cgroup) {
        return;
    }
    let Some(id) = cgroup_id(cgroup) else {
        return;
    };
    if CGROUPS.remove(id).is_ok() {
        debug!(ctx, "cgroup {} is released", id);
        if let Some(hint) = HINTS.get_ptr_mut(id as u32 & (HINT_BUCKETS - 1)) {
            // SAFETY: a live array element.
            unsafe { add(hint, u64::MAX) };
        }
        count(Stat::Released);
    } else if let Some(slot) = OVERFLOW.get_ptr_mut(overflow_slot(id)) {
        // SAFETY: a live array element; writers hold cgroup_mutex.
        unsafe {
            if *slot == id {
                *slot = 0;
            }
        }
    }
}

/// `tp_btf/cgroup_rmdir`: a neighbour is gone as soon as its directory is, however long
/// memory holds its cgroup.
#[inline(always)]
pub(crate) fn rmdir(ctx: &BtfTracePointContext) {
    let cgroup = ctx.arg::<*const u8>(0) as u64;
    if is_v2(cgroup)
        && let Some(id) = cgroup_id(cgroup)
    {
        let _ = NEIGHBOURS.remove(id);
    }
}

/// Ids of the v1 hierarchies collide with those of v2, which is number 0.
#[inline(always)]
fn is_v2(cgroup: u64) -> bool {
    read::<u64>(cgroup, &OFF_CGROUP_ROOT).and_then(|root| read::<u32>(root, &OFF_ROOT_HIERARCHY))
        == Some(0)
}

/// Seal and cgroup id, if this is a new cgroup of a sealed container, of one
/// that nobody has judged while such start denied, or one whose path is sealed.
#[inline(always)]
fn reborn(cgroup: u64, path: u64) -> Option<(SealNumber, u64)> {
    if !is_v2(cgroup) {
        return None;
    }
    let node = read::<u64>(cgroup, &OFF_CGROUP_KN)?;
    let seal = match of_container(read::<u64>(node, &OFF_KN_NAME)?) {
        Some(seal) => seal,
        None => match airgap_seal_of_path(path) {
            UNRECORDED => return None,
            seal => seal,
        },
    };
    // Below a sealed cgroup all is covered; entries there would only let a
    // container with a writable cgroup fill the map.
    if is_below(cgroup, airgap_is_sealed)
        || seal == QUARANTINED && is_below(cgroup, airgap_is_judged)
    {
        return None;
    }
    // 0 stands for a cgroup that cannot be read, and so not be guarded.
    Some((seal, cgroup_id(cgroup).unwrap_or(0)))
}

/// The seal of the container whose id this name carries.
#[inline(always)]
fn of_container(name: u64) -> Option<SealNumber> {
    let mut id = [0u8; ID_LEN];
    container_id(name, &mut id)?;
    // SAFETY: the value is copied out at once.
    match unsafe { IDS.get(&id) } {
        Some(seal) => Some(*seal),
        None if is_unjudged(&id) => Some(QUARANTINED),
        None => None,
    }
}

/// The seal of a cgroup's path, as the kernel writes it for its tracepoints;
/// [`UNRECORDED`] if there is none. It is put together in a map: the stack has no room
/// for it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn airgap_seal_of_path(path: u64) -> u64 {
    const WORDS: usize = PATH_LEN / 8;
    let Some(room) = PATH.get_ptr_mut(0) else {
        return UNRECORDED;
    };
    // SAFETY: a live array element, written with cgroup_mutex held; any source address is
    // taken, and no more than is said is written.
    unsafe {
        let words = room.cast::<u64>();
        let mut i = 0;
        while i < WORDS {
            words.add(i).write_volatile(0);
            i += 1;
        }
        let len = bpf_probe_read_kernel_str(
            room.cast(),
            PATH_LEN as u32,
            path as *const core::ffi::c_void,
        );
        // One that fills it may go on behind.
        if len <= 1 || len >= PATH_LEN as i64 {
            return UNRECORDED;
        }
        match PATHS.get(&*room.cast::<[u8; PATH_LEN]>()) {
            Some(seal) => *seal,
            None => UNRECORDED,
        }
    }
}

/// Whether an ancestor is one that `what` says 1 of. What it calls are global
/// functions: the verifier walks them once, not once for each ancestor (Linux 5.6).
#[inline(always)]
fn is_below(cgroup: u64, what: extern "C" fn(u64) -> u32) -> bool {
    // Not by the function: what the tracepoint hands over is no number yet.
    let mut at = cgroup_parent(cgroup).unwrap_or(0);
    let mut i = 0;
    while i < WALK && at != 0 {
        if what(at) != 0 {
            return true;
        }
        at = airgap_parent(at);
        i += 1;
    }
    false
}

/// 0 at the root, or if it cannot be read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn airgap_parent(cgroup: u64) -> u64 {
    cgroup_parent(cgroup).unwrap_or(0)
}

/// Whether this very cgroup is sealed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn airgap_is_sealed(cgroup: u64) -> u32 {
    cgroup_id(cgroup).and_then(seal_of).is_some().into()
}

/// Whether it is of a container that was let go: what that makes below itself no
/// engine of this host knows, and it must not fill the map.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn airgap_is_judged(cgroup: u64) -> u32 {
    let mut id = [0u8; ID_LEN];
    let name = read::<u64>(cgroup, &OFF_CGROUP_KN).and_then(|node| read(node, &OFF_KN_NAME));
    (name.and_then(|name| container_id(name, &mut id)).is_some() && was_let_go(&id)).into()
}

#[inline(always)]
fn was_let_go(id: &[u8; ID_LEN]) -> bool {
    JUDGED
        .get(0)
        .is_some_and(|judged| judged.get_ptr(id).is_some())
}

#[inline(always)]
fn is_unjudged(id: &[u8; ID_LEN]) -> bool {
    if SWITCHES.get(Switch::Quarantine as u32) != Some(&1) {
        return false;
    }
    let mut strange = 0;
    let mut i = 0;
    while i < ID_LEN {
        strange |= cgroup::NO_DIGIT[id[i] as usize];
        i += 1;
    }
    strange == 0 && !was_let_go(id)
}

/// The container id in a cgroup's name, if the name has one of the forms in
/// [`cgroup::FORMS`]. Not inlined: its stack is needed once.
#[inline(never)]
fn container_id(name: u64, id: &mut [u8; ID_LEN]) -> Option<()> {
    /// One for the NUL, and one by which a longer name is told.
    const ROOM: usize = cgroup::LONGEST + 2;
    // Left as it is: setting it is a loop, walked by the verifier for each ancestor.
    let mut copy = MaybeUninit::<[u64; ROOM.div_ceil(8)]>::uninit();
    // SAFETY: the buffer is as long as said; any source address is taken.
    let len = unsafe {
        bpf_probe_read_kernel_str(
            copy.as_mut_ptr().cast(),
            ROOM as u32,
            name as *const core::ffi::c_void,
        )
    };
    // The length counts the NUL.
    if len <= ID_LEN as i64 || len >= ROOM as i64 {
        return None;
    }
    let len = len as u64 - 1;
    // SAFETY: the helper filled more than this.
    let head = unsafe { copy.as_ptr().cast::<[u64; 2]>().read() };
    let tail = (name + len - cgroup::SCOPE.len() as u64) as *const [u8; 6];
    // SAFETY: probe_read fails on a bad address.
    let tail = unsafe { bpf_probe_read_kernel(tail) }.ok()?;
    let at = cgroup::id_at(len, head, tail)?;
    let at = forgotten(at.into(), cgroup::HEAD as u64, len as u32);
    // SAFETY: as above; into one buffer, as the stack has room for no second.
    let read = unsafe {
        generated::bpf_probe_read_kernel(
            id.as_mut_ptr().cast(),
            ID_LEN as u32,
            (name + at) as *const core::ffi::c_void,
        )
    };
    (read == 0).then_some(())
}

/// The map is full: remember the id where nothing can fail, and deny it all.
#[inline(always)]
fn overflow(id: u64) {
    if let Some(slot) = OVERFLOW.get_ptr_mut(overflow_slot(id)) {
        // SAFETY: a live array element; writers hold cgroup_mutex.
        unsafe {
            *slot = if *slot == 0 || *slot == id {
                id
            } else {
                u64::MAX
            }
        };
    }
    count(Stat::Overflowed);
}

/// A sealed container's cgroup that cannot be guarded must not get a process:
/// kill whoever makes it (runc; systemd is spared by the kernel, see
/// `bpf_send_signal`, and `status` reports the overflow).
#[inline(always)]
fn refuse() {
    // SAFETY: signals the current task only.
    unsafe { bpf_send_signal(SIGKILL) };
    count(Stat::Overflowed);
}

#[inline(always)]
fn count(stat: Stat) {
    if let Some(counter) = STATS.get_ptr_mut(stat as u32) {
        // SAFETY: a live array element.
        unsafe { add(counter, 1) };
    }
}
