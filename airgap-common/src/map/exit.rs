//! Exceptions: where a sealed container may connect, or send datagrams to.

use super::SealNumber;
use crate::{
    addr::Addr,
    packet::{Ip, Transport},
};

/// Most prefixes of exceptions on one host.
pub const MAX_EXITS: u32 = 16_384;
/// Most exceptions on one host.
pub const MAX_EXCEPTIONS: u32 = 8_192;
/// Most exceptions of one seal.
pub const EXCEPTIONS_PER_SEAL: usize = 64;
/// Most exceptions that may hold for one address.
pub const SLOTS: usize = 8;
/// Most neighbours on one host that exceptions lead to by name.
pub const MAX_NEIGHBOURS: u32 = 4_096;
/// Longest name of an exception that leads to a container or host by name, bytes.
pub const TARGET_LEN: usize = 256;
/// Flows remembered that went out by an exception; those not used for longest go first.
pub const MAX_FLOWS: u32 = 16_384;

/// How long after a container's last datagram the far side may answer it,
/// nanoseconds, where the socket has no peer: as connection tracking takes it.
pub const DATAGRAM_LIFE: u64 = 180 * 1_000_000_000;
/// How long after a connection's SYN or FIN the kernel may answer on it without its
/// socket, nanoseconds: twice `TCP_TIMEWAIT_LEN` (include/net/tcp.h).
pub const FLOW_LIFE: u64 = 120 * 1_000_000_000;

/// What one exception opens at an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// From when on it is over, `CLOCK_BOOTTIME`, nanoseconds; 0: never.
    pub until: u64,
    /// Cgroup id of the neighbour whose address it is: it is open while that one is in
    /// `NEIGHBOURS`, and what is over ends connections, too, as the address may be
    /// somebody else's by then; 0: nobody's in particular.
    pub neighbour: u64,
    /// Number of the exception; 0: an empty slot.
    pub number: u32,
    /// First port, host byte order.
    pub from: u16,
    /// Last port.
    pub to: u16,
    /// IP protocol number, TCP or UDP.
    pub protocol: u8,
    /// 1: neither port 53 nor port 853, although they are between the others.
    pub not_dns: u8,
    /// Zero.
    pub _pad: [u8; 6],
}

impl Slot {
    /// Nothing.
    pub const EMPTY: Self = Self {
        until: 0,
        neighbour: 0,
        number: 0,
        from: 0,
        to: 0,
        protocol: 0,
        not_dns: 0,
        _pad: [0; 6],
    };
}

/// Value of `EXITS`: all that holds for the addresses of a prefix. The longest prefix
/// alone is found, so what shorter ones say is in it, too.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exits {
    /// In no order.
    pub slots: [Slot; SLOTS],
}

/// What exceptions say of a destination. Numbers are compared.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// None names the address.
    None = 0,
    /// One names the address, but not this port or protocol.
    Port = 1,
    /// One did, and is over.
    Lapsed = 2,
    /// One allows it.
    Open = 3,
}

impl Exit {
    /// The one of this number, the closest to shut if there is none.
    #[inline(always)]
    pub const fn of(number: u64) -> Self {
        match number {
            1 => Self::Port,
            2 => Self::Lapsed,
            3 => Self::Open,
            _ => Self::None,
        }
    }
}

impl Exits {
    /// Nothing.
    pub const EMPTY: Self = Self {
        slots: [Slot::EMPTY; SLOTS],
    };

    /// What holds for a protocol and port (host byte order) at `now`,
    /// `CLOCK_BOOTTIME`, nanoseconds; 0: whatever is over counts, too. `only`: the one
    /// exception that is asked for; 0: any. Returns the number of an [`Exit`] in the
    /// high word, that of the exception in the low one.
    #[inline(always)]
    pub fn find(&self, protocol: u8, port: u16, now: u64, only: u32) -> u64 {
        self.find_by(protocol, port, now, only, |slot| slot, |n, _| n)
            .exit
    }

    /// The same, and the slot that says so. Where more than one are open the first is found:
    /// those that are nobody's come first. `at`: the same number, of which a verifier then
    /// knows that it is a slot's. `again`: the same word, of which neither a compiler nor a
    /// verifier then knows anything, by another that they do not know.
    #[inline(always)]
    pub fn find_by(
        &self,
        protocol: u8,
        port: u16,
        now: u64,
        only: u32,
        at: impl Fn(usize) -> usize,
        again: impl Fn(u64, u64) -> u64,
    ) -> Found {
        let dns = (port == 53 || port == 853) as u64;
        let asked = port as u64 | (protocol as u64) << 16 | dns << 24 | (only as u64) << 32;
        // Exit, slot and number in one word: the kernel's stack has no room for more.
        let mut best = 0_u64;
        let mut i = 0;
        while i < SLOTS {
            let Some(slot) = self.slots.get(at(i)) else {
                break;
            };
            if slot.number == 0 {
                i += 1;
                continue;
            }
            let asked = again(asked, slot.until);
            let (port, protocol, dns) = (asked as u16, (asked >> 16) as u8, asked >> 24);
            let only = (asked >> 32) as u32;
            // All ones unless it is 0, without a branch.
            let any = ((only | only.wrapping_neg()) as i32 >> 31) as u32;
            // Below zero where it is out of range; one comparison for all.
            let range = (port as i32 - slot.from as i32) | (slot.to as i32 - port as i32);
            let differs = (range as u32 >> 31)
                | (slot.protocol ^ protocol) as u32
                | (slot.not_dns as u32 & dns as u32)
                | ((slot.number ^ only) & any);
            let exit = if differs != 0 {
                Exit::Port
            } else if slot.until != 0 && slot.until <= now {
                Exit::Lapsed
            } else {
                Exit::Open
            };
            if (exit as u64) > best >> 40 {
                best = (exit as u64) << 40 | again(i as u64, slot.until) << 32 | slot.number as u64;
            }
            best = again(best, slot.until);
            i += 1;
        }
        Found {
            exit: best >> 40 << 32 | best & u32::MAX as u64,
            slot: (best >> 32) as usize & 0xff,
        }
    }
}

/// What [`Exits::find_by`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Number of an [`Exit`] in the high word, that of the exception in the low one.
    pub exit: u64,
    /// Whose slot that is.
    pub slot: usize,
}

/// A flow that went out by an exception.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Seal of the container.
    pub seal: SealNumber,
    /// The far side.
    pub peer: Addr,
    /// The container's address.
    pub own: Addr,
    /// The far side's port, host byte order.
    pub peer_port: u16,
    /// The container's port, host byte order.
    pub own_port: u16,
    /// IP protocol number.
    pub protocol: u32,
}

impl Flow {
    /// That of a packet that leaves.
    #[inline(always)]
    pub const fn out(seal: SealNumber, ip: &Ip, transport: &Transport) -> Self {
        Self {
            seal,
            peer: ip.dst,
            own: ip.src,
            peer_port: transport.dport,
            own_port: transport.sport,
            protocol: ip.protocol as u32,
        }
    }

    /// That of a packet that comes in.
    #[inline(always)]
    pub const fn inward(seal: SealNumber, ip: &Ip, transport: &Transport) -> Self {
        Self {
            seal,
            peer: ip.src,
            own: ip.dst,
            peer_port: transport.sport,
            own_port: transport.dport,
            protocol: ip.protocol as u32,
        }
    }
}

/// Value of `EXCEPTIONS`: one exception as it was asked for; the kernel side reads
/// what `EXITS` makes of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Seal that it is of.
    pub seal: SealNumber,
    /// Network address; IPv4 mapped. Zero with a name: `EXITS` has its addresses.
    pub addr: Addr,
    /// Prefix length; of IPv4 with 96 bits before it.
    pub bits: u32,
    /// 1: by `airgap allow`, and not with the whole policy.
    pub allowed: u32,
    /// As in its prefix's [`Exits`].
    pub slot: Slot,
    /// When it was put in force, `CLOCK_BOOTTIME`, nanoseconds.
    pub since: u64,
    /// Why, in the operator's words, UTF-8, NUL-padded.
    pub reason: [u8; REASON_LEN],
    /// How long an address that was found for the name holds, nanoseconds; 0: for ever.
    pub hold: u64,
    /// Name of the container that it leads to, NUL-padded; empty: it leads to addresses.
    pub target: [u8; TARGET_LEN],
}

/// Longest reason, bytes.
pub const REASON_LEN: usize = 128;

/// Value of `EXIT_USE` on each processor: how an exception was used. Exact.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Use {
    /// TCP connections that the far side took.
    pub connections: u64,
    /// Segments and datagrams that left.
    pub packets_out: u64,
    /// Their payload, bytes.
    pub bytes_out: u64,
    /// Segments and datagrams that came in.
    pub packets_in: u64,
    /// Their payload, bytes.
    pub bytes_in: u64,
    /// Connections and datagrams refused because it was over.
    pub lapsed: u64,
    /// When it was last used, `CLOCK_BOOTTIME`, nanoseconds; 0: never.
    pub last: u64,
}

impl Use {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            packets_out: self.packets_out + other.packets_out,
            bytes_out: self.bytes_out + other.bytes_out,
            packets_in: self.packets_in + other.packets_in,
            bytes_in: self.bytes_in + other.bytes_in,
            lapsed: self.lapsed + other.lapsed,
            last: self.last.max(other.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{TCP, UDP};

    fn slot(number: u32, from: u16, to: u16, protocol: u8) -> Slot {
        Slot {
            number,
            from,
            to,
            protocol,
            ..Slot::EMPTY
        }
    }

    fn exits(slots: &[Slot]) -> Exits {
        let mut exits = Exits::EMPTY;
        exits.slots[..slots.len()].copy_from_slice(slots);
        exits
    }

    fn find(exits: &Exits, protocol: u8, port: u16, now: u64, only: u32) -> (Exit, u32) {
        let found = exits.find(protocol, port, now, only);
        (Exit::of(found >> 32), found as u32)
    }

    #[test]
    fn a_port_is_exact() {
        let exits = exits(&[slot(7, 443, 443, TCP), slot(8, 8000, 8010, UDP)]);
        assert_eq!(find(&exits, TCP, 443, 1, 0), (Exit::Open, 7));
        for port in [442, 444, 0, 65_535, 8000] {
            assert_eq!(find(&exits, TCP, port, 1, 0).0, Exit::Port, "{port}");
        }
        for (port, exit) in [
            (7999, Exit::Port),
            (8000, Exit::Open),
            (8010, Exit::Open),
            (8011, Exit::Port),
            (443, Exit::Port),
        ] {
            assert_eq!(find(&exits, UDP, port, 1, 0).0, exit, "{port}");
        }
        assert_eq!(find(&Exits::EMPTY, TCP, 443, 1, 0), (Exit::None, 0));
        // Every port of both ends.
        let all = Exits {
            slots: [slot(1, 1, 65_535, TCP); SLOTS],
        };
        for port in 1..=u16::MAX {
            assert_eq!(find(&all, TCP, port, 1, 0).0, Exit::Open);
        }
        assert_eq!(find(&all, TCP, 0, 1, 0).0, Exit::Port);
    }

    #[test]
    fn all_ports_are_all_but_those_of_dns() {
        let mut all = slot(1, 1, 65_535, TCP);
        all.not_dns = 1;
        let exits = exits(&[all]);
        for port in 1..=u16::MAX {
            let open = find(&exits, TCP, port, 1, 0).0 == Exit::Open;
            assert_eq!(open, port != 53 && port != 853, "{port}");
        }
    }

    #[test]
    fn whose_address_it_is_is_found_with_it() {
        let mut db = slot(3, 5432, 5432, TCP);
        (db.neighbour, db.until) = (77, 100);
        let found = |exits: &Exits, port| {
            let found = exits.find_by(TCP, port, 1, 0, |slot| slot, |n, _| n);
            let slot = exits.slots[found.slot];
            (found.exit, slot.neighbour, slot.until)
        };
        let one = exits(&[db]);
        let of = |exit: Exit, number: u64, neighbour, until| {
            ((exit as u64) << 32 | number, neighbour, until)
        };
        assert_eq!(found(&one, 5432), of(Exit::Open, 3, 77, 100));
        // What is nobody's in particular comes first, and counts.
        let two = exits(&[slot(4, 5432, 5432, TCP), db]);
        assert_eq!(found(&two, 5432), of(Exit::Open, 4, 0, 0));
        assert_eq!(
            two.slots[two.find_by(TCP, 5432, 1, 3, |s| s, |n, _| n).slot].neighbour,
            77
        );
    }

    #[test]
    fn one_that_is_over_is_open_to_what_it_let_in() {
        let mut over = slot(3, 443, 443, TCP);
        over.until = 100;
        let one = exits(&[over]);
        assert_eq!(find(&one, TCP, 443, 99, 0), (Exit::Open, 3));
        assert_eq!(find(&one, TCP, 443, 100, 0), (Exit::Lapsed, 3));
        assert_eq!(find(&one, TCP, 443, 0, 3), (Exit::Open, 3));
        // Another that holds for the same is none of its connections'.
        let two = exits(&[over, slot(4, 443, 443, TCP)]);
        assert_eq!(find(&two, TCP, 443, 100, 0), (Exit::Open, 4));
        assert_eq!(find(&two, TCP, 443, 0, 5).0, Exit::Port);
        assert_eq!(find(&two, TCP, 443, 0, 4), (Exit::Open, 4));
    }
}
