//! The short way through egress, ingress and the frame layer: headers read in
//! place and the socket's tag, and no look-up of the cgroup or its policy. An
//! epoch is only ever written into the tag of a socket of the seal that it names,
//! and no policy has changed and no seal was lifted or replaced since.
//! Whatever is unusual, or does not lie in the linear part, takes the long way.

use airgap_common::{
    addr::Addr,
    packet::{self, Ip, Transport},
    verdict::short,
};
use aya_ebpf::bindings::__sk_buff;

use crate::{socket, subject::epoch};

pub(crate) const ETH_P_IP: u16 = 0x0800;
pub(crate) const ETH_P_IPV6: u16 = 0x86dd;

/// Which way a packet goes, as the container sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    In,
}

/// Whether the packet, whose network header is at `BASE`, passes at once.
#[inline(always)]
pub(crate) fn passes<const BASE: usize, const OUT: bool>(skb: *mut __sk_buff) -> bool {
    // SAFETY: the context is a __sk_buff; `protocol` is a __be16 in a u32.
    let (protocol, tagged) = unsafe { ((*skb).protocol as u16, (*skb).vlan_present) };
    tagged == 0
        && match u16::from_be(protocol) {
            ETH_P_IP => is_open::<BASE, OUT, 4>(skb) != 0,
            ETH_P_IPV6 => is_open::<BASE, OUT, 6>(skb) != 0,
            _ => false,
        }
}

/// Not inlined: the verifier would follow the long way once for each reason to
/// leave the short one.
#[inline(never)]
fn is_open<const BASE: usize, const OUT: bool, const VERSION: u8>(skb: *mut __sk_buff) -> u32 {
    let way = if OUT { Way::Out } else { Way::In };
    u32::from(decide::<BASE, VERSION>(skb, way).unwrap_or(false))
}

#[inline(always)]
fn decide<const BASE: usize, const VERSION: u8>(skb: *mut __sk_buff, way: Way) -> Option<bool> {
    let sk = socket::full_socket(skb);
    if sk.is_null() {
        return None;
    }
    // SAFETY: not null, and the verifier knows a full bpf_sock.
    let tag = unsafe { socket::tag_of(sk) };
    if tag.is_null() {
        return None;
    }
    // SAFETY: not null, a live value.
    let tag = unsafe { *tag };
    let (ip, transport) = headers::<BASE, VERSION>(skb)?;
    // SAFETY: as above.
    let socket = unsafe { socket::facts(sk, socket::peer(sk, VERSION == 4), tag) };
    Some(match way {
        Way::Out => short::reply(&ip, &transport, &socket, epoch()),
        Way::In => short::request(&ip, &transport, &socket, epoch()),
    })
}

/// Addresses, ports and flags of a plain TCP segment, from the packet itself;
/// `None` for anything else, or what cannot be read in place.
#[inline(always)]
pub(crate) fn headers<const BASE: usize, const VERSION: u8>(
    skb: *mut __sk_buff,
) -> Option<(Ip, Transport)> {
    // SAFETY: the context is a __sk_buff; these two are packet pointers.
    let (data, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    let header = if VERSION == 4 { 20 } else { 40 };
    // Up to and with the TCP flags.
    if data + BASE + header + 14 > end {
        return None;
    }
    let at = data + BASE;
    let first = word::<u8>(at);
    let (src, dst, protocol, plain) = if VERSION == 4 {
        // More-fragments and offset; the don't-fragment bit says nothing.
        let fragment = u16::from_be(word::<u16>(at + 6)) & 0x3fff;
        let (src, dst) = (Addr::v4(word(at + 12)), Addr::v4(word(at + 16)));
        (src, dst, word::<u8>(at + 9), first == 0x45 && fragment == 0)
    } else {
        let address = |at: usize| Addr([word(at), word(at + 4), word(at + 8), word(at + 12)]);
        let (src, dst) = (address(at + 8), address(at + 24));
        (src, dst, word::<u8>(at + 6), first >> 4 == 6)
    };
    if protocol != packet::TCP || !plain {
        return None;
    }
    let ip = Ip {
        src,
        dst,
        version: VERSION,
        protocol,
        ttl: 0,
        plain,
        payload: 0,
    };
    Some((ip, transport(at + header)))
}

#[inline(always)]
fn transport(at: usize) -> Transport {
    Transport {
        kind: packet::Kind::Tcp,
        sport: u16::from_be(word(at)),
        dport: u16::from_be(word(at + 2)),
        seq: u32::from_be(word(at + 4)),
        flags: word(at + 13),
        ..Transport::OTHER
    }
}

/// Reads packet memory that was compared with its end.
#[inline(always)]
fn word<T: Copy>(at: usize) -> T {
    // SAFETY: the verifier refuses a read behind the end. Headers lie at
    // multiples of two, which the processors with a BPF compiler bear.
    unsafe { *(at as *const T) }
}
