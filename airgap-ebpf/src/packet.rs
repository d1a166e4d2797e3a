//! A packet under judgement: its headers, its socket, and what the verdict
//! asks the kernel about it.

mod kernel;

use core::ptr;

use airgap_common::{
    addr::Addr,
    denial::{Hook, Reason},
    map::{Client, Ended, Exit, Flow, Layer, Policy, SYN_LIFE, SealNumber, Syn, Tag, UdpPeer},
    packet::{self, ETHERNET, Ip, Kind, Transport},
    verdict::{Kernel, Peer, Socket, exit::Passage},
};
use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock, bpf_sock_tuple},
    btf_maps::lpm_trie::Key,
    helpers::generated::{
        bpf_ktime_get_ns, bpf_sk_ancestor_cgroup_id, bpf_sk_lookup_udp, bpf_sk_release,
        bpf_skb_load_bytes, bpf_skc_lookup_tcp,
    },
};

use crate::{
    denial::{Details, Question, Who, deny_question},
    exits, groups,
    kernel::{HASH_SEED, OFF_SKB_SK, is_kernel_socket, read},
    maps::{CLIENTS, COUNTERS, SYNS, add},
    older, questions,
    sock::mark_of,
    socket,
    subject::Subject,
    udp_peers,
    verifier::forgotten,
};

const CURRENT_NETNS: u64 = u64::MAX;
/// `TCP_TIME_WAIT` (include/net/tcp_states.h).
const TIME_WAIT: u32 = 6;

/// A packet, or a frame, of a sealed container.
pub(crate) struct Packet {
    skb: *mut __sk_buff,
    /// Where the network header is: 0 for cgroup hooks, [`ETHERNET`] for frames.
    base: u32,
    subject: Subject,
    /// Full socket or null.
    sk: *mut bpf_sock,
}

impl Packet {
    #[inline(always)]
    pub(crate) fn new(skb: *mut __sk_buff, base: u32, subject: Subject) -> Self {
        Self {
            skb,
            base,
            subject,
            sk: socket::full_socket(skb),
        }
    }

    /// One at a cgroup hook, of which nothing is asked that its own socket knows.
    #[inline(always)]
    pub(crate) const fn plain(skb: *mut __sk_buff, subject: Subject) -> Self {
        Self {
            skb,
            base: 0,
            subject,
            sk: ptr::null_mut(),
        }
    }

    /// Reads `N` bytes at `offset` from the network header.
    #[inline(always)]
    pub(crate) fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0u8; N];
        // SAFETY: the buffer is as long as said.
        let error = unsafe {
            bpf_skb_load_bytes(
                self.skb.cast(),
                self.base + offset,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        (error == 0).then_some(bytes)
    }

    /// The first bytes of a frame.
    #[inline(always)]
    pub(crate) fn frame<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = [0u8; N];
        // SAFETY: the buffer is as long as said.
        let error =
            unsafe { bpf_skb_load_bytes(self.skb.cast(), 0, bytes.as_mut_ptr().cast(), N as u32) };
        (error == 0).then_some(bytes)
    }

    /// The IP header and how many bytes it has, a jumbo header with it.
    #[inline(always)]
    fn addresses(&self) -> Option<(Ip, u32)> {
        // SAFETY: the context is a __sk_buff.
        let len = unsafe { (*self.skb).len }.wrapping_sub(self.base);
        let [first] = self.load(0)?;
        match first >> 4 {
            4 => Some((packet::ipv4(&self.load(0)?, len), 20)),
            6 => {
                let ip = packet::ipv6(&self.load(0)?, len);
                if ip.protocol == packet::HOP_BY_HOP
                    && let Some(header) = self.load(40)
                    && let Some(ip) = packet::jumbo(&ip, &header, len)
                {
                    return Some((ip, 40 + packet::JUMBO));
                }
                Some((ip, 40))
            }
            _ => None,
        }
    }

    /// The headers; `None` if the packet is too short for them.
    #[inline(always)]
    pub(crate) fn parse(&self) -> Option<(Ip, Transport)> {
        let (ip, offset) = self.addresses()?;
        let transport = self.transport(&ip, offset)?;
        Some(self.blurred(ip, transport))
    }

    /// The headers, with [`Transport::OTHER`] if it is too short for that one.
    #[inline(always)]
    pub(crate) fn parse_part(&self) -> Option<(Ip, Transport)> {
        let (ip, offset) = self.addresses()?;
        let transport = self.transport(&ip, offset).unwrap_or(Transport::OTHER);
        Some(self.blurred(ip, transport))
    }

    /// The headers of a whole UDP datagram; `None` if it is anything else.
    #[inline(always)]
    pub(crate) fn datagram(&self) -> Option<(Ip, Transport)> {
        let [first] = self.load(0)?;
        let (ip, offset) = match first >> 4 {
            4 => (packet::ipv4(&self.load(0)?, 0), 20),
            6 => (packet::ipv6(&self.load(0)?, 0), 40),
            _ => return None,
        };
        if ip.protocol != packet::UDP {
            return None;
        }
        // SAFETY: the context is a __sk_buff.
        let offset = forgotten(offset, 64, unsafe { (*self.skb).len }) as u32;
        let transport = Transport::udp(&self.load(offset)?);
        Some(self.blurred(ip, transport))
    }

    /// Version and destination of a fragment of a UDP datagram; `None` if it is anything else.
    #[inline(always)]
    pub(crate) fn fragment(&self) -> Option<(u8, Addr)> {
        let [first] = self.load(0)?;
        match first >> 4 {
            4 => Some((4, packet::udp_fragment4(&self.load(0)?)?)),
            6 => Some((6, packet::udp_fragment6(&self.load(0)?)?)),
            _ => None,
        }
    }

    #[inline(always)]
    fn transport(&self, ip: &Ip, offset: u32) -> Option<Transport> {
        // SAFETY: the context is a __sk_buff.
        let offset = forgotten(offset.into(), 64, unsafe { (*self.skb).len }) as u32;
        // Behind options or extension headers the offset is wrong; such packets
        // are dropped for being what they are, before ports are looked at.
        Some(match ip.protocol {
            packet::TCP => {
                let mut tcp = Transport::tcp(&self.load(offset)?);
                if tcp.header == 32 {
                    tcp.options = self.load(offset + 20)?;
                }
                tcp
            }
            packet::UDP => Transport::udp(&self.load(offset)?),
            packet::ICMP | packet::ICMPV6 => {
                let head = self.load(offset)?;
                let target = self
                    .load(offset + 8)
                    .map_or(Addr::default(), Addr::from_octets);
                Transport::icmp(head, target)
            }
            _ => Transport::OTHER,
        })
    }

    /// The same headers; of which kind they are the verifier knows no more, so it
    /// walks what follows once, not once for each.
    #[inline(always)]
    fn blurred(&self, mut ip: Ip, mut transport: Transport) -> (Ip, Transport) {
        // SAFETY: the context is a __sk_buff.
        let any = unsafe { (*self.skb).len };
        ip.version = forgotten(ip.version.into(), 8, any) as u8;
        ip.plain = forgotten(ip.plain.into(), 2, any) != 0;
        transport.kind = match forgotten(transport.kind as u64, 4, any) {
            0 => Kind::Other,
            1 => Kind::Tcp,
            2 => Kind::Udp,
            _ => Kind::Icmp,
        };
        (ip, transport)
    }

    /// The socket as the verdict sees it.
    #[inline(always)]
    pub(crate) fn socket(&self, ip: &Ip) -> Socket {
        self.socket_in(ip.version)
    }

    /// The same for a packet of this IP version.
    #[inline(always)]
    pub(crate) fn socket_in(&self, version: u8) -> Socket {
        if self.sk.is_null() {
            return Socket::NONE;
        }
        // SAFETY: not null, and the verifier knows a full bpf_sock.
        unsafe {
            let peer = socket::peer(self.sk, version == 4);
            let tag = socket::tag_of(self.sk);
            let tag = if tag.is_null() { Tag::NONE } else { *tag };
            socket::facts(self.sk, peer, tag)
        }
    }

    #[inline(always)]
    const fn layer(&self) -> Layer {
        if self.base == ETHERNET {
            Layer::Frame
        } else {
            Layer::Cgroup
        }
    }

    /// See [`socket::renew_tag`].
    #[inline(always)]
    pub(crate) fn renew(&self, policy: &Policy, epoch: u32) {
        if self.sk.is_null() {
            return;
        }
        // SAFETY: not null, and what is found is a live value.
        unsafe {
            let tag = socket::tag_of(self.sk);
            if !tag.is_null() {
                socket::renew_tag(tag, self.subject.seal, policy, epoch);
            }
        }
    }

    /// See [`socket::write_tag`].
    #[inline(always)]
    pub(crate) fn tag(&self, port: u16, policy: &Policy, epoch: u32) -> bool {
        // SAFETY: not null.
        !self.sk.is_null()
            && unsafe { socket::write_tag(self.sk, self.subject.seal, port, policy, epoch) }
    }

    /// Counts and reports the denial, by the number of its [`Reason`]. The headers
    /// are read again: what the verdict made of them would be many ways to come here.
    #[inline(always)]
    pub(crate) fn deny(&self, hook: Hook, reason: u64) {
        // SAFETY: the context is a __sk_buff.
        let ifindex = unsafe { (*self.skb).ifindex };
        let mut details = Details {
            hook,
            reason,
            who: Who::Socket(ptr::null()),
            protocol: 0,
            src: Addr::default(),
            dst: Addr::default(),
            sport: 0,
            dport: 0,
            family: 0,
            kind: 0,
            ifindex,
        };
        let mut question = Question {
            skb: self.skb,
            offset: 0,
        };
        if let Some((ip, header)) = self.addresses() {
            details.protocol = ip.protocol;
            details.src = ip.src;
            details.dst = ip.dst;
            if ip.protocol == packet::TCP || ip.protocol == packet::UDP {
                if let Some([a, b, c, d]) = self.load(header) {
                    details.sport = u16::from_be_bytes([a, b]);
                    details.dport = u16::from_be_bytes([c, d]);
                }
                // A resolver of others on loopback is no less asked: 127.0.0.53, systemd's.
                let local = reason == Reason::Loopback as u64 && details.dport == 53;
                if ip.protocol == packet::UDP && (local || reason == Reason::Dns as u64) {
                    // Behind the UDP header and the twelve bytes of RFC 1035 §4.1.1.
                    question.offset = self.base + header + 8 + 12;
                }
            }
        }
        question.offset = forgotten(question.offset.into(), 128, ifindex) as u32;
        if !self.sk.is_null() {
            // SAFETY: not null, and the verifier knows a full bpf_sock.
            if let Some(mark) = unsafe { mark_of(self.sk, self.subject.seal) } {
                details.who = Who::Socket(mark);
            }
        }
        deny_question(&self.subject, &details, &question);
    }
}

/// Whether `--from` allows this client.
#[inline(always)]
pub(crate) fn client_allowed(seal: SealNumber, client: Addr) -> bool {
    let key = Key::new(Client::BITS, Client::new(seal, client));
    CLIENTS.get(&key).is_some()
}
