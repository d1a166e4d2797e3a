//! Datagrams and calls of UDP service ports under judgement. None is inlined: seals without
//! such ports do not come here, and each needs room of its own on the stack.

use airgap_common::{
    addr::Addr,
    denial::Reason,
    map::{Client, Policy, UdpPeer},
    packet::ETHERNET,
    verdict::{self, Inbound},
};
use aya_ebpf::{bindings::__sk_buff, btf_maps::lpm_trie::Key};

use crate::{
    maps::{CLIENTS, POLICIES},
    packet::Packet,
    subject::{Subject, epoch},
    udp_peers::{ANY_INTERFACE, has_asked},
};

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
