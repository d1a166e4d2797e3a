//! `socket()`: only TCP and UDP, and a mark on what was created inside.

use airgap_common::{
    addr::Addr,
    denial::{Attribution, Hook, Reason},
    map::{Mark, SealNumber},
    verdict::socket_errno,
};
use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::{bpf_set_retval, bpf_sk_storage_get},
    },
    programs::SockContext,
};

use crate::{
    denial::{Details, deny},
    kernel::HAS_SET_RETVAL,
    maps::MARKS,
    subject::Subject,
};

/// `cgroup/sock_create`: 1 allows, 0 refuses.
#[inline(always)]
pub(crate) fn create(ctx: &SockContext) -> i32 {
    let Some(subject) = Subject::of_task() else {
        return 1;
    };
    // SAFETY: the context of this program type is a bpf_sock.
    let (family, kind, protocol) =
        unsafe { ((*ctx.sock).family, (*ctx.sock).type_, (*ctx.sock).protocol) };
    let mut mark = current(subject.seal);
    let Some(errno) = socket_errno(kind, protocol) else {
        // Without a mark (no memory) the socket is only judged more strictly.
        // SAFETY: map and socket are live; `mark` has the map's value layout.
        unsafe {
            bpf_sk_storage_get(
                MARKS.as_ptr(),
                ctx.sock.cast(),
                (&raw mut mark).cast(),
                BPF_SK_STORAGE_GET_F_CREATE.into(),
            );
        }
        return 1;
    };
    if HAS_SET_RETVAL.load() == 1 {
        // SAFETY: sets the errno that `socket()` returns.
        unsafe { bpf_set_retval(-errno) };
    }
    deny(
        &subject,
        &Details {
            hook: Hook::SockCreate,
            reason: Reason::SocketType,
            attribution: Attribution::Task,
            mark,
            protocol: protocol as u8,
            src: Addr::default(),
            dst: Addr::default(),
            sport: 0,
            dport: 0,
            family: family as u16,
            kind: kind as u16,
            ifindex: 0,
        },
        None,
    );
    0
}

/// Who runs now.
#[inline(always)]
pub(crate) fn current(seal: SealNumber) -> Mark {
    let ids = bpf_get_current_pid_tgid();
    let users = bpf_get_current_uid_gid();
    Mark {
        seal,
        tgid: (ids >> 32) as u32,
        tid: ids as u32,
        uid: users as u32,
        gid: (users >> 32) as u32,
        comm: bpf_get_current_comm().unwrap_or_default(),
    }
}

/// The mark of a socket under this seal.
///
/// # Safety
/// `sk` is a socket pointer that the verifier knows.
#[inline(always)]
pub(crate) unsafe fn mark_of(sk: *mut bpf_sock, seal: SealNumber) -> Option<*mut Mark> {
    // SAFETY: the caller's promise; the map is live.
    let mark = unsafe {
        bpf_sk_storage_get(MARKS.as_ptr(), sk.cast(), core::ptr::null_mut(), 0).cast::<Mark>()
    };
    if mark.is_null() {
        return None;
    }
    // SAFETY: not null, so it points to a live value of the map.
    (unsafe { (*mark).seal } == seal).then_some(mark)
}
