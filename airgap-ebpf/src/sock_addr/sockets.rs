//! What is looked up of the task's socket, and of those that could receive from it.

use super::*;

/// Whether the socket was created inside this seal. A socket from elsewhere has
/// another cgroup, so egress would not judge what it sends. The socket itself says where.
#[inline(always)]
pub(super) fn is_own_socket(ctx: &SockAddrContext, subject: &Subject) -> bool {
    let kern = ctx.as_ptr() as u64;
    let Some(cgroup) = read::<u64>(kern, &OFF_SOCK_ADDR_SK).and_then(socket_cgroup) else {
        return false;
    };
    // Nearly always the task's very own, which is within the seal.
    if HAS_TYPED_LOADS.load() != 0 && cgroup == task_cgroup_by_type() {
        return true;
    }
    subject.contains(cgroup)
}

/// Whether `dst` is an address of the socket's own network namespace:
/// `bpf_bind` succeeds for no other (inet_addr_valid_or_nonlocal). With
/// IP_FREEBIND it succeeds for any, and egress drops the packet instead.
#[inline(always)]
pub(super) fn own_address(ctx: &SockAddrContext, dst: Addr) -> bool {
    if source(ctx) == dst {
        return true;
    }
    let a = ctx.sock_addr;
    // SAFETY: the context is live; the addresses are as long as said, and
    // port 0 leaves the choice of port to connect.
    unsafe {
        if (*a).family == u32::from(AF_INET) {
            let mut addr = [0u32; 4];
            addr[0] = u32::from(AF_INET);
            addr[1] = dst.0[3];
            return bpf_bind(a, (&raw mut addr).cast::<sockaddr>(), 16) == 0
                && is_source(ctx, dst.0[3]);
        }
        // struct sockaddr_in6: family and port, flow, address, scope.
        let mut addr = [0u32; 7];
        addr[0] = u32::from(AF_INET6);
        addr[2] = dst.0[0];
        addr[3] = dst.0[1];
        addr[4] = dst.0[2];
        addr[5] = dst.0[3];
        bpf_bind(a, (&raw mut addr).cast::<sockaddr>(), 28) == 0
            && (!dst.is_v4() || is_source(ctx, dst.0[3]))
    }
}

/// Whether SO_BROADCAST is set. The broadcast address of a network looks like
/// any other, and what is sent there is looped back like to any group.
#[inline(always)]
pub(super) fn may_broadcast(ctx: &SockAddrContext) -> bool {
    /// `SOCK_BROADCAST` of `enum sock_flags` (include/net/sock.h).
    const BROADCAST: u64 = 1 << 6;
    read::<u64>(ctx.as_ptr() as u64, &OFF_SOCK_ADDR_SK)
        .and_then(|sk| read::<u64>(sk, &OFF_SOCK_FLAGS))
        .is_none_or(|flags| flags & BROADCAST != 0)
}

/// Whether the socket is bound to an address that is not loopback.
#[inline(always)]
pub(super) fn is_bound_elsewhere(ctx: &SockAddrContext) -> bool {
    let bound = source(ctx);
    !bound.is_unspecified() && !bound.is_loopback()
}

/// The address the socket is bound to, all zero if to none.
#[inline(always)]
fn source(ctx: &SockAddrContext) -> Addr {
    let sk = socket(ctx);
    // SAFETY: the context and its socket are live. Volatile as in `dst6`.
    unsafe {
        if (*ctx.sock_addr).family == u32::from(AF_INET) {
            return Addr::v4((*sk).src_ip4);
        }
        Addr([
            ptr::read_volatile(&raw const (*sk).src_ip6[0]),
            ptr::read_volatile(&raw const (*sk).src_ip6[1]),
            ptr::read_volatile(&raw const (*sk).src_ip6[2]),
            ptr::read_volatile(&raw const (*sk).src_ip6[3]),
        ])
    }
}

/// Whether the socket's source address is now `addr`: it is not after a bind to
/// a broadcast address of one of its networks, which succeeds too.
#[inline(always)]
fn is_source(ctx: &SockAddrContext, addr: u32) -> bool {
    read::<u64>(ctx.as_ptr() as u64, &OFF_SOCK_ADDR_SK)
        .and_then(|sk| read::<u32>(sk, &OFF_INET_SADDR))
        == Some(addr)
}

/// Whether some UDP socket in this network namespace would take the datagram, or some
/// listener that is bound to no interface the connection.
#[inline(always)]
pub(super) fn has_receiver(ctx: &SockAddrContext, dst: Addr) -> bool {
    // SAFETY: zero is a valid tuple; the helper reads as many bytes as said,
    // and the reference it returns is released.
    unsafe {
        let mut tuple: bpf_sock_tuple = core::mem::zeroed();
        let port = dport(ctx).to_be();
        let tcp = protocol(ctx) == TCP;
        let source = match tcp {
            // A listener, not a connection.
            true => 0,
            false => ((*socket(ctx)).src_port as u16).to_be(),
        };
        let len = if dst.is_v4() {
            tuple.__bindgen_anon_1.ipv4.saddr = dst.0[3];
            tuple.__bindgen_anon_1.ipv4.daddr = dst.0[3];
            tuple.__bindgen_anon_1.ipv4.sport = source;
            tuple.__bindgen_anon_1.ipv4.dport = port;
            12
        } else {
            tuple.__bindgen_anon_1.ipv6.saddr = dst.0;
            tuple.__bindgen_anon_1.ipv6.daddr = dst.0;
            tuple.__bindgen_anon_1.ipv6.sport = source;
            tuple.__bindgen_anon_1.ipv6.dport = port;
            36
        };
        let look_up = |tuple| match tcp {
            true => bpf_sk_lookup_tcp(ctx.as_ptr(), tuple, len, CURRENT_NETNS, 0),
            false => bpf_sk_lookup_udp(ctx.as_ptr(), tuple, len, CURRENT_NETNS, 0),
        };
        let sk = look_up(&raw mut tuple);
        if sk.is_null() {
            return false;
        }
        bpf_sk_release(sk.cast());
        true
    }
}

/// Whether lo of the socket's network namespace has an IPv6 address: without any the kernel
/// finds no source before it finds no route (ip6_dst_lookup_tail, net/ipv6/ip6_output.c).
#[inline(always)]
pub(super) fn has_ipv6(ctx: &SockAddrContext) -> bool {
    let device = read::<u64>(ctx.as_ptr() as u64, &OFF_SOCK_ADDR_SK)
        .and_then(|sk| read::<u64>(sk, &OFF_SOCK_NET))
        .and_then(|net| read::<u64>(net, &OFF_NET_LOOPBACK))
        .and_then(|lo| read::<u64>(lo, &OFF_DEV_IP6));
    let Some(device) = device.filter(|device| *device != 0) else {
        return false;
    };
    read::<u64>(device, &OFF_IDEV_LIST).is_some_and(|first| first != device + OFF_IDEV_LIST.load())
}
