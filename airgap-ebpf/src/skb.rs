//! Packets of sealed cgroups, on their way out and in. Egress is the guarantee:
//! whatever got past the system call hooks ends here.

use airgap_common::{
    addr::Addr,
    denial::{Hook, Reason},
    map::Policy,
    verdict::{self, Inbound, Socket, short},
};
use aya_ebpf::{
    bindings::__sk_buff, helpers::generated::bpf_skb_ancestor_cgroup_id, programs::SkBuffContext,
};

use crate::{
    audit, local,
    packet::Packet,
    short::passes,
    socket,
    subject::{Subject, epoch, hinted},
    udp,
    verifier::forgotten,
};

const PASS: i32 = 1;
const DROP: i32 = 0;
/// What a judgement says instead of 0 where the segment is one of a connection whose tag may
/// name the epoch: no number of a [`Reason`].
const FOR_PEER: u32 = 1 << 8;
/// Every network namespace registers its loopback device first.
const LOOPBACK: u32 = 1;

/// `cgroup_skb/egress`: 1 passes, 0 drops (EPERM for datagrams).
#[inline(always)]
pub(crate) fn egress(ctx: &SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    if !is_hinted(skb) || passes_short::<true>(skb) {
        return PASS;
    }
    // Before the verdict: what another policy allowed is none of this epoch's.
    let began = epoch();
    match judge_egress(skb) {
        0 => PASS,
        FOR_PEER => {
            renew_for_peer(skb, began);
            PASS
        }
        reason => {
            let near = ifindex(skb) == LOOPBACK && reason == Reason::Loopback as u32;
            let reason = if near {
                judge_near(skb)
            } else if reason == Reason::Unasked as u32 {
                udp::judge_answer(skb)
            } else {
                reason
            };
            if reason == 0 {
                return PASS;
            }
            refuse::<true>(skb, forgotten(reason.into(), 32, ifindex(skb)))
        }
    }
}

/// What exceptions say of a packet on loopback, as [`judge_egress`]. A function of its own
/// for its stack.
#[inline(never)]
fn judge_near(skb: *mut __sk_buff) -> u32 {
    let epoch = epoch();
    let Some(subject) = Subject::of_packet(skb, epoch) else {
        return 0;
    };
    let Ok(policy) = subject.policy_in(epoch) else {
        return Reason::Unrecorded as u32;
    };
    if policy.flags & Policy::LOOPBACK_EXITS == 0 {
        return Reason::Loopback as u32;
    }
    let packet = Packet::new(skb, 0, subject);
    let Some((ip, transport)) = packet.parse() else {
        return Reason::Header as u32;
    };
    let socket = packet.socket(&ip);
    match verdict::near(&ip, &transport, &socket, subject.seal, policy, &packet) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// Number of the [`Reason`] to drop it, or 0. Not inlined: the stack of the short
/// way ends before this begins, and this one's before a denial is written.
#[inline(never)]
fn judge_egress(skb: *mut __sk_buff) -> u32 {
    let epoch = epoch();
    let Some(subject) = Subject::of_packet(skb, epoch) else {
        return 0;
    };
    let packet = Packet::new(skb, 0, subject);
    let Some((ip, transport)) = packet.parse() else {
        return Reason::Header as u32;
    };
    let socket = packet.socket(&ip);
    let Ok(policy) = subject.policy_in(epoch) else {
        return Reason::Unrecorded as u32;
    };
    packet.renew(policy, epoch);
    let verdict = verdict::egress(
        &ip,
        &transport,
        ifindex(skb) == LOOPBACK,
        &socket,
        subject.seal,
        Some(policy),
        &packet,
    );
    match verdict {
        Ok(()) if is_for_peer(skb, &socket, policy) => FOR_PEER,
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// Whether what passes is worth a look of [`renew_for_peer`].
#[inline(always)]
fn is_for_peer(skb: *mut __sk_buff, socket: &Socket, policy: &Policy) -> bool {
    ifindex(skb) != LOOPBACK
        && policy.flags & Policy::CLIENTS_ANY == 0
        && short::is_connection(socket.state)
}

/// After a segment was judged and passes: has its connection's tag name the epoch in which
/// that began, for its peer alone. A function of its own for its stack.
#[inline(never)]
fn renew_for_peer(skb: *mut __sk_buff, epoch: u32) -> u32 {
    let sk = socket::full_socket(skb);
    if sk.is_null() {
        return 0;
    }
    let Some(subject) = Subject::of_packet(skb, epoch) else {
        return 0;
    };
    let Ok(policy) = subject.policy_in(epoch) else {
        return 0;
    };
    // SAFETY: not null, a full socket, and what is found is a live value.
    unsafe {
        let tag = socket::tag_of(sk);
        if tag.is_null() {
            return 0;
        }
        // Its peer is none of what is asked.
        let facts = socket::facts(sk, Addr::default(), *tag);
        if short::is_judged(&facts, subject.seal, policy) {
            socket::renew_for_peer(tag, epoch);
        }
    }
    0
}

/// Drops it, for the reason of this number, unless the seal is an audit.
#[inline(never)]
fn refuse<const OUT: bool>(skb: *mut __sk_buff, reason: u64) -> i32 {
    if audit::is_told::<OUT>(skb, reason) != 0 {
        return PASS;
    }
    let Some(subject) = Subject::of_packet(skb, epoch()) else {
        return DROP;
    };
    let hook = if OUT { Hook::Egress } else { Hook::Ingress };
    Packet::new(skb, 0, subject).deny(hook, reason);
    if subject.is_audited() { PASS } else { DROP }
}

/// `cgroup_skb/ingress`: 1 delivers, 0 drops.
#[inline(always)]
pub(crate) fn ingress(ctx: &SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    if !is_hinted(skb) || passes_short::<false>(skb) {
        return PASS;
    }
    let began = epoch();
    match judge_ingress(skb) {
        0 => PASS,
        FOR_PEER => {
            renew_for_peer(skb, began);
            PASS
        }
        reason => {
            let reason = match reason == Reason::Unasked as u32 {
                true => udp::judge_ask(skb),
                false => reason,
            };
            if reason == 0 {
                return PASS;
            }
            refuse::<false>(skb, forgotten(reason.into(), 32, ifindex(skb)))
        }
    }
}

/// As [`judge_egress`].
#[inline(never)]
fn judge_ingress(skb: *mut __sk_buff) -> u32 {
    let epoch = epoch();
    let Some(subject) = Subject::of_packet(skb, epoch) else {
        return 0;
    };
    let packet = Packet::new(skb, 0, subject);
    let Some((ip, transport)) = packet.parse() else {
        return Reason::Inbound as u32;
    };
    let socket = packet.socket(&ip);
    let Ok(policy) = subject.policy_in(epoch) else {
        return Reason::Unrecorded as u32;
    };
    let verdict = verdict::ingress(
        &ip,
        &transport,
        ifindex(skb) == LOOPBACK,
        &socket,
        subject.seal,
        Some(policy),
        &packet,
    );
    match verdict {
        Ok(Inbound::Deliver) => {
            // From that very peer, as whoever looked the socket up knew.
            let by_peer = socket.peer.is(ip.src) && socket.dport == transport.sport;
            match by_peer && is_for_peer(skb, &socket, policy) {
                true => FOR_PEER,
                false => 0,
            }
        }
        Ok(Inbound::TagListener) if packet.tag(transport.dport, policy, epoch) => 0,
        Ok(Inbound::TagListener) => Reason::Inbound as u32,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn ifindex(skb: *mut __sk_buff) -> u32 {
    // SAFETY: the context is a __sk_buff.
    unsafe { (*skb).ifindex }
}

#[inline(always)]
fn passes_short<const OUT: bool>(skb: *mut __sk_buff) -> bool {
    if ifindex(skb) == LOOPBACK {
        local::passes::<OUT>(skb)
    } else {
        passes::<0, OUT>(skb) != 0
    }
}

/// Whether the socket's cgroup may be a sealed one at all.
#[inline(always)]
fn is_hinted(skb: *mut __sk_buff) -> bool {
    // SAFETY: the helper takes any level, 0 stands for "no such ancestor".
    hinted(|level| unsafe { bpf_skb_ancestor_cgroup_id(skb, level as i32) })
}
