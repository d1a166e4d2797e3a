//! Frames, on the host's side of a sealed container's veth: the only place
//! that sees AF_PACKET and AF_XDP, frames that the container's kernel forwards
//! from lo, and what it says on its own. By tcx
//! (Linux 6.6) or, in direct-action mode, by clsact: the verdicts have the same numbers.

use airgap_common::{
    denial::{Hook, Reason},
    map::{Policy, Syn, SynSeen},
    packet::{ACK, Ip, Kind, SYN, Transport},
    verdict::{self, Kernel as _},
};
use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_ktime_get_ns, programs::TcContext};

use crate::{
    kernel::HASH_SEED,
    maps::{SYNS, VETHS},
    packet::{ETHERNET, Packet, client_allowed},
    short::{headers, passes},
    subject::Subject,
    verifier::forgotten,
};

/// `TCX_NEXT` and `TC_ACT_UNSPEC`: leave it to whatever else is attached.
const NEXT: i32 = -1;
/// `TCX_DROP` and `TC_ACT_SHOT`.
const DROP: i32 = 2;

pub(crate) const ETH_P_IP: u16 = 0x0800;
const ETH_P_ARP: u16 = 0x0806;
pub(crate) const ETH_P_IPV6: u16 = 0x86dd;
/// Ethernet and ARP for IPv4 (RFC 826).
const ARP_FRAME: u32 = 14 + 28;

/// Ingress of the host's veth: what the container sends.
#[inline(always)]
pub(crate) fn out(ctx: &TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // By its tag alone, whichever seal this veth is of: containers that share a
    // network namespace share its veths, too.
    if passes::<{ ETHERNET as usize }, true>(skb) {
        return NEXT;
    }
    match judge_out(skb) {
        0 => NEXT,
        // SAFETY: the context is a __sk_buff.
        reason => refuse(skb, forgotten(reason.into(), 32, unsafe { (*skb).ifindex })),
    }
}

/// Drops it, for the reason of this number.
#[inline(never)]
fn refuse(skb: *mut __sk_buff, reason: u64) -> i32 {
    if let Some(subject) = subject(skb) {
        Packet::new(skb, ETHERNET, subject).deny(Hook::Frame, reason);
    }
    DROP
}

/// Number of the [`Reason`] to drop it, or 0. Not inlined: the stack of the short
/// way ends before this begins, and this one's before a denial is written.
#[inline(never)]
fn judge_out(skb: *mut __sk_buff) -> u32 {
    let Some(subject) = subject(skb) else {
        return 0;
    };
    let packet = Packet::new(skb, ETHERNET, subject);
    // SAFETY: the context is a __sk_buff; `protocol` is a __be16 in a u32.
    let (protocol, tagged) = unsafe {
        (
            u16::from_be((*skb).protocol as u16),
            (*skb).vlan_present != 0,
        )
    };
    if tagged {
        return Reason::Frame as u32;
    }
    match protocol {
        ETH_P_IP | ETH_P_IPV6 => {}
        ETH_P_ARP if is_kernel_arp(skb, &packet) => return 0,
        _ => return Reason::Frame as u32,
    }
    let Some((ip, transport)) = packet.parse() else {
        return Reason::Header as u32;
    };
    let socket = packet.socket(&ip);
    let version = if protocol == ETH_P_IP { 4 } else { 6 };
    if ip.version != version {
        return Reason::Header as u32;
    }
    let verdict = verdict::frame(
        &ip,
        &transport,
        &socket,
        subject.seal,
        subject.policy().ok(),
        &packet,
    );
    match verdict {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// Egress of the host's veth: what goes to the container. Only remembers
/// which flows clients open.
#[inline(always)]
pub(crate) fn inward(ctx: &TcContext) -> i32 {
    const BASE: usize = ETHERNET as usize;
    let skb = ctx.skb.skb;
    if let Some((ip, transport)) = headers::<BASE, 4>(skb) {
        opens(skb, &ip, &transport);
    } else if let Some((ip, transport)) = headers::<BASE, 6>(skb) {
        opens(skb, &ip, &transport);
    } else if let Some(subject) = subject(skb)
        && let Some((ip, transport)) = Packet::new(skb, ETHERNET, subject).parse()
        && transport.kind == Kind::Tcp
    {
        opens(skb, &ip, &transport);
    }
    NEXT
}

/// Remembers the flow, if this TCP segment is a SYN to a service port.
#[inline(always)]
fn opens(skb: *mut __sk_buff, ip: &Ip, transport: &Transport) {
    if transport.flags & (SYN | ACK) == SYN {
        let mut syn = Syn {
            seal: 0,
            client: ip.src,
            own: ip.dst,
            client_port: transport.sport,
            port: transport.dport,
            _pad: 0,
        };
        remember(skb, &mut syn, transport.seq);
    }
}

/// Not inlined: the ways to come here need not be told apart.
#[inline(never)]
fn remember(skb: *mut __sk_buff, syn: &mut Syn, seq: u32) {
    let Some(subject) = subject(skb) else {
        return;
    };
    syn.seal = subject.seal;
    let Ok(policy) = subject.policy() else {
        return;
    };
    // Whoever may not come in shall not push out what is remembered of others.
    let any = policy.flags & Policy::CLIENTS_ANY != 0;
    if !policy.serves_tcp(syn.port) || !(any || client_allowed(syn.seal, syn.client)) {
        return;
    }
    if let Some(slot) = SYNS.get_ptr_mut(syn.slot(HASH_SEED.load())) {
        // SAFETY: a live map value. Two at once on one slot may leave a flow
        // between two clients; what the kernel says on it carries nothing.
        unsafe {
            *slot = SynSeen {
                syn: *syn,
                seq,
                answered: 0,
                time: bpf_ktime_get_ns(),
            };
        }
    }
}

#[inline(always)]
fn subject(skb: *mut __sk_buff) -> Option<Subject> {
    // SAFETY: the context is a __sk_buff; the value is copied out at once.
    let seal = *unsafe { VETHS.get((*skb).ifindex) }?;
    Some(Subject {
        seal,
        cgroup: 0,
        level: 0,
    })
}

/// ARP as the kernel makes it: no socket, no byte more than RFC 826 has, a
/// request or a reply for IPv4, and within the budget.
#[inline(always)]
fn is_kernel_arp(skb: *mut __sk_buff, packet: &Packet) -> bool {
    const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    const REPLY: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 2];
    // SAFETY: the context is a __sk_buff.
    let (len, sk) = unsafe { ((*skb).len, (*skb).__bindgen_anon_2.sk) };
    if len != ARP_FRAME || !sk.is_null() {
        return false;
    }
    let Some(head) = packet.load::<8>(0) else {
        return false;
    };
    (head == REQUEST || head == REPLY) && packet.neighbour_budget()
}
