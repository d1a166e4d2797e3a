//! Frames that go to a container.

use airgap_common::{
    map::{Policy, Syn, SynSeen},
    packet::ACK,
    verdict::inward::{self, Concern, Route, concern},
};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

use super::*;
use crate::{
    kernel::HASH_SEED, maps::SYNS, older, packet::client_allowed, questions, short::headers,
};

/// Egress of the host's veth: what goes to the container. Only what opens a
/// connection or changes a route is looked at: whether it can come from where it
/// says, and which flows clients open.
#[inline(always)]
pub(crate) fn inward(ctx: &TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // By what the kernel takes it for: a frame with a tag left in it says otherwise.
    // SAFETY: the context is a __sk_buff; `protocol` is a __be16 in a u32.
    let found = match u16::from_be(unsafe { (*skb).protocol } as u16) {
        ETH_P_IP => plain::<4>(skb),
        ETH_P_IPV6 => plain::<6>(skb),
        _ => LOOK,
    };
    let reason = match found {
        LOOK => judge_in(skb),
        reason => reason,
    };
    if reason == 0 { NEXT } else { DROP }
}

/// What [`plain`] says instead of a reason where a frame is to be looked at closer: no number
/// of a [`Reason`].
const LOOK: u32 = 1 << 8;

/// A plain TCP segment, by headers that are read in place, as [`judge_in`].
#[inline(always)]
fn plain<const VERSION: u8>(skb: *mut __sk_buff) -> u32 {
    let Some((ip, transport)) = headers::<{ ETHERNET as usize }, VERSION>(skb) else {
        return LOOK;
    };
    if transport.flags & (SYN | ACK) != SYN {
        asked(skb, &ip, &transport);
        return 0;
    }
    opening::<VERSION>(skb)
}

/// Counts a segment for a connection that the seal has cut.
#[inline(always)]
fn asked(skb: *mut __sk_buff, ip: &Ip, transport: &Transport) {
    if !older::are_some() {
        return;
    }
    let Some(veth) = veth(skb) else {
        return;
    };
    older::ask(&Syn {
        seal: veth.seal,
        client: ip.src,
        own: ip.dst,
        client_port: transport.sport,
        port: transport.dport,
        _pad: 0,
    });
}

/// A SYN, as [`judge_in`]. Not inlined, for its stack.
#[inline(never)]
fn opening<const VERSION: u8>(skb: *mut __sk_buff) -> u32 {
    let Some((ip, transport)) = headers::<{ ETHERNET as usize }, VERSION>(skb) else {
        return LOOK;
    };
    let Some(veth) = veth(skb) else {
        return 0;
    };
    if veth.seal == UNOWNED {
        return 0;
    }
    // SAFETY: the context is a __sk_buff.
    let from = unsafe { (*skb).ingress_ifindex };
    let verdict = inward::inward(Concern::Opens, ip.src, from, veth, || route(skb, veth, &ip));
    if verdict.is_err() {
        return dropped(subject_of(veth));
    }
    opens(veth.seal, &ip, &transport);
    0
}

/// Counts a frame that is dropped, and returns why; 0 if the seal is an audit.
#[inline(always)]
fn dropped(subject: Subject) -> u32 {
    count_silent(subject.seal, Reason::Inbound);
    Reason::Inbound as u32 * u32::from(!subject.is_audited())
}

/// Number of the [`Reason`] to drop it, or 0; counts what is dropped, and remembers
/// the flow that a SYN opens. Not inlined, as [`judge_out`].
#[inline(never)]
fn judge_in(skb: *mut __sk_buff) -> u32 {
    let Some(veth) = veth(skb) else {
        return 0;
    };
    // Nobody knows who may ask there.
    if veth.seal == UNOWNED {
        return 0;
    }
    // SAFETY: the context is a __sk_buff; `protocol` is a __be16 in a u32.
    let (protocol, from, any) = unsafe {
        (
            u16::from_be((*skb).protocol as u16),
            (*skb).ingress_ifindex,
            (*skb).len,
        )
    };
    let subject = subject_of(veth);
    let (ip, transport, concern) = match protocol {
        ETH_P_IP | ETH_P_IPV6 => {
            let packet = Packet::new(skb, ETHERNET, subject);
            let Some((ip, transport)) = packet.parse_part() else {
                return 0;
            };
            if transport.kind == Kind::Icmp
                && transport.icmp_type == SOLICITATION
                && ip.version == 6
            {
                questions::ask(veth.seal);
            }
            (ip, transport, concern(&ip, &transport))
        }
        ETH_P_ARP => {
            if Packet::new(skb, ETHERNET, subject).load::<8>(0) == Some(ARP_REQUEST) {
                questions::ask(veth.seal);
            }
            return 0;
        }
        // The container takes tag 0 off, whatever is below.
        ETH_P_8021Q | ETH_P_8021AD => (NO_IP, Transport::OTHER, Concern::Steers),
        _ => return 0,
    };
    let concern = match forgotten(concern as u64, 4, any) {
        0 => return 0,
        1 => Concern::Opens,
        _ => Concern::Steers,
    };
    let verdict = inward::inward(concern, ip.src, from, veth, || route(skb, veth, &ip));
    if verdict.is_err() {
        return dropped(subject);
    }
    if transport.kind == Kind::Tcp && transport.flags & (SYN | ACK) == SYN {
        opens(subject.seal, &ip, &transport);
    }
    0
}

/// No addresses that mean anything.
const NO_IP: Ip = Ip {
    src: Addr([0; 4]),
    dst: Addr([0; 4]),
    version: 0,
    protocol: 0,
    ttl: 0,
    plain: false,
    payload: 0,
};

/// Where the host sends what the container answers to this packet. Nowhere, too,
/// if the host forwards nothing from there (`BPF_FIB_LKUP_RET_FWD_DISABLED`).
#[inline(always)]
fn route(skb: *mut __sk_buff, veth: &Veth, ip: &Ip) -> Route {
    /// `BPF_FIB_LKUP_RET_SUCCESS`, and that nobody asked for its MAC yet.
    const SUCCESS: i64 = 0;
    const NO_NEIGHBOUR: i64 = 7;
    // SAFETY: zero is a valid value; the version tells which address was written.
    unsafe {
        let mut wanted: bpf_fib_lookup = core::mem::zeroed();
        let from = if veth.bridge != 0 {
            veth.bridge
        } else {
            (*skb).ifindex
        };
        let v4 = ip.version == 4;
        let found = look_up(skb, from, v4, ip.dst, ip.src, &mut wanted);
        if found != SUCCESS && found != NO_NEIGHBOUR {
            return Route {
                ifindex: 0,
                on_link: false,
            };
        }
        // The gateway's address takes its place.
        let next = if v4 {
            Addr::v4(wanted.__bindgen_anon_4.ipv4_dst)
        } else {
            Addr(wanted.__bindgen_anon_4.ipv6_dst)
        };
        Route {
            ifindex: wanted.ifindex,
            on_link: next.is(ip.src),
        }
    }
}

/// Remembers the flow of a SYN, if it is to a service port.
#[inline(always)]
fn opens(seal: SealNumber, ip: &Ip, transport: &Transport) {
    let syn = Syn {
        seal,
        client: ip.src,
        own: ip.dst,
        client_port: transport.sport,
        port: transport.dport,
        _pad: 0,
    };
    remember(&syn, transport.seq);
}

/// Not inlined: the ways to come here need not be told apart.
#[inline(never)]
fn remember(syn: &Syn, seq: u32) {
    let Ok(policy) = of_seal(syn.seal).policy() else {
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
