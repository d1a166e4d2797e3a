//! UDP service ports: who has asked, and who is answered. None is inlined: seals without
//! such ports do not come here, and each needs room of its own on the stack.

use airgap_common::{
    addr::Addr,
    denial::Reason,
    map::{
        Client, Policy, UDP_PEERS_PER_PREFIX, UDP_PEERS_PER_SEAL, UdpPeer, UdpPrefix, UdpQuota,
        UdpSeen, is_fresh,
    },
    verdict::{self, Inbound},
};
use aya_ebpf::{bindings::__sk_buff, btf_maps::lpm_trie::Key};

use crate::{
    exits::{airgap_own_source, now},
    maps::{CLIENTS, POLICIES, UDP_PEERS, UDP_PREFIXES, add},
    packet::{ETHERNET, Packet},
    subject::{Subject, epoch},
};

const BPF_ANY: u64 = 0;

/// Number of the [`Reason`] to drop a datagram that leaves, or 0.
#[inline(never)]
pub(crate) fn judge_answer(skb: *mut __sk_buff) -> u32 {
    match Sealed::of(skb) {
        Ok(Sealed { subject, policy }) => {
            answer(&Packet::new(skb, 0, subject), policy, subject.seal)
        }
        Err(reason) => reason,
    }
}

/// Whose packet it is, looked up anew: whoever calls has no room to hand it on.
struct Sealed {
    subject: Subject,
    policy: &'static Policy,
}

impl Sealed {
    /// The number of the [`Reason`] to drop it otherwise: a seal that was lifted since the
    /// first look lets out nothing that it had not judged.
    #[inline(always)]
    fn of(skb: *mut __sk_buff) -> Result<Self, u32> {
        let epoch = epoch();
        let Some(subject) = Subject::of_packet(skb, epoch) else {
            return Err(Reason::Unrecorded as u32);
        };
        let policy = subject.policy_in(epoch).map_err(|reason| reason as u32)?;
        Ok(Self { subject, policy })
    }
}

/// The same of a frame of a seal.
#[inline(never)]
pub(crate) fn judge_frame(skb: *mut __sk_buff, seal: u64) -> u32 {
    let subject = Subject {
        seal,
        cgroup: 0,
        level: 0,
    };
    let Ok(policy) = subject.policy() else {
        return Reason::Unrecorded as u32;
    };
    answer(&Packet::new(skb, ETHERNET, subject), policy, seal)
}

#[inline(always)]
fn answer(packet: &Packet, policy: &Policy, seal: u64) -> u32 {
    let Some((ip, transport)) = packet.datagram() else {
        return Reason::Egress as u32;
    };
    let socket = packet.socket(&ip);
    match verdict::service::answer(&ip, &transport, &socket, seal, policy, packet) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// Number of the [`Reason`] to drop a fragment, on the host's side, or 0.
#[inline(never)]
pub(crate) fn judge_fragment(skb: *mut __sk_buff, seal: u64) -> u32 {
    const REFUSED: u32 = Reason::Header as u32;
    let subject = Subject {
        seal,
        cgroup: 0,
        level: 0,
    };
    let Ok(policy) = subject.policy() else {
        return Reason::Unrecorded as u32;
    };
    if policy.flags & Policy::SERVES_UDP == 0 {
        return REFUSED;
    }
    let packet = Packet::new(skb, ETHERNET, subject);
    let Some((version, dst)) = packet.fragment() else {
        return REFUSED;
    };
    let socket = packet.socket_in(version);
    match verdict::service::fragment(dst, &socket, seal, policy, &packet) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// Number of the [`Reason`] to drop a datagram that comes in, or 0.
#[inline(never)]
pub(crate) fn judge_ask(skb: *mut __sk_buff) -> u32 {
    let Sealed { subject, policy } = match Sealed::of(skb) {
        Ok(sealed) => sealed,
        Err(reason) => return reason,
    };
    let packet = Packet::new(skb, 0, subject);
    let Some((ip, transport)) = packet.datagram() else {
        return Reason::Inbound as u32;
    };
    let socket = packet.socket(&ip);
    match verdict::service::ask(&ip, &transport, &socket, subject.seal, policy, &packet) {
        Ok(Inbound::Deliver) => 0,
        Ok(Inbound::TagListener) => Reason::Inbound as u32,
        Err(reason) => reason as u32,
    }
}

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
const ANY_INTERFACE: u32 = 0;

/// 1 if this peer has asked a moment ago, and by this interface. Who has not is forgotten:
/// whoever sends to those that are over shall not keep them in the table.
#[inline(never)]
fn has_asked(peer: &UdpPeer, ifindex: u32) -> u32 {
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

/// Number of the [`Reason`] to refuse a task to send from this port to this peer, or 0:
/// what egress would say of the datagram. `ports`: the peer's, and above it the own one.
#[inline(never)]
pub(crate) fn judge_call(seal: u64, ports: u64, addr: &Addr) -> u32 {
    let service = (ports >> 16) as u16;
    // SAFETY: the reference is used only while this program runs.
    let Some(policy) = (unsafe { POLICIES.get(seal) }) else {
        return Reason::Unrecorded as u32;
    };
    if policy.flags & Policy::SERVES_UDP == 0 || !policy.serves_udp(service) {
        return Reason::Egress as u32;
    }
    let key = Key::new(Client::BITS, Client::new(seal, *addr));
    if CLIENTS.get(&key).is_none() {
        return Reason::Client as u32;
    }
    let peer = UdpPeer {
        seal,
        addr: *addr,
        port: ports as u16,
        service,
        _pad: 0,
    };
    match has_asked(&peer, ANY_INTERFACE) {
        0 => Reason::Unasked as u32,
        _ => 0,
    }
}
