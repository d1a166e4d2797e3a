//! What the verdict asks the kernel about a packet.

use super::*;

impl Kernel for Packet {
    #[inline(always)]
    fn peer(&self, ip: &Ip, transport: &Transport) -> Peer {
        let Transport { sport, dport, .. } = *transport;
        // SAFETY: zero is a valid tuple; the helpers read as many bytes as said,
        // and the reference is released on the only path that holds one.
        unsafe {
            let mut tuple: bpf_sock_tuple = core::mem::zeroed();
            // A SYN is for a listener, also where the same ports are in TIME_WAIT.
            let syn = transport.kind == Kind::Tcp
                && transport.flags & (packet::SYN | packet::ACK) == packet::SYN;
            let sport = if syn { 0 } else { sport };
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
            let ctx = self.skb.cast();
            // State, and the interface above it: one word, as there is no room for two.
            let mut seen = 0_u64;
            let sk = if transport.kind == Kind::Tcp {
                // Unlike bpf_sk_lookup_tcp, this one also finds TIME_WAIT, and what is
                // being opened.
                let sk = bpf_skc_lookup_tcp(ctx, &raw mut tuple, len, CURRENT_NETNS, 0);
                if !sk.is_null() {
                    // Read here alone: for the verifier what UDP finds is of another type.
                    let bound = ptr::read_volatile(&raw const (*sk).bound_dev_if);
                    let state = ptr::read_volatile(&raw const (*sk).state);
                    seen = u64::from(bound) << 32 | u64::from(state);
                }
                sk
            } else {
                bpf_sk_lookup_udp(ctx, &raw mut tuple, len, CURRENT_NETNS, 0)
            };
            if sk.is_null() {
                return Peer::None;
            }
            // Of a connection being opened, that of its listener.
            let cgroup = bpf_sk_ancestor_cgroup_id(sk.cast(), self.subject.level as i32);
            bpf_sk_release(sk.cast());
            if cgroup == self.subject.cgroup && seen >> 32 == 0 {
                Peer::Inside
            } else if cgroup == self.subject.cgroup {
                Peer::Bound
            } else if seen as u32 == TIME_WAIT {
                Peer::TimeWait
            } else {
                Peer::Outside
            }
        }
    }

    #[inline(always)]
    fn client_allowed(&self, client: Addr) -> bool {
        client_allowed(self.subject.seal, client)
    }

    #[inline(always)]
    fn kernel_socket(&self) -> bool {
        // SAFETY: the context is a __sk_buff.
        if self.sk.is_null() && !unsafe { (*self.skb).__bindgen_anon_2.sk }.is_null() {
            // TIME_WAIT (since 6.13) or a connection being opened.
            return true;
        }
        read::<u64>(self.skb as u64, &OFF_SKB_SK).is_some_and(is_kernel_socket)
    }

    #[inline(always)]
    fn answer_owed(&self) -> bool {
        questions::answer(self.subject.seal, self.layer()) != 0
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

    #[inline(always)]
    fn own_groups(&self) -> bool {
        groups::are_own(self.skb, self.base) != 0
    }

    #[inline(always)]
    fn client_opened(&self, ip: &Ip, transport: &Transport, answered: bool) -> bool {
        if self.base != ETHERNET {
            // Only a frame injected on lo makes the kernel answer to a flow
            // that nobody opened, and frames are the frame layer's to stop.
            return true;
        }
        let key = Syn {
            seal: self.subject.seal,
            client: ip.dst,
            own: ip.src,
            client_port: transport.dport,
            port: transport.sport,
            _pad: 0,
        };
        let Some(seen) = SYNS.get_ptr_mut(key.slot(HASH_SEED.load())) else {
            return false;
        };
        // SAFETY: a live map value; a lost race lets one more SYN-ACK out.
        unsafe {
            if (*seen).syn != key {
                return false;
            }
            if bpf_ktime_get_ns() - (*seen).time > SYN_LIFE {
                return false;
            }
            if !answered {
                return true;
            }
            let open = (*seen).answered == 0 && transport.ack == (*seen).seq.wrapping_add(1);
            (*seen).answered = 1;
            open
        }
    }

    #[inline(always)]
    fn older(&self, ip: &Ip, transport: &Transport) -> Ended {
        let layer = self.layer();
        let flow = Syn {
            seal: self.subject.seal,
            client: ip.dst,
            own: ip.src,
            client_port: transport.dport,
            port: transport.sport,
            _pad: 0,
        };
        // SAFETY: the context is a __sk_buff.
        let any = unsafe { (*self.skb).len };
        match forgotten(older::answer(&flow, layer).into(), 4, any) {
            2 => Ended::Answered,
            1 => Ended::Silent,
            _ => Ended::Unknown,
        }
    }

    #[inline(always)]
    fn was_cut(&self, ip: &Ip, transport: &Transport) -> bool {
        let flow = Syn {
            seal: self.subject.seal,
            client: ip.src,
            own: ip.dst,
            client_port: transport.sport,
            port: transport.dport,
            _pad: 0,
        };
        older::was_cut(&flow) != 0
    }

    #[inline(always)]
    fn exit_segment(
        &self,
        flow: &Flow,
        ip: &Ip,
        transport: &Transport,
        number: u32,
        passage: Passage,
    ) -> Exit {
        let layer = self.layer();
        let exit = exits::segment(self.skb, layer, flow, ip, transport, number, passage);
        // SAFETY: the context is a __sk_buff.
        let any = unsafe { (*self.skb).len };
        Exit::of(forgotten(exit as u64, 4, any))
    }

    #[inline(always)]
    fn exit_datagram(&self, flow: &Flow, ip: &Ip) -> Exit {
        match self.layer() {
            Layer::Frame => exits::framed(self.skb, flow),
            Layer::Cgroup => exits::datagram(self.skb, flow, ip),
        }
    }

    #[inline(always)]
    fn exit_reply(&self, flow: &Flow, ip: &Ip, connected: bool) -> bool {
        exits::reply(self.skb, flow, ip, connected)
    }

    #[inline(always)]
    fn udp_peer(&self, peer: &UdpPeer) -> bool {
        match self.layer() {
            Layer::Frame => exits::is_of(self.skb, peer.seal) != 0,
            Layer::Cgroup => udp_peers::is_answered(self.skb, peer),
        }
    }

    #[inline(always)]
    fn udp_ask(&self, peer: &UdpPeer) -> bool {
        udp_peers::ask(self.skb, peer)
    }

    #[inline(always)]
    fn exit_cut(&self, flow: &Flow) -> Ended {
        match exits::cut(flow, self.layer()) {
            2 => Ended::Answered,
            1 => Ended::Silent,
            _ => Ended::Unknown,
        }
    }

    #[inline(always)]
    fn exit_remembered(&self, flow: &Flow) -> bool {
        exits::is_remembered(flow)
    }
}
