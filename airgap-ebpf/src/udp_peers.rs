//! Who has asked a UDP service port, and may be answered. None is inlined: seals without such
//! ports do not come here, and each needs room of its own on the stack.

use airgap_common::map::{
    UDP_PEERS_PER_PREFIX, UDP_PEERS_PER_SEAL, UdpPeer, UdpPrefix, UdpQuota, UdpSeen, is_fresh,
};
use aya_ebpf::bindings::__sk_buff;

use crate::{
    exits::{airgap_own_source, now},
    maps::{UDP_PEERS, UDP_PREFIXES, add},
};

const BPF_ANY: u64 = 0;

/// See [`Kernel::udp_peer`], on the way out of the container.
///
/// [`Kernel::udp_peer`]: airgap_common::verdict::Kernel::udp_peer
#[inline(always)]
pub(crate) fn is_answered(skb: *mut __sk_buff, peer: &UdpPeer) -> bool {
    // SAFETY: the context is a __sk_buff.
    let ifindex = unsafe { (*skb).ifindex };
    has_asked(peer, ifindex) != 0 && airgap_own_source(skb) != 0
}

/// Whoever makes a call is asked for no interface: the packet will be.
pub(crate) const ANY_INTERFACE: u32 = 0;

/// 1 if this peer has asked a moment ago, and by this interface. Who has not is forgotten:
/// whoever sends to those that are over shall not keep them in the table.
#[inline(never)]
pub(crate) fn has_asked(peer: &UdpPeer, ifindex: u32) -> u32 {
    let Some(peers) = UDP_PEERS.get(0) else {
        return 0;
    };
    let Some(seen) = peers.get_ptr(peer) else {
        return 0;
    };
    // SAFETY: a live map value; each field is read in one piece. A question by another
    // interface at this very moment is one that was asked there.
    let (at, by) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*seen).at),
            core::ptr::read_volatile(&raw const (*seen).ifindex),
        )
    };
    if is_fresh(at, now()) {
        return (ifindex == ANY_INTERFACE || ifindex == by).into();
    }
    let _ = peers.remove(peer);
    0
}

/// See [`Kernel::udp_ask`].
///
/// [`Kernel::udp_ask`]: airgap_common::verdict::Kernel::udp_ask
#[inline(always)]
pub(crate) fn ask(skb: *mut __sk_buff, peer: &UdpPeer) -> bool {
    /// `PACKET_HOST` (linux/if_packet.h): neither to all, nor to a group, nor what the
    /// kernel made of a packet that it sent to one.
    const TO_THIS_HOST: u32 = 0;
    // SAFETY: the context is a __sk_buff.
    unsafe { (*skb).pkt_type == TO_THIS_HOST && remember(peer, (*skb).ifindex) != 0 }
}

/// 1 if a peer is remembered as asking now, by this interface.
#[inline(never)]
fn remember(peer: &UdpPeer, ifindex: u32) -> u32 {
    let now = now();
    let Some(peers) = UDP_PEERS.get(0) else {
        return 0;
    };
    if let Some(seen) = peers.get_ptr_mut(peer) {
        // SAFETY: a live map value, read and written field by field.
        unsafe {
            if is_fresh(core::ptr::read_volatile(&raw const (*seen).at), now) {
                core::ptr::write_volatile(&raw mut (*seen).at, now);
                core::ptr::write_volatile(&raw mut (*seen).ifindex, ifindex);
                return 1;
            }
        }
    }
    // First: what a seal has no room for shall not fill the table of prefixes.
    let whole = UdpPrefix::whole(peer.seal);
    if charge(&whole, UDP_PEERS_PER_SEAL.into(), now) == 0 {
        return 0;
    }
    let of = UdpPrefix::of(peer.seal, peer.addr);
    if charge(&of, UDP_PEERS_PER_PREFIX.into(), now) == 0 {
        return 0;
    }
    let seen = UdpSeen {
        at: now,
        ifindex,
        _pad: 0,
    };
    peers.insert(peer, seen, BPF_ANY).is_ok().into()
}

/// 1 if there is room for one more of these.
#[inline(never)]
fn charge(prefix: &UdpPrefix, limit: u64, now: u64) -> u32 {
    let Some(prefixes) = UDP_PREFIXES.get(0) else {
        return 0;
    };
    let Some(quota) = prefixes.get_ptr_mut(prefix) else {
        return prefixes
            .insert(prefix, UdpQuota::first(now), BPF_ANY)
            .is_ok()
            .into();
    };
    // SAFETY: a live map value; a race at the turn of a minute, or at the limit, gives or
    // takes a few.
    unsafe {
        if (*quota).is_over(now) {
            *quota = UdpQuota::first(now);
            return 1;
        }
        if core::ptr::read_volatile(&raw const (*quota).count) >= limit {
            return 0;
        }
        add(&raw mut (*quota).count, 1);
    }
    1
}
