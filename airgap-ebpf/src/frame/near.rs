//! What a container's kernel says on its own link: where it is, and whom it looks for.

use super::*;

/// ARP from a packet socket passes if it is not the container's, and says nothing but
/// an own address. Returns as [`kernel_arp`].
#[inline(always)]
fn announcement(skb: *mut __sk_buff, packet: &Packet) -> u32 {
    if !is_others(skb) {
        return Reason::Frame as u32;
    }
    // SAFETY: the context is a __sk_buff; the reference is used at once.
    let own = unsafe { OWN.get((*skb).ifindex) };
    match (own, packet.frame::<ARP_LEN>()) {
        (Some(own), Some(frame)) if own.announces(&frame) => {}
        _ => return Reason::Frame as u32,
    }
    if packet.neighbour_budget() {
        return 0;
    }
    Reason::NeighbourBudget as u32
}

/// ARP passes as the kernel makes it: no socket, no byte more than RFC 826 has, a
/// request or a reply for IPv4; and within the budget, if it is no answer that
/// somebody asked for. Returns the number of the [`Reason`] to drop it, or 0.
#[inline(always)]
pub(super) fn kernel_arp(skb: *mut __sk_buff, packet: &Packet) -> u32 {
    const REPLY: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 2];
    // SAFETY: the context is a __sk_buff.
    let (len, sk) = unsafe { ((*skb).len, (*skb).__bindgen_anon_2.sk) };
    if len != ARP_LEN as u32 {
        return Reason::Frame as u32;
    }
    if !sk.is_null() {
        return announcement(skb, packet);
    }
    let Some(head) = packet.load::<8>(0) else {
        return Reason::Frame as u32;
    };
    let reply = head == REPLY;
    if head != ARP_REQUEST && !reply {
        return Reason::Frame as u32;
    }
    if (reply && packet.answer_owed()) || packet.neighbour_budget() {
        return 0;
    }
    Reason::NeighbourBudget as u32
}
