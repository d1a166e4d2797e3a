//! Whom a frame is sent to, by hardware address: see `verdict::outward`.

use airgap_common::{
    map::{Bridge, Mac},
    verdict::outward::outward,
};

use super::*;
use crate::maps::BRIDGES;

/// Whether it is sent to this very end of the veth: the host has it then, bridge or not,
/// as a bridge takes in what is sent to the addresses of its ports.
#[inline(always)]
pub(super) fn is_to_host(skb: *mut __sk_buff) -> bool {
    /// `PACKET_HOST` (linux/if_packet.h), by eth_type_trans.
    const TO_THIS_END: u32 = 0;
    // SAFETY: the context is a __sk_buff.
    unsafe { (*skb).pkt_type == TO_THIS_END }
}

/// Number of the [`Reason`] to drop a frame that passes otherwise, or 0. Most are sent to
/// the bridge's own address, which is told here; a function of its own for its stack.
#[inline(never)]
pub(super) fn judge(skb: *mut __sk_buff) -> u32 {
    let Some(veth) = veth(skb) else {
        return 0;
    };
    if !veth.is_port() {
        return 0;
    }
    match receiver(skb) {
        Some(to) if to.is(veth.mac) => 0,
        _ => judge_others(skb),
    }
}

/// Hardware address that it is sent to.
#[inline(always)]
fn receiver(skb: *mut __sk_buff) -> Option<Mac> {
    // SAFETY: the context is a __sk_buff; these two are packet pointers.
    let (data, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    if data + ETHERNET as usize > end {
        return None;
    }
    // SAFETY: compared with the end, and a frame begins at a multiple of two.
    let (head, tail) = unsafe { (*(data as *const u32), *((data + 4) as *const u16)) };
    Some(Mac {
        head,
        tail,
        _pad: 0,
    })
}

/// Protocol, source and destination, read in place: whatever a socket sends has them there.
/// Of IPv6 the protocol is the next header's, and neighbour discovery has none before it.
#[inline(always)]
fn addresses<const VERSION: u8>(skb: *mut __sk_buff) -> Option<(u8, Addr, Addr)> {
    // SAFETY: the context is a __sk_buff; these two are packet pointers.
    let (data, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    let at = data + ETHERNET as usize;
    let header = if VERSION == 4 { 20 } else { 40 };
    if at + header > end {
        return None;
    }
    // SAFETY: compared with the end; headers lie at multiples of two.
    unsafe {
        let word = |at: usize| *(at as *const u32);
        let address = |at: usize| Addr([word(at), word(at + 4), word(at + 8), word(at + 12)]);
        Some(match VERSION {
            4 => (
                *((at + 9) as *const u8),
                Addr::v4(word(at + 12)),
                Addr::v4(word(at + 16)),
            ),
            _ => (*((at + 6) as *const u8), address(at + 8), address(at + 24)),
        })
    }
}

/// As [`judge`], of one that is not sent to the address that the bridge was known by.
#[inline(never)]
fn judge_others(skb: *mut __sk_buff) -> u32 {
    const REFUSED: u32 = Reason::NextHop as u32;
    let Some(veth) = veth(skb) else {
        return 0;
    };
    // By a veth that is nobody's yet, from a socket of no seal.
    if subject(skb).is_none() {
        return 0;
    }
    let Some(to) = receiver(skb) else {
        return REFUSED;
    };
    // SAFETY: the context is a __sk_buff; `protocol` is a __be16 in a u32.
    let protocol = u16::from_be(unsafe { (*skb).protocol } as u16);
    let (src, dst) = match protocol {
        ETH_P_ARP => return 0,
        ETH_P_IP => match addresses::<4>(skb) {
            Some((_, src, dst)) => (src, dst),
            None => return REFUSED,
        },
        ETH_P_IPV6 => match addresses::<6>(skb) {
            Some((packet::ICMPV6, ..)) => return 0,
            // Reports of groups: nothing else for one has passed.
            Some((packet::HOP_BY_HOP, _, dst)) if dst.is_v6_multicast() => return 0,
            Some((_, src, dst)) => (src, dst),
            None => return REFUSED,
        },
        _ => return REFUSED,
    };
    let is_near = || has_neighbour(veth.bridge, &dst) != 0;
    match outward(dst, to, veth, is_near, || own_mac(skb, veth, &src, &dst)) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// 1 if this address is a neighbour's on the bridge.
#[inline(never)]
fn has_neighbour(bridge: u32, addr: &Addr) -> u32 {
    // SAFETY: the reference is used only while this program runs.
    let known: Option<&Bridge> = unsafe { BRIDGES.get(bridge) };
    match known {
        Some(bridge) => bridge.has_neighbour(*addr).into(),
        None => 0,
    }
}

/// The bridge's own address, as the host's routes tell it: they lead to the container,
/// whose address is `src`, by that bridge.
#[inline(always)]
fn own_mac(skb: *mut __sk_buff, veth: &Veth, src: &Addr, dst: &Addr) -> Option<Mac> {
    // SAFETY: zero is a valid value.
    let mut wanted: bpf_fib_lookup = unsafe { core::mem::zeroed() };
    let found = look_up(skb, veth.bridge, src.is_v4(), *dst, *src, &mut wanted);
    (found == 0 && wanted.ifindex == veth.bridge).then(|| Mac::from_octets(wanted.smac))
}
