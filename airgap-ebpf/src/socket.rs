//! The socket that a packet belongs to, and the tag it carries.

use core::mem::offset_of;

use airgap_common::{
    addr::Addr,
    map::{Policy, SealNumber, Storage, Tag},
    verdict::{Socket, short},
};
use aya_ebpf::{
    bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    helpers::generated::{bpf_get_listener_sock, bpf_sk_fullsock, bpf_sk_storage_get},
};

use crate::maps::SOCKETS;

/// The packet's socket, for a SYN-ACK the listener's; null if it has none or what
/// is left of one. The cgroup hooks name the listener themselves; a frame still
/// has the request, which the kernel made of a SYN that this listener got.
#[inline(always)]
pub(crate) fn full_socket(skb: *mut __sk_buff) -> *mut bpf_sock {
    // SAFETY: the context is a __sk_buff, and null is checked.
    unsafe {
        let sk = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() { sk } else { full(sk) }
    }
}

/// The full socket that this one is, or the listener whose request it is; or null.
///
/// # Safety
/// `sk` is a socket pointer that the verifier knows, not null.
#[inline(always)]
pub(crate) unsafe fn full(sk: *mut bpf_sock) -> *mut bpf_sock {
    // SAFETY: the caller's promise.
    unsafe {
        let full = bpf_sk_fullsock(sk);
        if full.is_null() {
            bpf_get_listener_sock(sk)
        } else {
            full
        }
    }
}

/// What is kept with a socket, or null.
///
/// # Safety
/// `sk` is a socket pointer that the verifier knows.
#[inline(always)]
pub(crate) unsafe fn storage(sk: *mut bpf_sock) -> *mut Storage {
    // SAFETY: map and socket are live; without the flag nothing is made.
    unsafe { bpf_sk_storage_get(SOCKETS.as_ptr(), sk.cast(), core::ptr::null_mut(), 0).cast() }
}

/// The same; made if it is not there, all zero. Null if there is no memory for it.
///
/// # Safety
/// `sk` is a socket pointer that the verifier knows.
#[inline(always)]
pub(crate) unsafe fn make_storage(sk: *mut bpf_sock) -> *mut Storage {
    let create = BPF_SK_STORAGE_GET_F_CREATE.into();
    // SAFETY: map and socket are live.
    unsafe { bpf_sk_storage_get(SOCKETS.as_ptr(), sk.cast(), core::ptr::null_mut(), create).cast() }
}

/// The tag of a socket, or null: one that has storage may still have none, which
/// its seal says.
///
/// # Safety
/// `sk` is a full socket.
#[inline(always)]
pub(crate) unsafe fn tag_of(sk: *mut bpf_sock) -> *mut Tag {
    // It comes first, so null stays null.
    const _: () = assert!(offset_of!(Storage, tag) == 0);
    // SAFETY: the caller's promise.
    unsafe { storage(sk).cast() }
}

/// Erases the tag of a socket, and who is at its other end.
///
/// # Safety
/// `sk` is a socket pointer that the verifier knows.
#[inline(always)]
pub(crate) unsafe fn erase_tag(sk: *mut bpf_sock) {
    // SAFETY: the caller's promise; what is found is a live value.
    unsafe {
        let storage = storage(sk);
        if !storage.is_null() {
            // Without a seal the rest means nothing, and the epoch is none either.
            (&raw mut (*storage).tag.seal).write_volatile(Tag::NONE.seal);
            (&raw mut (*storage).tag.epoch).write_volatile(Tag::NO_EPOCH);
            (&raw mut (*storage).tag.told).write_volatile(0);
            (&raw mut (*storage).near.ports).write_volatile(0);
        }
    }
}

/// Its peer's address, as a socket of this IP version has it.
///
/// # Safety
/// `sk` is a full socket.
#[inline(always)]
pub(crate) unsafe fn peer(sk: *mut bpf_sock, v4: bool) -> Addr {
    // SAFETY: the caller's promise. Volatile, or LLVM merges the loads into one
    // that the verifier refuses.
    unsafe {
        if v4 {
            Addr::v4((*sk).dst_ip4)
        } else {
            Addr([
                core::ptr::read_volatile(&raw const (*sk).dst_ip6[0]),
                core::ptr::read_volatile(&raw const (*sk).dst_ip6[1]),
                core::ptr::read_volatile(&raw const (*sk).dst_ip6[2]),
                core::ptr::read_volatile(&raw const (*sk).dst_ip6[3]),
            ])
        }
    }
}

/// The socket as the verdict sees it.
///
/// # Safety
/// `sk` is a full socket.
#[inline(always)]
pub(crate) unsafe fn facts(sk: *mut bpf_sock, peer: Addr, tag: Tag) -> Socket {
    // SAFETY: the caller's promise.
    unsafe {
        Socket {
            exists: true,
            bound: (*sk).bound_dev_if != 0,
            kind: (*sk).type_,
            protocol: (*sk).protocol,
            state: (*sk).state,
            sport: (*sk).src_port as u16,
            dport: u16::from_be((*sk).dst_port),
            peer,
            tag,
        }
    }
}

/// Tags a listener that got a SYN to a service port; false if there is no memory
/// for it. `policy` was read in `epoch`.
///
/// # Safety
/// `sk` is a full socket.
#[inline(always)]
pub(crate) unsafe fn write_tag(
    sk: *mut bpf_sock,
    seal: SealNumber,
    port: u16,
    policy: &Policy,
    epoch: u32,
) -> bool {
    let mut tag = Tag {
        seal,
        epoch: Tag::NO_EPOCH,
        port,
        peer_only: 0,
        told: 0,
    };
    if policy.flags & Policy::CLIENTS_ANY != 0 {
        tag.epoch = epoch;
    }
    // SAFETY: the caller's promise; what is found is a live value.
    unsafe {
        let storage = make_storage(sk);
        if storage.is_null() {
            return false;
        }
        if (*storage).tag != tag {
            (*storage).tag = tag;
        }
    }
    true
}

/// Tags a socket that connects by the exception `number`; false if there is no memory
/// for it.
///
/// # Safety
/// `sk` is a socket pointer that the verifier knows.
#[inline(always)]
pub(crate) unsafe fn write_exit_tag(sk: *mut bpf_sock, seal: SealNumber, number: u32) -> bool {
    // SAFETY: the caller's promise; what is found is a live value.
    unsafe {
        let storage = make_storage(sk);
        if storage.is_null() {
            return false;
        }
        (*storage).tag = Tag::exit(seal, number);
    }
    true
}

/// Brings a tag that is older than `epoch`, in which `policy` was read, up to it,
/// if the policy lets it: what comes next is judged in short. Not inlined: the ways
/// through it are of no concern to the verdict.
///
/// # Safety
/// `tag` is a live value of the map.
#[inline(never)]
pub(crate) unsafe fn renew_tag(tag: *mut Tag, seal: SealNumber, policy: &Policy, epoch: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        if short::opens(&*tag, seal, policy) {
            (*tag).epoch = epoch;
        }
    }
}

/// Has a connection's tag name `epoch`, for its peer alone; see [`short::is_judged`].
///
/// # Safety
/// `tag` is a live value of the map.
#[inline(always)]
pub(crate) unsafe fn renew_for_peer(tag: *mut Tag, epoch: u32) {
    // SAFETY: the caller's promise. In this order: the epoch alone would mean any client.
    unsafe {
        (&raw mut (*tag).peer_only).write_volatile(1);
        (&raw mut (*tag).epoch).write_volatile(epoch);
    }
}
