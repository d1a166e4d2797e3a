//! The verdict: pure, shared by every program that judges packets.
//!
//! The rule behind all of it is provenance. A TCP listener is tagged with seal
//! and port when an allowed client's SYN reaches it; the kernel copies the tag
//! to the sockets it accepts; `connect` erases it. Only tagged sockets speak
//! to the outside, and only to the peer they were accepted from. The other ways are an
//! exception that the operator made ([`exit`]), and answers from a UDP service port to who
//! has just asked there ([`service`]).

pub mod exit;
mod facts;
mod inbound;
pub mod inward;
mod loopback;
pub mod outward;
pub mod service;
pub mod short;
pub mod socket;
#[cfg(test)]
mod tests;

pub use self::{
    facts::{Kernel, Peer, SOCK_DGRAM, SOCK_STREAM, Socket, state},
    inbound::{Inbound, ingress, socket_errno},
    loopback::{near, on_loopback, to_loopback},
};

use crate::{
    addr::Addr,
    denial::Reason,
    map::{Ended, Flow, Policy, SealNumber, Tag},
    packet::{ACK, FIN, IGMP, Ip, Kind, RST, SYN, Transport},
};

/// Judges a packet that leaves a sealed cgroup.
///
/// `policy` is `None` for cgroups that did not fit into the maps.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn egress<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    loopback: bool,
    socket: &Socket,
    seal: SealNumber,
    policy: Option<&Policy>,
    kernel: &K,
) -> Result<(), Reason> {
    let Some(policy) = policy else {
        return Err(Reason::Unrecorded);
    };
    if !ip.plain {
        // MLD reports carry a hop-by-hop header (RFC 3810 §5).
        if ip.version != 6 || ip.protocol != 0 || !kernel.kernel_socket() {
            return Err(Reason::Header);
        }
        if !loopback && kernel.own_groups() && kernel.neighbour_budget() {
            return Ok(());
        }
        return Err(Reason::KernelChatter);
    }
    if loopback {
        return on_loopback(ip, transport, policy, kernel).map(|_| ());
    }
    if touches_loopback(ip) {
        // A connection made over lo by one that tries to take it out.
        return Err(Reason::Loopback);
    }
    match transport.kind {
        Kind::Tcp => reply(ip, transport, socket, seal, policy, kernel),
        Kind::Icmp if ip.version == 6 => neighbour(ip, transport, kernel),
        // `service::answer` has the say.
        Kind::Udp if policy.flags & Policy::SERVES_UDP != 0 => Err(Reason::Unasked),
        Kind::Udp if policy.flags & Policy::HAS_EXITS != 0 => {
            exit::datagram(ip, transport, socket, seal, kernel)
        }
        Kind::Udp if transport.dport == 53 => Err(Reason::Dns),
        _ => Err(Reason::Egress),
    }
}

/// What has no business on any other interface.
#[inline(always)]
fn touches_loopback(ip: &Ip) -> bool {
    ip.src.is(ip.dst) || ip.src.is_loopback() || ip.dst.is_loopback()
}

/// TCP leaves only as a reply on a connection that an allowed client opened.
#[inline(always)]
fn reply<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    socket: &Socket,
    seal: SealNumber,
    policy: &Policy,
    kernel: &K,
) -> Result<(), Reason> {
    let Transport { dport, flags, .. } = *transport;
    if !socket.exists {
        return Err(Reason::NoProvenance);
    }
    if !socket.is_tcp() {
        // The kernel answers for connections that have no full socket any more
        // (TIME_WAIT) from control sockets of its own.
        if !kernel.kernel_socket() {
            return Err(Reason::NoProvenance);
        }
        return by_kernel(ip, transport, seal, policy, kernel);
    }
    if exit::is_of(socket, seal) {
        return exit::segment(ip, transport, socket, seal, kernel);
    }
    if flags & (SYN | ACK) == SYN {
        return Err(Reason::Syn);
    }
    // Since Linux 6.13 the kernel answers in the name of the listener that a stray
    // segment found; a listener itself sends nothing.
    if socket.state == state::LISTEN && is_bare(ip, transport) {
        return by_kernel(ip, transport, seal, policy, kernel);
    }
    let tag = socket.tag;
    if tag.seal != seal && flags & RST != 0 && is_bare(ip, transport) {
        // The seal's own doing, if it has cut this connection: the peer is told.
        match kernel.older(ip, transport) {
            Ended::Unknown => {}
            Ended::Answered if is_own(ip, transport, socket, policy, kernel) => return Ok(()),
            Ended::Answered | Ended::Silent => return Err(Reason::KernelChatter),
        }
    }
    // It leaves by that interface, whichever its client came by: where others of the host
    // have links, too, somebody may have taken the client's address there.
    let shared = policy.flags & Policy::SHARED_NETWORK != 0;
    if shared && socket.bound && !ip.dst.is_v6_link_local() {
        return Err(Reason::NextHop);
    }
    if tag.seal == Tag::NONE.seal {
        return Err(Reason::NoProvenance);
    }
    if tag.seal != seal || !policy.serves_tcp(tag.port) {
        return Err(Reason::StaleProvenance);
    }
    // NAT in the namespace may have changed the packet's: that takes CAP_NET_ADMIN.
    if !has_port(socket, tag.port) {
        return Err(Reason::NoProvenance);
    }
    let syn = flags & SYN != 0;
    let right_state = match socket.state {
        // What leaves a listener is the SYN-ACK of a connection being opened.
        state::LISTEN => syn,
        state::SYN_RECV => true,
        state::SYN_SENT => false,
        // CLOSE, too: a frame may be judged after its connection ended. Then
        // the peer still stands, while a disconnect erases it.
        _ => !syn,
    };
    if !right_state {
        return Err(if syn {
            Reason::Syn
        } else {
            Reason::NoProvenance
        });
    }
    if socket.state != state::LISTEN && (!socket.peer.is(ip.dst) || socket.dport != dport) {
        return Err(Reason::NoProvenance);
    }
    if !client(ip.dst, policy, kernel) {
        return Err(Reason::Client);
    }
    Ok(())
}

/// A connection that ended has given its port back already.
#[inline(always)]
fn has_port(socket: &Socket, sport: u16) -> bool {
    socket.sport == sport || (socket.state == state::CLOSE && socket.sport == 0)
}

/// Whether this is for the socket's peer, from a service port, and the peer is a
/// client that may come in.
#[inline(always)]
fn is_own<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    socket: &Socket,
    policy: &Policy,
    kernel: &K,
) -> bool {
    has_port(socket, transport.sport)
        && socket.peer.is(ip.dst)
        && socket.dport == transport.dport
        && policy.serves_tcp(transport.sport)
        && client(ip.dst, policy, kernel)
}

/// Whether a segment carries nothing, opens and closes nothing, and has no option
/// but timestamps: the kernel writes no other into those that it makes alone
/// (tcp_v4_send_ack, tcp_send_active_reset).
#[inline(always)]
fn is_bare(ip: &Ip, transport: &Transport) -> bool {
    let plain =
        transport.header == 20 || (transport.header == 32 && transport.options == [1, 1, 8, 10]);
    plain && ip.payload == u32::from(transport.header) && transport.flags & (SYN | FIN) == 0
}

/// A segment without payload that the kernel made itself, on a flow that a
/// client or an exception opened: the last ACK of a closed connection, a RST. Or on one that is
/// older than the seal, which has kept or cut it.
#[inline(always)]
fn by_kernel<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    seal: SealNumber,
    policy: &Policy,
    kernel: &K,
) -> Result<(), Reason> {
    if !is_bare(ip, transport) {
        return Err(Reason::KernelChatter);
    }
    if policy.serves_tcp(transport.sport)
        && client(ip.dst, policy, kernel)
        && (kernel.client_opened(ip, transport, false)
            || kernel.older(ip, transport) == Ended::Answered)
    {
        return Ok(());
    }
    if policy.flags & Policy::HAS_EXITS != 0
        && kernel.exit_remembered(&Flow::out(seal, ip, transport))
    {
        return Ok(());
    }
    Err(Reason::KernelChatter)
}

#[inline(always)]
fn client<K: Kernel>(addr: Addr, policy: &Policy, kernel: &K) -> bool {
    policy.flags & Policy::CLIENTS_ANY != 0 || kernel.client_allowed(addr)
}

/// Judges an IP frame that a sealed container's network interface sends, on
/// the host's side of it. The frame still belongs to its socket there (veth
/// keeps it since Linux 4.18), so the rule is the same.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn frame<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    socket: &Socket,
    seal: SealNumber,
    policy: Option<&Policy>,
    kernel: &K,
) -> Result<(), Reason> {
    if socket.exists {
        return match egress(ip, transport, false, socket, seal, policy, kernel) {
            Err(Reason::NoProvenance) => Err(Reason::Frame),
            verdict => verdict,
        };
    }
    // No socket: made by the kernel itself, or forwarded by it from a frame
    // that was injected on lo.
    let Some(policy) = policy else {
        return Err(Reason::Unrecorded);
    };
    if transport.kind == Kind::Icmp || ip.protocol == IGMP || !ip.plain {
        return Err(Reason::KernelChatter);
    }
    if transport.kind != Kind::Tcp || touches_loopback(ip) {
        return Err(Reason::Frame);
    }
    if transport.flags & (SYN | ACK) != SYN | ACK {
        // The kernel's own come from a control socket, or carry what is left
        // of the connection's; what it forwards carries nothing.
        return if kernel.kernel_socket() {
            by_kernel(ip, transport, seal, policy, kernel)
        } else {
            Err(Reason::Frame)
        };
    }
    // A SYN cookie's SYN-ACK: one for each SYN.
    if ip.payload == u32::from(transport.header)
        && policy.serves_tcp(transport.sport)
        && kernel.client_opened(ip, transport, true)
        && client(ip.dst, policy, kernel)
    {
        return Ok(());
    }
    Err(Reason::Frame)
}

/// Neighbour discovery, without which IPv6 does not work: only the messages
/// the kernel itself makes, and only as it makes them (RFC 4861 §4.3, §4.4).
#[inline(always)]
fn neighbour<K: Kernel>(ip: &Ip, transport: &Transport, kernel: &K) -> Result<(), Reason> {
    let Transport {
        icmp_type: kind,
        icmp_code: code,
        target,
        ..
    } = *transport;
    if !kernel.kernel_socket() {
        return Err(Reason::Egress);
    }
    if kind != 135 && kind != 136 {
        return Err(Reason::KernelChatter);
    }
    // 24 bytes, or 32 with one link-layer address option for Ethernet.
    if ip.ttl != 255 || code != 0 || (ip.payload != 24 && ip.payload != 32) {
        return Err(Reason::Neighbour);
    }
    let addressed = if kind == 136 {
        true
    } else if ip.dst.is_v6_multicast() {
        ip.dst.is_solicited_node_of(target)
    } else {
        ip.dst.is(target)
    };
    if !addressed {
        return Err(Reason::Neighbour);
    }
    if (kind == 136 && kernel.answer_owed()) || kernel.neighbour_budget() {
        return Ok(());
    }
    Err(Reason::NeighbourBudget)
}
