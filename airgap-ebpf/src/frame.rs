//! Frames, on the host's side of a sealed container's veth: the only place
//! that sees AF_PACKET and AF_XDP, frames that the container's kernel forwards
//! from lo, and what it says on its own. By tcx
//! (Linux 6.6) or, in direct-action mode, by clsact: the verdicts have the same numbers.

mod inbound;
mod near;
mod next_hop;

use airgap_common::{
    addr::Addr,
    denial::{Hook, Reason},
    map::{ARP_LEN, SealNumber, UNOWNED, Veth},
    packet::{self, ETHERNET, Ip, Kind, SYN, Transport},
    verdict::{self, Kernel as _},
};
use aya_ebpf::{
    bindings::{__sk_buff, bpf_fib_lookup},
    helpers::generated::bpf_fib_lookup,
    programs::TcContext,
};

pub(crate) use self::inbound::inward;
use self::near::kernel_arp;
use crate::{
    audit,
    denial::count_silent,
    maps::{OWN, VETHS},
    packet::Packet,
    short::{ETH_P_IP, ETH_P_IPV6, passes},
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
