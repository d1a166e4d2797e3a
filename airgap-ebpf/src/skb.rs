//! Packets of sealed cgroups, on their way out and in. Egress is the guarantee:
//! whatever got past the system call hooks ends here.

use airgap_common::{
    denial::{Hook, Reason},
    verdict::{self, Inbound},
};
use aya_ebpf::{
    bindings::__sk_buff, helpers::generated::bpf_skb_ancestor_cgroup_id, programs::SkBuffContext,
};

use crate::{
    packet::Packet,
    short::passes,
    subject::{Subject, find, hinted},
};

const PASS: i32 = 1;
const DROP: i32 = 0;
/// Every network namespace registers its loopback device first.
const LOOPBACK: u32 = 1;

/// `cgroup_skb/egress`: 1 passes, 0 drops (EPERM for datagrams).
#[inline(always)]
pub(crate) fn egress(ctx: &SkBuffContext) -> i32 {
    if !is_hinted(ctx.skb.skb) || short::<true>(ctx.skb.skb) {
        return PASS;
    }
    judge_egress(ctx.skb.skb)
}

/// Not inlined: the stack of the short way ends before this begins.
#[inline(never)]
fn judge_egress(skb: *mut __sk_buff) -> i32 {
    let Some(subject) = subject(skb) else {
        return PASS;
    };
    let packet = Packet::new(skb, 0, subject);
    let Some((ip, transport)) = packet.parse() else {
        packet.deny(Hook::Egress, Reason::Header, None);
        return DROP;
    };
    let socket = packet.socket(&ip);
    let verdict = verdict::egress(
        &ip,
        &transport,
        ifindex(skb) == LOOPBACK,
        &socket,
        subject.seal,
        subject.policy().ok(),
        &packet,
    );
    match verdict {
        Ok(()) => PASS,
        Err(reason) => {
            packet.deny(Hook::Egress, reason, Some((&ip, &transport)));
            DROP
        }
    }
}

/// `cgroup_skb/ingress`: 1 delivers, 0 drops.
#[inline(always)]
pub(crate) fn ingress(ctx: &SkBuffContext) -> i32 {
    if !is_hinted(ctx.skb.skb) || short::<false>(ctx.skb.skb) {
        return PASS;
    }
    judge_ingress(ctx.skb.skb)
}

/// As [`judge_egress`].
#[inline(never)]
fn judge_ingress(skb: *mut __sk_buff) -> i32 {
    let Some(subject) = subject(skb) else {
        return PASS;
    };
    let packet = Packet::new(skb, 0, subject);
    let Some((ip, transport)) = packet.parse() else {
        packet.deny(Hook::Ingress, Reason::Inbound, None);
        return DROP;
    };
    let socket = packet.socket(&ip);
    let verdict = verdict::ingress(
        &ip,
        &transport,
        ifindex(skb) == LOOPBACK,
        &socket,
        subject.seal,
        subject.policy().ok(),
        &packet,
    );
    match verdict {
        Ok(Inbound::Deliver) => PASS,
        Ok(Inbound::TagListener) if packet.tag(&transport) => PASS,
        Ok(Inbound::TagListener) => {
            packet.deny(Hook::Ingress, Reason::Inbound, None);
            DROP
        }
        Err(reason) => {
            packet.deny(Hook::Ingress, reason, Some((&ip, &transport)));
            DROP
        }
    }
}

#[inline(always)]
fn ifindex(skb: *mut __sk_buff) -> u32 {
    // SAFETY: the context is a __sk_buff.
    unsafe { (*skb).ifindex }
}

#[inline(always)]
fn short<const OUT: bool>(skb: *mut __sk_buff) -> bool {
    ifindex(skb) != LOOPBACK && passes::<0, OUT>(skb)
}

/// Whether the socket's cgroup may be a sealed one at all.
#[inline(always)]
fn is_hinted(skb: *mut __sk_buff) -> bool {
    // SAFETY: the helper takes any level, 0 stands for "no such ancestor".
    hinted(|level| unsafe { bpf_skb_ancestor_cgroup_id(skb, level as i32) })
}

#[inline(always)]
fn subject(skb: *mut __sk_buff) -> Option<Subject> {
    // SAFETY: the helper takes any level, 0 stands for "no such ancestor".
    find(|level| unsafe { bpf_skb_ancestor_cgroup_id(skb, level as i32) })
}
