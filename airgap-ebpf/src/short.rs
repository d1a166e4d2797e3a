//! The short way through egress, ingress and the frame layer: headers read in
//! place and the socket's tag, and no look-up of the cgroup or its policy. An
//! epoch is only ever written into the tag of a socket of the seal that it names,
//! and no policy has changed and no seal was lifted or replaced since.
//! Whatever is unusual, or does not lie in the linear part, takes the long way.

use airgap_common::{
    addr::Addr,
    map::Tag,
    packet::{self, Ip, Transport},
    verdict::short::{self, Tagged},
};
use aya_ebpf::bindings::{__sk_buff, bpf_sock};

use crate::{kernel::HAS_TYPED_LOADS, socket, subject::epoch};

pub(crate) const ETH_P_IP: u16 = 0x0800;
pub(crate) const ETH_P_IPV6: u16 = 0x86dd;

/// Which way a packet goes, as the container sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    In,
}

/// Whether the packet, whose network header is at `BASE`, passes at once. Not inlined: the
/// verifier would follow the long way once for each reason to leave the short one.
#[inline(never)]
pub(crate) fn passes<const BASE: usize, const OUT: bool>(skb: *mut __sk_buff) -> u32 {
    u32::from(is_open::<BASE, OUT>(skb).unwrap_or(false))
}

/// The tag first: what has none, or one of another epoch, is told by it alone.
#[inline(always)]
fn is_open<const BASE: usize, const OUT: bool>(skb: *mut __sk_buff) -> Option<bool> {
    // SAFETY: the context is a __sk_buff.
    let sk = unsafe { (*skb).__bindgen_anon_2.sk };
    let socket = tagged::<BASE>(sk)?;
    let epoch = epoch();
    if !socket.is_of(epoch) {
        return None;
    }
    // SAFETY: the context is a __sk_buff; `protocol` is a __be16 in a u32.
    let protocol = u16::from_be(unsafe { (*skb).protocol } as u16);
    // SAFETY: as above. Only the link sees tags of VLANs.
    if BASE != 0 && unsafe { (*skb).vlan_present } != 0 {
        return None;
    }
    let way = if OUT { Way::Out } else { Way::In };
    match protocol {
        ETH_P_IP => decide::<BASE, 4>(skb, &socket, way, epoch),
        ETH_P_IPV6 => decide::<BASE, 6>(skb, &socket.v6(), way, epoch),
        _ => None,
    }
}

/// The packet's socket with its tag, if it has one. A frame may have the request that answers
/// a SYN, whose listener has the tag; the hooks of a cgroup are given that listener, and what
/// is no full socket has no storage.
#[inline(always)]
fn tagged<const BASE: usize>(sk: *mut bpf_sock) -> Option<View<true>> {
    if sk.is_null() {
        return None;
    }
    // Before Linux 5.10 only a full socket's storage can be asked for.
    if BASE != 0 || HAS_TYPED_LOADS.load() == 0 {
        // SAFETY: not null.
        let sk = unsafe { socket::full(sk) };
        if sk.is_null() {
            return None;
        }
        // SAFETY: not null.
        return View::of(sk, unsafe { socket::tag_of(sk) });
    }
    // SAFETY: not null.
    View::of(sk, unsafe { socket::tag_of(sk) })
}

/// A socket with its tag, for packets of IPv4 or of IPv6.
struct View<const V4: bool> {
    sk: *mut bpf_sock,
    tag: *const Tag,
}

impl View<true> {
    #[inline(always)]
    fn of(sk: *mut bpf_sock, tag: *const Tag) -> Option<Self> {
        (!tag.is_null()).then_some(Self { sk, tag })
    }

    #[inline(always)]
    const fn v6(&self) -> View<false> {
        View {
            sk: self.sk,
            tag: self.tag,
        }
    }
}

// SAFETY of each: neither is null, the verifier knows the socket, and the tag is live.
impl<const V4: bool> Tagged for View<V4> {
    #[inline(always)]
    fn state(&self) -> u32 {
        // SAFETY: as said.
        unsafe { (*self.sk).state }
    }

    #[inline(always)]
    fn is_bound(&self) -> bool {
        // SAFETY: as said.
        unsafe { (*self.sk).bound_dev_if != 0 }
    }

    #[inline(always)]
    fn sport(&self) -> u16 {
        // SAFETY: as said.
        unsafe { (*self.sk).src_port as u16 }
    }

    #[inline(always)]
    fn dport(&self) -> u16 {
        // SAFETY: as said.
        u16::from_be(unsafe { (*self.sk).dst_port })
    }

    #[inline(always)]
    fn has_peer(&self, addr: Addr) -> bool {
        // SAFETY: as said.
        unsafe { socket::peer(self.sk, V4) }.is(addr)
    }

    #[inline(always)]
    fn port(&self) -> u16 {
        // SAFETY: as said.
        unsafe { (*self.tag).port }
    }

    #[inline(always)]
    fn peer_only(&self) -> bool {
        // SAFETY: as said.
        unsafe { (*self.tag).peer_only != 0 }
    }

    #[inline(always)]
    fn is_of(&self, epoch: u32) -> bool {
        // SAFETY: as said.
        unsafe { (*self.tag).seal != Tag::NONE.seal && (*self.tag).is_of(epoch) }
    }
}

#[inline(always)]
fn decide<const BASE: usize, const VERSION: u8>(
    skb: *mut __sk_buff,
    socket: &impl Tagged,
    way: Way,
    epoch: u32,
) -> Option<bool> {
    let (ip, transport) = headers::<BASE, VERSION>(skb)?;
    Some(match way {
        Way::Out => short::reply(&ip, &transport, socket, epoch),
        Way::In => short::request(&ip, &transport, socket, epoch),
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
