//! Seals that are audits: all is judged and told, and nothing refused. The flag is read
//! from the seal's own policy where a verdict falls ([`Subject::is_audited`]); what is here
//! besides only saves telling one attempt twice, by each hook that a seal would never have
//! let it come to.

use airgap_common::{
    denial::Reason,
    map::{Storage, Tag},
    packet::{TCP, UDP},
    verdict::state,
};
use aya_ebpf::bindings::{__sk_buff, bpf_sock};

use crate::{
    socket::{full_socket, make_storage, storage},
    subject::{Subject, epoch},
};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// What a call asked for was told: the segments, or the datagram, that come of it are not.
///
/// # Safety
/// `sk` is a socket pointer that the verifier knows.
#[inline(always)]
pub(crate) unsafe fn tell(sk: *mut bpf_sock) {
    // SAFETY: the caller's promise; what is found is a live value.
    unsafe { set(make_storage(sk), Tag::TOLD | Tag::LET_OUT) };
}

/// 1 if a packet that a seal would refuse passes untold, as its socket is under audit and
/// what it does was told. Remembers that it was told, of a connection; a datagram is told
/// each time.
#[inline(never)]
pub(crate) fn is_told<const OUT: bool>(skb: *mut __sk_buff, reason: u64) -> u32 {
    let Some(subject) = Subject::of_packet(skb, epoch()) else {
        return 0;
    };
    if !subject.is_audited() {
        return 0;
    }
    let sk = full_socket(skb);
    if sk.is_null() {
        return 0;
    }
    // SAFETY: not null, and a full socket.
    let (protocol, listens) = unsafe { ((*sk).protocol as u8, (*sk).state == state::LISTEN) };
    let listens = listens && protocol == TCP;
    if OUT && listens {
        // The answer to a SYN, which was counted as it came.
        return 1;
    }
    // SAFETY: as above; what is found is a live value.
    unsafe {
        if !OUT && !listens {
            // What a seal would not have asked for has no answer either.
            let kept = storage(sk);
            return u32::from(!kept.is_null() && (*kept).tag.told != 0);
        }
        let kept = make_storage(sk);
        if kept.is_null() {
            return 0;
        }
        if listens {
            // A client that a seal would not let in: what is accepted is told here.
            set(kept, Tag::TOLD);
            return 0;
        }
        let told = (*kept).tag.told & Tag::TOLD != 0;
        set(
            kept,
            if protocol == TCP {
                Tag::TOLD | Tag::LET_OUT
            } else {
                Tag::LET_OUT
            },
        );
        // The call leaves a question to egress, which can read it.
        u32::from(told && !(protocol == UDP && reason == Reason::Dns as u64))
    }
}

/// # Safety
/// `kept` is null or a live value of the map.
#[inline(always)]
unsafe fn set(kept: *mut Storage, told: u8) {
    if !kept.is_null() {
        // SAFETY: the caller's promise.
        unsafe { (&raw mut (*kept).tag.told).write_volatile(told) };
    }
}

/// Whether the socket's egress has told of a frame under audit already: it sees all that
/// sockets of IP send, and no hardware address.
#[inline(always)]
pub(crate) fn is_egress_told(skb: *mut __sk_buff, subject: &Subject, reason: u64) -> bool {
    if reason == Reason::NextHop as u64 || !subject.is_audited() {
        return false;
    }
    let sk = full_socket(skb);
    if sk.is_null() {
        return false;
    }
    // SAFETY: not null, and a full socket.
    let family = unsafe { (*sk).family };
    (family == AF_INET || family == AF_INET6) && is_of(skb, subject)
}

/// Whether a frame passes that a seal would drop. Its veth's seal is an audit, and so is that
/// of its socket: containers may share a veth.
#[inline(always)]
pub(crate) fn passes_frame(skb: *mut __sk_buff, subject: &Subject) -> bool {
    subject.is_audited()
        && match Subject::of_packet(skb, epoch()) {
            Some(sender) => sender.seal == subject.seal,
            None => true,
        }
}

#[inline(always)]
fn is_of(skb: *mut __sk_buff, subject: &Subject) -> bool {
    Subject::of_packet(skb, epoch()).is_some_and(|sender| sender.seal == subject.seal)
}
