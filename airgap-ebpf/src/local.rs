//! TCP segments on loopback among a seal's own sockets: the full verdict on a plain segment,
//! by headers that are read in place, and without what that verdict does not ask of one. Once
//! that has found the seal's own at the other end of a connection, the socket remembers it
//! ([`Near`]). What is anything else, or does not pass, is judged as all packets are, which
//! says why.

use airgap_common::{
    addr::Addr,
    map::{Near, Policy, Tag},
    packet::{self, Ip, Transport},
    verdict::{self, Peer, short},
};
use aya_ebpf::bindings::{__sk_buff, bpf_sock};

use crate::{
    packet::Packet,
    short::{ETH_P_IP, ETH_P_IPV6, headers},
    socket,
    subject::{Subject, epoch},
};

/// Whether a segment on loopback passes.
#[inline(always)]
pub(crate) fn passes<const OUT: bool>(skb: *mut __sk_buff) -> bool {
    // SAFETY: the context is a __sk_buff; `protocol` is a __be16 in a u32.
    match u16::from_be(unsafe { (*skb).protocol } as u16) {
        ETH_P_IP => is_near::<4, OUT>(skb) != 0 || judge::<4, OUT>(skb) != 0,
        ETH_P_IPV6 => is_near::<6, OUT>(skb) != 0 || judge::<6, OUT>(skb) != 0,
        _ => false,
    }
}

/// 1 if the seal's own was found at the other end of this connection, and what has changed
/// since is nothing that such a segment is judged by. Not inlined, as the long way.
#[inline(never)]
fn is_near<const VERSION: u8, const OUT: bool>(skb: *mut __sk_buff) -> u32 {
    let sk = socket::full_socket(skb);
    if sk.is_null() {
        return 0;
    }
    // SAFETY: not null, and what is found is a live value.
    let (ports, is_near) = unsafe {
        let storage = socket::storage(sk);
        if storage.is_null() {
            return 0;
        }
        let ports = ports(sk);
        let is_connection = short::is_connection((*sk).state);
        (
            ports,
            is_connection && (*storage).near.is_of(epoch(), ports),
        )
    };
    if !is_near {
        return 0;
    }
    let Some((ip, transport)) = headers::<0, VERSION>(skb) else {
        return 0;
    };
    if verdict::to_loopback(&ip).is_err() {
        return 0;
    }
    u32::from(!OUT || is_to_peer::<VERSION>(sk, &ip, &transport, ports))
}

/// Whether a segment goes from the socket's port to its peer. What rules in the network
/// namespace made of it since may go to somebody else.
#[inline(always)]
fn is_to_peer<const VERSION: u8>(
    sk: *mut bpf_sock,
    ip: &Ip,
    transport: &Transport,
    ports: u32,
) -> bool {
    // SAFETY: a full socket.
    let peer: Addr = unsafe { socket::peer(sk, VERSION == 4) };
    Near::ports_of(transport.sport, transport.dport) == ports && peer.is(ip.dst)
}

/// Those of a full socket, see [`Near::ports_of`].
#[inline(always)]
fn ports(sk: *mut bpf_sock) -> u32 {
    // SAFETY: a full socket.
    unsafe { Near::ports_of((*sk).src_port as u16, u16::from_be((*sk).dst_port)) }
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
    if !OUT {
        return verdict::to_loopback(&ip).is_ok().into();
    }
    let packet = Packet::plain(skb, subject);
    match verdict::on_loopback(&ip, &transport, policy, &packet) {
        Ok(peer) => {
            const APART: u32 = Policy::SHARED_NETWORK | Policy::LOOPBACK_EXITS;
            if matches!(peer, Peer::Inside) && policy.flags & APART == 0 {
                remember::<VERSION>(skb, epoch);
            }
            1
        }
        Err(_) => 0,
    }
}

/// Has the socket of a segment that was judged in `epoch` remember that the seal's own is at
/// its other end; if it has room for that already, or sends data, and so will send more. A
/// function of its own for its stack.
#[inline(never)]
fn remember<const VERSION: u8>(skb: *mut __sk_buff, epoch: u32) -> u32 {
    /// Headers of a segment without data, TCP's with timestamps.
    const BARE: u32 = 32;
    let header = if VERSION == 4 { 20 } else { 40 };
    let sk = socket::full_socket(skb);
    if sk.is_null() || epoch == Tag::NO_EPOCH {
        return 0;
    }
    let Some((ip, transport)) = headers::<0, VERSION>(skb) else {
        return 0;
    };
    // SAFETY: not null, and what is found is a live value; the context is a __sk_buff.
    unsafe {
        let ports = ports(sk);
        if (*sk).protocol != packet::TCP.into()
            || !short::is_connection((*sk).state)
            || !is_to_peer::<VERSION>(sk, &ip, &transport, ports)
        {
            return 0;
        }
        let storage = match (*skb).len > header + BARE {
            true => socket::make_storage(sk),
            false => socket::storage(sk),
        };
        if storage.is_null() {
            return 0;
        }
        // In this order: with the ports alone the epoch is an older one's.
        let near = &raw mut (*storage).near;
        (&raw mut (*near).epoch).write_volatile(Tag::NO_EPOCH);
        (&raw mut (*near).ports).write_volatile(ports);
        (&raw mut (*near).epoch).write_volatile(epoch);
    }
    1
}
