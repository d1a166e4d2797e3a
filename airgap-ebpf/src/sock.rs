//! `socket()`: only TCP and UDP. `bind()`: a mark on the socket, which says who uses it.

use airgap_common::{
    addr::Addr,
    denial::{Hook, Reason},
    map::{MAX_WAITING_VETHS, Mark, QUARANTINED, SealNumber, Switch, UNOWNED, UNRECORDED},
    verdict::socket_errno,
};
use aya_ebpf::{
    bindings::bpf_sock,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::{bpf_get_netns_cookie, bpf_set_retval},
    },
    programs::SockContext,
};

use crate::{
    denial::{Details, Who, deny},
    kernel::HAS_SET_RETVAL,
    maps::{SWITCHES, VETHS, WAITING},
    socket,
    subject::Subject,
    task,
};

/// `cgroup/sock_create`: 1 allows, 0 refuses.
#[inline(always)]
pub(crate) fn create(ctx: &SockContext) -> i32 {
    // SAFETY: the context of this program type is a bpf_sock.
    let (family, kind, protocol) =
        unsafe { ((*ctx.sock).family, (*ctx.sock).type_, (*ctx.sock).protocol) };
    let errno = socket_errno(kind, protocol);
    // Before whose task it is: nearly all are everybody's, and no veth waits for its owner.
    if errno.is_none() && SWITCHES.get(Switch::Waiting as u32) == Some(&0) {
        return 1;
    }
    let Some(subject) = Subject::of_task() else {
        return 1;
    };
    let Some(errno) = errno else {
        claim(ctx, subject.seal);
        return 1;
    };
    let audited = subject.is_audited();
    if HAS_SET_RETVAL.load() == 1 && !audited {
        // SAFETY: sets the errno that `socket()` returns.
        unsafe { bpf_set_retval(-errno) };
    }
    deny(
        &subject,
        &Details {
            hook: Hook::SockCreate,
            reason: Reason::SocketType as u64,
            who: Who::Task,
            protocol: protocol as u8,
            src: Addr::default(),
            dst: Addr::default(),
            sport: 0,
            dport: 0,
            family: family as u16,
            kind: kind as u16,
            ifindex: 0,
        },
    );
    if !audited {
        return 0;
    }
    claim(ctx, subject.seal);
    note(ctx.sock, subject.seal);
    1
}

/// `cgroup/post_bind4`, `cgroup/post_bind6`: who listens, or receives, as no other hook sees
/// that task. Allows everything.
#[inline(always)]
pub(crate) fn bound(ctx: &SockContext) -> i32 {
    if let Some(subject) = Subject::of_task() {
        note(ctx.sock, subject.seal);
    }
    1
}

/// Notes who uses a socket now. Without memory for it nobody does, for all that is known. Not
/// inlined: what is known of the socket does not matter here.
#[inline(never)]
pub(crate) fn note(sk: *mut bpf_sock, seal: SealNumber) -> u32 {
    // SAFETY: the verifier knows the socket; a new mark is zero.
    unsafe {
        let storage = socket::make_storage(sk);
        if storage.is_null() {
            return 0;
        }
        write_mark(&raw mut (*storage).mark, seal);
    }
    1
}

/// Makes the unowned veths of the network namespace that the socket is in this seal's.
#[inline(always)]
fn claim(ctx: &SockContext, seal: SealNumber) {
    // Those have no policy, and whoever lifts them knows no veths.
    if seal == UNRECORDED || seal == QUARANTINED {
        return;
    }
    // SAFETY: the context of this program type, which the helper takes (Linux 5.7).
    let cookie = unsafe { bpf_get_netns_cookie(ctx.sock.cast()) };
    // SAFETY: the reference is used only while this program runs.
    let Some(waiting) = (unsafe { WAITING.get(cookie) }) else {
        return;
    };
    let mut i = 0;
    while i < MAX_WAITING_VETHS {
        if let Some(veth) = VETHS.get_ptr_mut(waiting.veths[i]) {
            // SAFETY: a live map value; the number is written in one piece.
            unsafe {
                if (*veth).seal == UNOWNED {
                    core::ptr::write_volatile(&raw mut (*veth).seal, seal);
                }
            }
        }
        i += 1;
    }
}

/// Writes who runs now into a socket's mark.
///
/// # Safety
/// `mark` is a live map value.
#[inline(always)]
unsafe fn write_mark(mark: *mut Mark, seal: SealNumber) {
    let ids = bpf_get_current_pid_tgid();
    // SAFETY: the caller's promise; a torn write only mixes two users of a socket.
    unsafe {
        if (*mark).seal == seal && u64::from((*mark).tgid) == ids >> 32 {
            // What a process cannot change is left as it is.
            (*mark).tid = ids as u32;
            let users = bpf_get_current_uid_gid();
            (*mark).uid = users as u32;
            (*mark).gid = (users >> 32) as u32;
            task::write_comm(&raw mut (*mark).comm);
            return;
        }
        (*mark).seal = seal;
        task::write!(mark);
    }
}

/// The mark of a socket under this seal.
///
/// # Safety
/// `sk` is a socket pointer that the verifier knows.
#[inline(always)]
pub(crate) unsafe fn mark_of(sk: *mut bpf_sock, seal: SealNumber) -> Option<*mut Mark> {
    // SAFETY: the caller's promise.
    let storage = unsafe { socket::storage(sk) };
    if storage.is_null() {
        return None;
    }
    // SAFETY: not null, so it points to a live value of the map.
    let mark = unsafe { &raw mut (*storage).mark };
    // SAFETY: as above.
    let (of, tgid) = unsafe { ((*mark).seal, (*mark).tgid) };
    // Storage that was made for a tag has no mark, and UNRECORDED is zero, too.
    (of == seal && tgid != 0).then_some(mark)
}
