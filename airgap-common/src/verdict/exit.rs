//! Exceptions: connections that the container opens itself, and datagrams.
//!
//! `connect` judges the task and leaves the exception's number on the socket. That
//! counts for segments between the two ends of that socket alone, while it is one that
//! connects or has connected, and while the exception still names the far side: not for
//! a listener that it has become, nor for what that accepts. Datagrams are judged one
//! by one.

use super::{Kernel, Socket, has_port, is_bare, state};
use crate::{
    denial::Reason,
    map::{Ended, Exit, Flow, SealNumber},
    packet::{ACK, Ip, RST, SYN, Transport},
};

/// Which way a packet goes, as the container sees it, and what it is to its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// A SYN, out.
    Opens,
    /// The rest, out.
    Out,
    /// The SYN-ACK that makes a connection of it, in.
    Opened,
    /// The rest, in.
    In,
}

/// Whether this socket's segments are judged here, also where no exception is left.
#[inline(always)]
pub(super) fn is_of(socket: &Socket, seal: SealNumber) -> bool {
    socket.tag.is_exit(seal) && socket.is_tcp() && socket.state != state::LISTEN
}

/// A segment that leaves by such a socket.
#[inline(always)]
pub(super) fn segment<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    socket: &Socket,
    seal: SealNumber,
    kernel: &K,
) -> Result<(), Reason> {
    let opens = transport.flags & SYN != 0;
    let rightful = match socket.state {
        state::SYN_SENT => transport.flags & (SYN | ACK) == SYN,
        // Never one that was accepted: the tag is its listener's.
        state::LISTEN | state::SYN_RECV => false,
        _ => !opens,
    };
    if !rightful {
        return Err(if opens {
            Reason::Syn
        } else {
            Reason::NoProvenance
        });
    }
    let between = socket.peer.is(ip.dst)
        && socket.dport == transport.dport
        && has_port(socket, transport.sport);
    if !between {
        return Err(Reason::NoProvenance);
    }
    let passage = if opens { Passage::Opens } else { Passage::Out };
    let flow = Flow::out(seal, ip, transport);
    match kernel.exit_segment(&flow, ip, transport, socket.tag.epoch, passage) {
        Exit::Open => return Ok(()),
        Exit::Lapsed => return Err(Reason::ExitLapsed),
        Exit::Port => return Err(Reason::Egress),
        Exit::None => {}
    }
    if transport.flags & RST == 0 {
        return Err(Reason::StaleProvenance);
    }
    // The seal's own doing, where it cuts what a removed exception let out: the far
    // side is told.
    if is_bare(ip, transport) && kernel.exit_cut(&flow) == Ended::Answered {
        return Ok(());
    }
    Err(Reason::KernelChatter)
}

/// A segment that comes in to such a socket.
#[inline(always)]
pub(super) fn answer<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    socket: &Socket,
    seal: SealNumber,
    kernel: &K,
) -> bool {
    let syn = transport.flags & (SYN | ACK) == SYN;
    let between = socket.peer.is(ip.src)
        && socket.dport == transport.sport
        && has_port(socket, transport.dport);
    if syn || socket.state == state::SYN_RECV || !between {
        return false;
    }
    let opened = socket.state == state::SYN_SENT && transport.flags & SYN != 0;
    let passage = if opened { Passage::Opened } else { Passage::In };
    let flow = Flow::inward(seal, ip, transport);
    kernel.exit_segment(&flow, ip, transport, socket.tag.epoch, passage) == Exit::Open
}

/// A datagram that leaves, not on loopback.
#[inline(always)]
pub(super) fn datagram<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    socket: &Socket,
    seal: SealNumber,
    kernel: &K,
) -> Result<(), Reason> {
    let otherwise = if transport.dport == 53 {
        Reason::Dns
    } else {
        Reason::Egress
    };
    if !socket.exists || !socket.is_udp() || ip.dst.is_group() {
        return Err(otherwise);
    }
    match kernel.exit_datagram(&Flow::out(seal, ip, transport), ip) {
        Exit::Open => Ok(()),
        Exit::Lapsed => Err(Reason::ExitLapsed),
        Exit::Port if transport.dport != 53 => Err(Reason::ExitPort),
        Exit::Port | Exit::None => Err(otherwise),
    }
}

/// A datagram that comes in, not on loopback: to a socket that has this peer, or has
/// sent to it a moment ago.
#[inline(always)]
pub(super) fn reply<K: Kernel>(
    ip: &Ip,
    transport: &Transport,
    socket: &Socket,
    seal: SealNumber,
    kernel: &K,
) -> bool {
    let connected = socket.peer.is(ip.src) && socket.dport == transport.sport;
    socket.is_udp() && kernel.exit_reply(&Flow::inward(seal, ip, transport), ip, connected)
}
