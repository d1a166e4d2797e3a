//! Exceptions: what the maps say of a destination, what went out and came in by them.
//! None is inlined: each needs room of its own on the stack, and the ways through it
//! are of no concern to the verdict.

use airgap_common::{
    addr::Addr,
    map::{
        Call, Client, DATAGRAM_LIFE, Exit, Exits, FLOW_LIFE, Flow, Layer, SLOTS, SealNumber, Syn,
        UNRECORDED,
    },
    packet::{FIN, Ip, RST, SYN, Transport},
    verdict::exit::Passage,
};
use aya_ebpf::{
    bindings::__sk_buff,
    btf_maps::lpm_trie::Key,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_skb_load_bytes},
};

use crate::{
    counted::is_counted,
    kernel::{
        OFF_DEV_IP, OFF_DEV_IP6, OFF_IDEV_LIST, OFF_IFA_LOCAL, OFF_IFA_NEXT, OFF_IFA6_ADDR,
        OFF_IFA6_LIST, OFF_INDEV_LIST, OFF_SKB_DEV, first, read,
    },
    maps::{EXIT_FLOWS, EXIT_USE, EXITS, NEIGHBOURS, add},
    older,
    subject::{Subject, epoch},
    verifier::{below, unknown},
};

const BPF_ANY: u64 = 0;

/// What exceptions say of the far side of a flow, as [`Exits::find`] has it.
///
/// [`Exits::find`]: airgap_common::map::Exits::find
#[inline(always)]
pub(crate) fn find(flow: &Flow, now: u64, only: u32) -> u64 {
    find_in(look_up(flow), flow, now, only)
}

/// What holds for the far side of a flow; null if nothing does. By itself, as there is no
/// room on the stack for its key and for what comes after it together (Linux 6.1).
#[inline(never)]
fn look_up(flow: &Flow) -> *const Exits {
    let key = Key::new(Client::BITS, Client::new(flow.seal, flow.peer));
    match EXITS.get(&key) {
        Some(exits) => exits,
        None => core::ptr::null(),
    }
}

#[inline(never)]
fn find_in(exits: *const Exits, flow: &Flow, now: u64, only: u32) -> u64 {
    if exits.is_null() {
        return 0;
    }
    // SAFETY: a live map value.
    let exits = unsafe { &*exits };
    // From 7.3 the verifier forgets how far a loop of this kind goes.
    let found = exits.find_by(
        flow.protocol as u8,
        flow.peer_port,
        now,
        only,
        below::<SLOTS>,
        unknown,
    );
    let Some(slot) = exits.slots.get(below::<SLOTS>(found.slot)) else {
        return 0;
    };
    if slot.neighbour == 0 || Exit::of(found.exit >> 32) < Exit::Open {
        return found.exit;
    }
    // Whoever has the address when it is over is not who was meant, connected or not.
    // SAFETY: only whether there is a value; the key is the slot's own, as the stack has no
    // room for another.
    let lives = unsafe { NEIGHBOURS.get(&slot.neighbour) }.is_some();
    if lives && (slot.until == 0 || self::now() < slot.until) {
        return found.exit;
    }
    (Exit::Lapsed as u64) << 32 | found.exit & u64::from(u32::MAX)
}

/// The same for what a task asks for.
#[inline(always)]
pub(crate) fn asked(seal: SealNumber, peer: Addr, port: u16, protocol: u8) -> u64 {
    let flow = Flow {
        seal,
        peer,
        own: Addr([0; 4]),
        peer_port: port,
        own_port: 0,
        protocol: protocol.into(),
    };
    find(&flow, now(), 0)
}

/// The boot clock, nanoseconds; never 0, which would stand for no clock.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_ktime_get_boot_ns() }.max(1)
}

/// Remembers that a flow has sent.
#[inline(never)]
pub(crate) fn remember(flow: &Flow, now: u64) {
    let Some(flows) = EXIT_FLOWS.get(0) else {
        return;
    };
    if let Some(seen) = flows.get_ptr_mut(flow) {
        // SAFETY: a live map value, written in one piece.
        unsafe { core::ptr::write_volatile(seen, now) };
        return;
    }
    // Full of flows that are in use: an answer may be refused.
    let _ = flows.insert(flow, now, BPF_ANY);
}

/// Forgets that it has.
#[inline(never)]
fn forget(flow: &Flow) {
    if let Some(flows) = EXIT_FLOWS.get(0) {
        let _ = flows.remove(flow);
    }
}

/// 1 if a flow has sent within `life` nanoseconds.
#[inline(never)]
pub(crate) fn has_sent(flow: &Flow, life: u64) -> u32 {
    EXIT_FLOWS
        .get(0)
        .and_then(|flows| flows.get_ptr(flow))
        // SAFETY: a live map value.
        .is_some_and(|seen| now().saturating_sub(unsafe { *seen }) <= life)
        .into()
}

/// Whether the kernel may answer on this flow without its socket.
#[inline(always)]
pub(crate) fn is_remembered(flow: &Flow) -> bool {
    let named = Exit::of(find(flow, 0, 0) >> 32) == Exit::Open;
    named && has_sent(flow, FLOW_LIFE) != 0
}

/// See [`Kernel::exit_segment`].
///
/// [`Kernel::exit_segment`]: airgap_common::verdict::Kernel::exit_segment
#[inline(always)]
pub(crate) fn segment(
    skb: *mut __sk_buff,
    layer: Layer,
    flow: &Flow,
    ip: &Ip,
    transport: &Transport,
    number: u32,
    passage: Passage,
) -> Exit {
    let opens = passage == Passage::Opens;
    // What is over lets nothing new out, also where `connect` came before its end.
    let at = if opens { now() } else { 0 };
    match Exit::of(find(flow, at, number) >> 32) {
        Exit::Open => {}
        Exit::Lapsed => {
            if layer == Layer::Cgroup {
                count_lapsed(skb as u64, number);
            }
            return Exit::Lapsed;
        }
        Exit::Port | Exit::None => return Exit::None,
    }
    if layer == Layer::Frame {
        return Exit::Open;
    }
    if opens && airgap_own_source(skb) == 0 {
        return Exit::Port;
    }
    let out = opens || passage == Passage::Out;
    if out && transport.flags & RST != 0 {
        // Nothing is to be answered any more.
        forget(flow);
    } else if out && transport.flags & (SYN | FIN) != 0 {
        remember(flow, now());
    }
    let bytes = ip.payload.saturating_sub(transport.header.into());
    let connections = (passage == Passage::Opened).into();
    if !is_counted(
        skb as u64,
        number.into(),
        if out { Call::OUT } else { Call::IN },
    ) {
        count(number, out.into(), 1, bytes.into(), connections);
    }
    Exit::Open
}

/// A datagram that leaves its socket.
#[inline(always)]
pub(crate) fn datagram(skb: *mut __sk_buff, flow: &Flow, ip: &Ip) -> Exit {
    let now = now();
    let found = find(flow, now, 0);
    let number = found as u32;
    match Exit::of(found >> 32) {
        Exit::Open if airgap_own_source(skb) == 0 => Exit::None,
        Exit::Open => {
            remember(flow, now);
            // SAFETY: the context is a __sk_buff. One that is cut up later is many.
            let packets = unsafe { (*skb).gso_segs }.max(1);
            if !is_counted(skb as u64, number.into(), Call::OUT) {
                count(number, 1, packets.into(), behind_udp(ip), 0);
            }
            Exit::Open
        }
        Exit::Lapsed => {
            count_lapsed(skb as u64, number);
            Exit::Lapsed
        }
        exit => exit,
    }
}

/// The same on the host's side: it was judged on its way out of the container, but for
/// one of others in the network namespace.
#[inline(always)]
pub(crate) fn framed(skb: *mut __sk_buff, flow: &Flow) -> Exit {
    match Exit::of(find(flow, 0, 0) >> 32) {
        Exit::Open if is_of(skb, flow.seal) == 0 => Exit::None,
        exit => exit,
    }
}

/// 1 if a frame's socket is of this seal. By numbers that LLVM does not see through: of a
/// seal that there is not it would read a register that nobody wrote.
#[inline(never)]
pub(crate) fn is_of(skb: *mut __sk_buff, seal: SealNumber) -> u32 {
    let own = Subject::of_packet(skb, epoch()).map_or(UNRECORDED, |own| own.seal);
    (seal != UNRECORDED && unknown(own, seal) == seal).into()
}

/// See [`Kernel::exit_reply`].
///
/// [`Kernel::exit_reply`]: airgap_common::verdict::Kernel::exit_reply
#[inline(always)]
pub(crate) fn reply(skb: *mut __sk_buff, flow: &Flow, ip: &Ip, connected: bool) -> bool {
    // One that is in force rather than one that is over.
    let found = find(flow, now(), 0);
    let mut exit = Exit::of(found >> 32);
    if exit == Exit::Lapsed {
        // Over by its time; a neighbour that is gone is over for answers, too.
        exit = Exit::of(find(flow, 0, found as u32) >> 32);
    }
    let answers = connected || has_sent(flow, DATAGRAM_LIFE) != 0;
    if exit != Exit::Open || !answers {
        return false;
    }
    if !is_counted(skb as u64, found & u64::from(u32::MAX), Call::IN) {
        count(found as u32, 0, 1, behind_udp(ip), 0);
    }
    true
}

/// Bytes behind a UDP header.
#[inline(always)]
fn behind_udp(ip: &Ip) -> u64 {
    u64::from(ip.payload).saturating_sub(8)
}

/// Number of what the kernel may do on this flow, an `Ended`, as [`older::answer`].
#[inline(never)]
pub(crate) fn cut(flow: &Flow, layer: Layer) -> u32 {
    let ends = Syn {
        seal: flow.seal,
        client: flow.peer,
        own: flow.own,
        client_port: flow.peer_port,
        port: flow.own_port,
        _pad: 0,
    };
    older::look(&ends, layer)
}

/// Counts a use: `packets` of together `bytes`, out or in, and whether a connection
/// was taken. Whole additions: one processor may be interrupted by itself.
#[inline(never)]
pub(crate) fn count(number: u32, out: u32, packets: u64, bytes: u64, connections: u64) {
    let Some(used) = EXIT_USE.get_ptr_mut(number) else {
        return;
    };
    // SAFETY: a live map value.
    unsafe {
        if out != 0 {
            add(&raw mut (*used).packets_out, packets);
            add(&raw mut (*used).bytes_out, bytes);
        } else {
            add(&raw mut (*used).packets_in, packets);
            add(&raw mut (*used).bytes_in, bytes);
        }
        add(&raw mut (*used).connections, connections);
        core::ptr::write_volatile(&raw mut (*used).last, now());
    }
}

/// Counts what was refused because its exception is over. `object`: the packet, or the thread.
#[inline(always)]
pub(crate) fn count_lapsed(object: u64, number: u32) {
    if !is_counted(object, number.into(), Call::LAPSED) {
        lapsed(number);
    }
}

#[inline(never)]
fn lapsed(number: u32) {
    if let Some(used) = EXIT_USE.get_ptr_mut(number) {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*used).lapsed, 1) };
    }
}

/// Addresses of one interface that are looked at.
const MAX_ADDRESSES: u32 = 16;

/// 1 if a packet that leaves has an address of the interface that it leaves by as its
/// source: with another (IP_FREEBIND, IP_TRANSPARENT) the far side would answer to
/// somebody else, and tell him what the container wants it to. A global function, as
/// `airgap_packet_seal`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn airgap_own_source(skb: *mut __sk_buff) -> u32 {
    let Some(dev) = read::<u64>(skb as u64, &OFF_SKB_DEV) else {
        return 0;
    };
    let mut version = [0u8; 1];
    // SAFETY: the buffer is as long as said.
    if unsafe { bpf_skb_load_bytes(skb.cast(), 0, version.as_mut_ptr().cast(), 1) } != 0 {
        return 0;
    }
    match version[0] >> 4 {
        4 => own_v4(skb, dev),
        6 => own_v6(skb, dev),
        _ => 0,
    }
}

#[inline(always)]
fn own_v4(skb: *mut __sk_buff, dev: u64) -> u32 {
    let mut source = [0u32; 1];
    // SAFETY: as above.
    if unsafe { bpf_skb_load_bytes(skb.cast(), 12, source.as_mut_ptr().cast(), 4) } != 0 {
        return 0;
    }
    let list = read::<u64>(dev, &OFF_DEV_IP).unwrap_or(0);
    let mut at = read::<u64>(list, &OFF_INDEV_LIST).unwrap_or(0);
    let mut i = 0;
    while i < MAX_ADDRESSES {
        match read::<u32>(at, &OFF_IFA_LOCAL) {
            Some(own) if own == source[0] => return 1,
            None => return 0,
            _ => {}
        }
        at = read::<u64>(at, &OFF_IFA_NEXT).unwrap_or(0);
        i += 1;
    }
    0
}

#[inline(always)]
fn own_v6(skb: *mut __sk_buff, dev: u64) -> u32 {
    if OFF_DEV_IP6.load() == u64::MAX || OFF_IFA6_ADDR.load() == u64::MAX {
        return 0;
    }
    let mut source = [0u32; 4];
    // SAFETY: as above.
    if unsafe { bpf_skb_load_bytes(skb.cast(), 8, source.as_mut_ptr().cast(), 16) } != 0 {
        return 0;
    }
    let device = read::<u64>(dev, &OFF_DEV_IP6).unwrap_or(0);
    if device == 0 {
        return 0;
    }
    let head = device + OFF_IDEV_LIST.load();
    let mut node = first(head);
    let mut i = 0;
    while i < MAX_ADDRESSES {
        if node == head || node == 0 {
            return 0;
        }
        let entry = node.wrapping_sub(OFF_IFA6_LIST.load());
        if read::<[u32; 4]>(entry, &OFF_IFA6_ADDR).is_some_and(|own| Addr(own).is(Addr(source))) {
            return 1;
        }
        node = first(node);
        i += 1;
    }
    0
}
