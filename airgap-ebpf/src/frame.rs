//! Frames, on the host's side of a sealed container's veth: the only place
//! that sees AF_PACKET and AF_XDP, frames that the container's kernel forwards
//! from lo, and what it says on its own. By tcx
//! (Linux 6.6) or, in direct-action mode, by clsact: the verdicts have the same numbers.

mod near;
mod next_hop;

use airgap_common::{
    addr::Addr,
    denial::{Hook, Reason},
    map::{ARP_LEN, Policy, SealNumber, Syn, SynSeen, UNOWNED, Veth},
    packet::{self, ACK, ETHERNET, Ip, Kind, SYN, Transport},
    verdict::{
        self, Kernel as _,
        inward::{self, Concern, Route, concern},
    },
};
use aya_ebpf::{
    bindings::{__sk_buff, bpf_fib_lookup},
    helpers::generated::{bpf_fib_lookup, bpf_ktime_get_ns},
    programs::TcContext,
};

use self::near::{asked, kernel_arp};
use crate::{
    audit,
    denial::count_silent,
    kernel::HASH_SEED,
    maps::{OWN, SYNS, VETHS},
    older,
    packet::{Packet, client_allowed},
    questions,
    short::{ETH_P_IP, ETH_P_IPV6, headers, passes},
    socket,
    subject::{Subject, epoch},
    udp,
    verifier::forgotten,
};

/// `TCX_NEXT` and `TC_ACT_UNSPEC`: leave it to whatever else is attached.
const NEXT: i32 = -1;
/// `TCX_DROP` and `TC_ACT_SHOT`.
const DROP: i32 = 2;

const ETH_P_ARP: u16 = 0x0806;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Head of an ARP request for IPv4 over Ethernet.
const ARP_REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
/// Neighbour solicitation (RFC 4861 §4.3).
const SOLICITATION: u8 = 135;

/// Ingress of the host's veth: what the container sends.
#[inline(always)]
pub(crate) fn out(ctx: &TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // By its tag alone, whichever seal this veth is of: containers that share a
    // network namespace share its veths, too.
    let mut reason = match passes::<{ ETHERNET as usize }, true>(skb) {
        1.. => 0,
        0 => match judge_out(skb) {
            0 => 0,
            reason => judge_service(skb, reason),
        },
    };
    // By whichever way it passes, the verifier follows the rest once.
    // SAFETY: the context is a __sk_buff.
    reason = forgotten(reason.into(), 32, unsafe { (*skb).ifindex }) as u32;
    if reason == 0 {
        if next_hop::is_to_host(skb) {
            return NEXT;
        }
        reason = next_hop::judge(skb);
    }
    match reason {
        0 => NEXT,
        // SAFETY: the context is a __sk_buff.
        reason => refuse(skb, forgotten(reason.into(), 32, unsafe { (*skb).ifindex })),
    }
}

/// What UDP service ports make of a reason to drop a frame: another one, or 0.
#[inline(always)]
fn judge_service(skb: *mut __sk_buff, reason: u32) -> u32 {
    let datagram = reason == Reason::Unasked as u32;
    if !datagram && reason != Reason::Header as u32 {
        return reason;
    }
    match subject(skb) {
        None => reason,
        Some(subject) if datagram => udp::judge_frame(skb, subject.seal),
        Some(subject) => udp::judge_fragment(skb, subject.seal),
    }
}

/// Whether it was sent on a socket that was made outside all seals: by the engine,
/// or by somebody who entered the network namespace.
#[inline(always)]
fn is_others(skb: *mut __sk_buff) -> bool {
    !socket::full_socket(skb).is_null() && Subject::of_packet(skb, epoch()).is_none()
}

/// Drops it, for the reason of this number, unless the seal is an audit.
#[inline(never)]
fn refuse(skb: *mut __sk_buff, reason: u64) -> i32 {
    let Some(subject) = subject(skb) else {
        return DROP;
    };
    // The container did not ask for what others send.
    if is_others(skb) {
        count_silent(subject.seal, Reason::KernelChatter);
    } else if !audit::is_egress_told(skb, &subject, reason) {
        Packet::new(skb, ETHERNET, subject).deny(Hook::Frame, reason);
    }
    match audit::passes_frame(skb, &subject) {
        true => NEXT,
        false => DROP,
    }
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
        ETH_P_ARP => return kernel_arp(skb, &packet),
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

/// Egress of the host's veth: what goes to the container. Only what opens a
/// connection or changes a route is looked at: whether it can come from where it
/// says, and which flows clients open.
#[inline(always)]
pub(crate) fn inward(ctx: &TcContext) -> i32 {
    const BASE: usize = ETHERNET as usize;
    let skb = ctx.skb.skb;
    if let Some((ip, transport)) = headers::<BASE, 4>(skb)
        && transport.flags & (SYN | ACK) != SYN
    {
        asked(skb, &ip, &transport);
        return NEXT;
    }
    if let Some((ip, transport)) = headers::<BASE, 6>(skb)
        && transport.flags & (SYN | ACK) != SYN
    {
        asked(skb, &ip, &transport);
        return NEXT;
    }
    if judge_in(skb) == 0 { NEXT } else { DROP }
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
        count_silent(subject.seal, Reason::Inbound);
        return Reason::Inbound as u32 * u32::from(!subject.is_audited());
    }
    if transport.kind == Kind::Tcp {
        opens(skb, &ip, &transport);
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

/// Asks the host's routes for the way of a packet that comes in by the interface `from`.
/// Returns what the helper says; `wanted` is all zero before.
#[inline(always)]
fn look_up(
    skb: *mut __sk_buff,
    from: u32,
    v4: bool,
    src: Addr,
    dst: Addr,
    wanted: &mut bpf_fib_lookup,
) -> i64 {
    wanted.l4_protocol = packet::TCP;
    wanted.ifindex = from;
    if v4 {
        wanted.family = AF_INET;
        wanted.__bindgen_anon_3.ipv4_src = src.0[3];
        wanted.__bindgen_anon_4.ipv4_dst = dst.0[3];
    } else {
        wanted.family = AF_INET6;
        wanted.__bindgen_anon_3.ipv6_src = src.0;
        wanted.__bindgen_anon_4.ipv6_dst = dst.0;
    }
    let len = size_of::<bpf_fib_lookup>() as i32;
    // SAFETY: the helper reads and writes as many bytes as said.
    unsafe { bpf_fib_lookup(skb.cast(), &raw mut *wanted, len, 0) }
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

/// Whose frame it is: what goes by an unowned veth is judged by its socket alone.
#[inline(always)]
fn subject(skb: *mut __sk_buff) -> Option<Subject> {
    let veth = veth(skb)?;
    if veth.seal == UNOWNED {
        return Subject::of_packet(skb, epoch()).map(|subject| of_seal(subject.seal));
    }
    Some(subject_of(veth))
}

#[inline(always)]
fn veth(skb: *mut __sk_buff) -> Option<&'static Veth> {
    // SAFETY: the context is a __sk_buff; the reference is used only while this
    // program runs.
    unsafe { VETHS.get((*skb).ifindex) }
}

#[inline(always)]
fn subject_of(veth: &Veth) -> Subject {
    of_seal(veth.seal)
}

#[inline(always)]
fn of_seal(seal: SealNumber) -> Subject {
    Subject {
        seal,
        cgroup: 0,
        level: 0,
    }
}
