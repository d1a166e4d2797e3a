//! Packets of sealed cgroups, on their way out and in. Egress is the guarantee:
//! whatever got past the system call hooks ends here.

use airgap_common::{
    denial::{Hook, Reason},
    verdict::{self, Inbound, short},
};
use aya_ebpf::{
    bindings::__sk_buff, helpers::generated::bpf_skb_ancestor_cgroup_id, programs::SkBuffContext,
};

use crate::{
    packet::Packet,
    short::passes,
    subject::{Subject, epoch, hinted},
    verifier::forgotten,
};

const PASS: i32 = 1;
const DROP: i32 = 0;
/// Every network namespace registers its loopback device first.
const LOOPBACK: u32 = 1;

/// `cgroup_skb/egress`: 1 passes, 0 drops (EPERM for datagrams).
#[inline(always)]
pub(crate) fn egress(ctx: &SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    if !is_hinted(skb) || passes_short::<true>(skb) {
        return PASS;
    }
    match judge_egress(skb) {
        0 => PASS,
        reason => refuse::<true>(skb, forgotten(reason.into(), 32, ifindex(skb))),
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
    let on_lo = ifindex(skb) == LOOPBACK;
    // Asked before the verdict, so that what it is asked of need not outlive that.
    let for_peer = !on_lo && short::is_judged(&socket, &transport, subject.seal, policy);
    let verdict = verdict::egress(
        &ip,
        &transport,
        on_lo,
        &socket,
        subject.seal,
        Some(policy),
        &packet,
    );
    match verdict {
        Ok(()) => {
            if for_peer {
                packet.renew_for_peer(epoch);
            }
            0
        }
        Err(reason) => reason as u32,
    }
}

/// Drops it, for the reason of this number.
#[inline(never)]
fn refuse<const OUT: bool>(skb: *mut __sk_buff, reason: u64) -> i32 {
    if let Some(subject) = Subject::of_packet(skb, epoch()) {
        let hook = if OUT { Hook::Egress } else { Hook::Ingress };
        Packet::new(skb, 0, subject).deny(hook, reason);
    }
    DROP
}

/// `cgroup_skb/ingress`: 1 delivers, 0 drops.
#[inline(always)]
pub(crate) fn ingress(ctx: &SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    if !is_hinted(skb) || passes_short::<false>(skb) {
        return PASS;
    }
    match judge_ingress(skb) {
        0 => PASS,
        reason => refuse::<false>(skb, forgotten(reason.into(), 32, ifindex(skb))),
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
        Ok(Inbound::Deliver) => 0,
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
    ifindex(skb) != LOOPBACK && passes::<0, OUT>(skb)
}

/// Whether the socket's cgroup may be a sealed one at all.
#[inline(always)]
fn is_hinted(skb: *mut __sk_buff) -> bool {
    // SAFETY: the helper takes any level, 0 stands for "no such ancestor".
    hinted(|level| unsafe { bpf_skb_ancestor_cgroup_id(skb, level as i32) })
}
