//! TCP segments on loopback among a seal's own sockets: the full verdict on a plain segment,
//! by headers that are read in place, and without what that verdict does not ask of one.
//! What is anything else, or does not pass, is judged as all packets are, which says why.

use airgap_common::verdict;
use aya_ebpf::bindings::__sk_buff;

use crate::{
    packet::Packet,
    short::{ETH_P_IP, ETH_P_IPV6, headers},
    subject::{Subject, epoch},
};

/// Whether a segment on loopback passes.
#[inline(always)]
pub(crate) fn passes<const OUT: bool>(skb: *mut __sk_buff) -> bool {
    // SAFETY: the context is a __sk_buff; `protocol` is a __be16 in a u32.
    match u16::from_be(unsafe { (*skb).protocol } as u16) {
        ETH_P_IP => judge::<4, OUT>(skb) != 0,
        ETH_P_IPV6 => judge::<6, OUT>(skb) != 0,
        _ => false,
    }
}

/// 1 if it passes. Not inlined, as the long way.
#[inline(never)]
fn judge<const VERSION: u8, const OUT: bool>(skb: *mut __sk_buff) -> u32 {
    let epoch = epoch();
    let Some(subject) = Subject::of_packet(skb, epoch) else {
        return 1;
    };
    let Ok(policy) = subject.policy_in(epoch) else {
        return 0;
    };
    let Some((ip, transport)) = headers::<0, VERSION>(skb) else {
        return 0;
    };
    let verdict = if OUT {
        verdict::on_loopback(&ip, &transport, policy, &Packet::plain(skb, subject))
    } else {
        verdict::to_loopback(&ip)
    };
    verdict.is_ok().into()
}
