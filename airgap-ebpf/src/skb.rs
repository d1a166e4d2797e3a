//! Packets of sealed cgroups, on their way out and in. Egress is the guarantee:
//! whatever got past the system call hooks ends here.

use airgap_common::{
    addr::Addr,
    denial::{Attribution, Hook, Reason},
    map::{Client, Mark, Policy, Tag},
    packet::{self, Ip, Kind, Transport},
    verdict::{self, Inbound, Kernel, Peer, Socket},
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock, bpf_sock_tuple},
    btf_maps::lpm_trie::Key,
    helpers::generated::{
        bpf_ktime_get_ns, bpf_sk_ancestor_cgroup_id, bpf_sk_fullsock, bpf_sk_lookup_udp,
        bpf_sk_release, bpf_sk_storage_get, bpf_skb_ancestor_cgroup_id, bpf_skc_lookup_tcp,
    },
    programs::SkBuffContext,
};

use crate::{
    denial::{Details, Question, deny},
    kernel::{OFF_SKB_SK, is_kernel_socket, read},
    maps::{CLIENTS, COUNTERS, TAGS, add},
    sock::mark_of,
    subject::{Subject, find},
};

const PASS: i32 = 1;
const DROP: i32 = 0;
/// Every network namespace registers its loopback device first.
const LOOPBACK: u32 = 1;
const CURRENT_NETNS: u64 = u64::MAX;

/// `cgroup_skb/egress`: 1 passes, 0 drops (EPERM for datagrams).
#[inline(always)]
pub(crate) fn egress(ctx: &SkBuffContext) -> i32 {
    let Some(subject) = subject(ctx) else {
        return PASS;
    };
    let packet = Packet::new(ctx, subject);
    match packet.parse() {
        None => packet.drop(Hook::Egress, Reason::Header, None),
        Some((ip, transport, _)) => {
            let socket = packet.socket(&ip);
            let loopback = ifindex(ctx) == LOOPBACK;
            let policy = subject.policy().ok();
            match verdict::egress(
                &ip,
                &transport,
                loopback,
                socket.as_ref(),
                subject.seal,
                policy,
                &packet,
            ) {
                Ok(()) => PASS,
                Err(reason) => packet.drop(Hook::Egress, reason, Some((&ip, &transport))),
            }
        }
    }
}

/// `cgroup_skb/ingress`: 1 delivers, 0 drops.
#[inline(always)]
pub(crate) fn ingress(ctx: &SkBuffContext) -> i32 {
    let Some(subject) = subject(ctx) else {
        return PASS;
    };
    let packet = Packet::new(ctx, subject);
    match packet.parse() {
        None => packet.drop(Hook::Ingress, Reason::Inbound, None),
        Some((ip, transport, _)) => {
            let socket = packet.socket(&ip);
            let loopback = ifindex(ctx) == LOOPBACK;
            let policy = subject.policy().ok();
            match verdict::ingress(
                &ip,
                &transport,
                loopback,
                socket.as_ref(),
                subject.seal,
                policy,
                &packet,
            ) {
                Ok(Inbound::Deliver) => PASS,
                Ok(Inbound::TagListener) if packet.tag(&transport) => PASS,
                Ok(Inbound::TagListener) => packet.drop(Hook::Ingress, Reason::Inbound, None),
                Err(reason) => packet.drop(Hook::Ingress, reason, Some((&ip, &transport))),
            }
        }
    }
}

#[inline(always)]
fn skb(ctx: &SkBuffContext) -> *mut __sk_buff {
    ctx.skb.skb
}

#[inline(always)]
fn ifindex(ctx: &SkBuffContext) -> u32 {
    // SAFETY: the context is a __sk_buff.
    unsafe { (*skb(ctx)).ifindex }
}

#[inline(always)]
fn subject(ctx: &SkBuffContext) -> Option<Subject> {
    // SAFETY: the helper takes any level, 0 stands for "no such ancestor".
    find(|level| unsafe { bpf_skb_ancestor_cgroup_id(skb(ctx), level as i32) })
}

/// A packet under judgement.
struct Packet<'a> {
    ctx: &'a SkBuffContext,
    subject: Subject,
    /// Full socket or null.
    sk: *mut bpf_sock,
}

impl<'a> Packet<'a> {
    #[inline(always)]
    fn new(ctx: &'a SkBuffContext, subject: Subject) -> Self {
        // SAFETY: the context is a __sk_buff; null is checked before each use.
        let sk = unsafe {
            let sk = (*skb(ctx)).__bindgen_anon_2.sk;
            if sk.is_null() {
                sk
            } else {
                bpf_sk_fullsock(sk)
            }
        };
        Self { ctx, subject, sk }
    }

    /// Headers and the offset of the transport header; `None` if too short.
    #[inline(always)]
    fn parse(&self) -> Option<(Ip, Transport, u32)> {
        let first = self.ctx.load::<u8>(0).ok()?;
        let (ip, offset) = if first >> 4 == 4 {
            (packet::ipv4(&self.ctx.load(0).ok()?), 20)
        } else if first >> 4 == 6 {
            (packet::ipv6(&self.ctx.load(0).ok()?), 40)
        } else {
            return None;
        };
        // Behind options or extension headers the offset is wrong; such packets
        // are dropped for being what they are, before ports are looked at.
        let transport = match ip.protocol {
            packet::TCP => Transport::tcp(&self.ctx.load(offset).ok()?),
            packet::UDP => Transport::udp(&self.ctx.load(offset).ok()?),
            packet::ICMP | packet::ICMPV6 => {
                let head = self.ctx.load(offset).ok()?;
                let target = self
                    .ctx
                    .load(offset + 8)
                    .map_or(Addr::default(), Addr::from_octets);
                Transport::icmp(head, target)
            }
            _ => Transport::OTHER,
        };
        Some((ip, transport, offset as u32))
    }

    /// The socket as the verdict sees it.
    #[inline(always)]
    fn socket(&self, ip: &Ip) -> Option<Socket> {
        if self.sk.is_null() {
            return None;
        }
        // SAFETY: not null, and the verifier knows a full bpf_sock.
        unsafe {
            let sk = self.sk;
            let peer = if ip.version == 4 {
                Addr::v4((*sk).dst_ip4)
            } else {
                Addr([
                    core::ptr::read_volatile(&raw const (*sk).dst_ip6[0]),
                    core::ptr::read_volatile(&raw const (*sk).dst_ip6[1]),
                    core::ptr::read_volatile(&raw const (*sk).dst_ip6[2]),
                    core::ptr::read_volatile(&raw const (*sk).dst_ip6[3]),
                ])
            };
            let tag = bpf_sk_storage_get(TAGS.as_ptr(), sk.cast(), core::ptr::null_mut(), 0)
                .cast::<Tag>();
            Some(Socket {
                kind: (*sk).type_,
                protocol: (*sk).protocol,
                state: (*sk).state,
                sport: (*sk).src_port as u16,
                dport: u16::from_be((*sk).dst_port),
                peer,
                tag: if tag.is_null() { None } else { Some(*tag) },
            })
        }
    }

    /// Tags the listener this SYN is for; false if there is no memory for it.
    #[inline(always)]
    fn tag(&self, transport: &Transport) -> bool {
        if self.sk.is_null() {
            return false;
        }
        let port = transport.dport;
        let mut tag = Tag {
            seal: self.subject.seal,
            port,
            _pad: [0; 6],
        };
        // SAFETY: map and socket are live; `tag` has the map's value layout.
        unsafe {
            let stored = bpf_sk_storage_get(
                TAGS.as_ptr(),
                self.sk.cast(),
                (&raw mut tag).cast(),
                BPF_SK_STORAGE_GET_F_CREATE.into(),
            )
            .cast::<Tag>();
            if stored.is_null() {
                return false;
            }
            if (*stored).seal != tag.seal || (*stored).port != tag.port {
                *stored = tag;
            }
        }
        true
    }

    /// Counts and reports; always [`DROP`].
    #[inline(always)]
    fn drop(&self, hook: Hook, reason: Reason, headers: Option<(&Ip, &Transport)>) -> i32 {
        let mut details = Details {
            hook,
            reason,
            attribution: Attribution::None,
            mark: Mark::default(),
            protocol: 0,
            src: Addr::default(),
            dst: Addr::default(),
            sport: 0,
            dport: 0,
            family: 0,
            kind: 0,
            ifindex: ifindex(self.ctx),
        };
        let mut question = None;
        if let Some((ip, transport)) = headers {
            details.protocol = ip.protocol;
            details.src = ip.src;
            details.dst = ip.dst;
            details.sport = transport.sport;
            details.dport = transport.dport;
            if transport.kind == Kind::Udp && matches!(reason, Reason::Dns) {
                // Behind the UDP header and the twelve bytes of RFC 1035 §4.1.1.
                let header = if ip.version == 4 { 20 } else { 40 };
                question = Some(Question {
                    skb: self.ctx,
                    offset: header + 8 + 12,
                });
            }
        }
        if !self.sk.is_null() {
            // SAFETY: not null, and the verifier knows a full bpf_sock.
            if let Some(mark) = unsafe { mark_of(self.sk, self.subject.seal) } {
                details.attribution = Attribution::Socket;
                // SAFETY: a live value.
                details.mark = unsafe { *mark };
            }
        }
        deny(&self.subject, &details, question);
        DROP
    }
}

impl Kernel for Packet<'_> {
    #[inline(always)]
    fn peer(&self, ip: &Ip, transport: &Transport) -> Peer {
        let Transport { sport, dport, .. } = *transport;
        // SAFETY: zero is a valid tuple; the helpers read as many bytes as said,
        // and the reference is released on the only path that holds one.
        unsafe {
            let mut tuple: bpf_sock_tuple = core::mem::zeroed();
            let len = if ip.version == 4 {
                tuple.__bindgen_anon_1.ipv4.saddr = ip.src.0[3];
                tuple.__bindgen_anon_1.ipv4.daddr = ip.dst.0[3];
                tuple.__bindgen_anon_1.ipv4.sport = sport.to_be();
                tuple.__bindgen_anon_1.ipv4.dport = dport.to_be();
                12
            } else {
                tuple.__bindgen_anon_1.ipv6.saddr = ip.src.0;
                tuple.__bindgen_anon_1.ipv6.daddr = ip.dst.0;
                tuple.__bindgen_anon_1.ipv6.sport = sport.to_be();
                tuple.__bindgen_anon_1.ipv6.dport = dport.to_be();
                36
            };
            let ctx = self.ctx.as_ptr();
            let sk = if transport.kind == Kind::Tcp {
                // Unlike bpf_sk_lookup_tcp, this one also finds TIME_WAIT.
                bpf_skc_lookup_tcp(ctx, &raw mut tuple, len, CURRENT_NETNS, 0)
            } else {
                bpf_sk_lookup_udp(ctx, &raw mut tuple, len, CURRENT_NETNS, 0)
            };
            if sk.is_null() {
                return Peer::None;
            }
            let cgroup = bpf_sk_ancestor_cgroup_id(sk.cast(), self.subject.level as i32);
            let full = !bpf_sk_fullsock(sk).is_null();
            bpf_sk_release(sk.cast());
            if cgroup == self.subject.cgroup {
                Peer::Inside
            } else if full || cgroup != 0 {
                Peer::Outside
            } else {
                Peer::TimeWait
            }
        }
    }

    #[inline(always)]
    fn client_allowed(&self, client: Addr) -> bool {
        CLIENTS
            .get(&Key::new(
                64 + 128,
                Client {
                    seal: self.subject.seal,
                    addr: client,
                },
            ))
            .is_some()
    }

    #[inline(always)]
    fn kernel_socket(&self) -> bool {
        read::<u64>(self.ctx.as_ptr() as u64, &OFF_SKB_SK).is_some_and(is_kernel_socket)
    }

    #[inline(always)]
    fn neighbour_budget(&self) -> bool {
        let Some(counters) = COUNTERS.get_ptr_mut(self.subject.seal) else {
            return false;
        };
        let limit = match self.subject.policy() {
            Ok(Policy { nd_per_second, .. }) => u64::from(*nd_per_second),
            Err(_) => return false,
        };
        // SAFETY: a live map value; a race at the turn of a second gives or
        // takes a few messages.
        unsafe {
            let second = bpf_ktime_get_ns() / 1_000_000_000;
            if (*counters).nd_second != second {
                (*counters).nd_second = second;
                (*counters).nd_count = 0;
            }
            add(&raw mut (*counters).nd_count, 1);
            (*counters).nd_count <= limit
        }
    }
}
