//! Who may get datagrams from UDP service ports: those that sent to them a moment ago.

use super::SealNumber;
use crate::{
    addr::Addr,
    packet::{Ip, Transport},
};

/// How long after a peer's last datagram a UDP service port may send to it, nanoseconds,
/// by the boot clock.
pub const UDP_PEER_LIFE: u64 = 60 * 1_000_000_000;
/// Peers remembered on a host; those not used for longest go first.
pub const MAX_UDP_PEERS: u32 = 65_536;
/// New peers that one prefix ([`UdpPrefix::of`]) may bring a seal in [`UDP_PEER_LIFE`].
pub const UDP_PEERS_PER_PREFIX: u32 = 4_096;
/// New peers that a seal takes in that time from all together.
pub const UDP_PEERS_PER_SEAL: u32 = 16_384;
/// Prefixes whose peers are counted; those not used for longest go first.
pub const MAX_UDP_PREFIXES: u32 = 16_384;

/// Key of `UDP_PEERS`: somebody who sent to a UDP service port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpPeer {
    /// Seal of the container.
    pub seal: SealNumber,
    /// Its address.
    pub addr: Addr,
    /// Its port, host byte order.
    pub port: u16,
    /// The service port, host byte order.
    pub service: u16,
    /// Zero.
    pub _pad: u32,
}

impl UdpPeer {
    /// Who gets a datagram that leaves.
    #[inline(always)]
    pub const fn answered(seal: SealNumber, ip: &Ip, transport: &Transport) -> Self {
        Self {
            seal,
            addr: ip.dst,
            port: transport.dport,
            service: transport.sport,
            _pad: 0,
        }
    }

    /// Who sent a datagram that comes in.
    #[inline(always)]
    pub const fn asking(seal: SealNumber, ip: &Ip, transport: &Transport) -> Self {
        Self {
            seal,
            addr: ip.src,
            port: transport.sport,
            service: transport.dport,
            _pad: 0,
        }
    }
}

/// Value of `UDP_PEERS`: its last datagram.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpSeen {
    /// When it came, `CLOCK_BOOTTIME`, nanoseconds.
    pub at: u64,
    /// Index of the interface by which it came, in the container's network namespace: answers
    /// leave by that one alone. On another link somebody else may have that address.
    pub ifindex: u32,
    /// Zero.
    pub _pad: u32,
}

/// Key of `UDP_PREFIXES`: whose new peers are counted together.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpPrefix {
    /// Seal of the container.
    pub seal: SealNumber,
    /// The prefix; all zero: the whole seal.
    pub prefix: Addr,
}

impl UdpPrefix {
    /// The prefix that an address is in: a /24, or a /48 of IPv6, which is what one site
    /// is given (RFC 6177).
    #[inline(always)]
    pub const fn of(seal: SealNumber, addr: Addr) -> Self {
        const LOW: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
        const HIGH: u32 = u32::from_ne_bytes([0xff, 0xff, 0, 0]);
        let [a, b, c, d] = addr.0;
        let prefix = if addr.is_v4() {
            Addr([a, b, c, d & LOW])
        } else {
            Addr([a, b & HIGH, 0, 0])
        };
        Self { seal, prefix }
    }

    /// All of a seal.
    #[inline(always)]
    pub const fn whole(seal: SealNumber) -> Self {
        Self {
            seal,
            prefix: Addr([0; 4]),
        }
    }
}

/// Value of `UDP_PREFIXES`: how many new peers came since when.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpQuota {
    /// When counting began, `CLOCK_BOOTTIME`, nanoseconds.
    pub since: u64,
    /// How many.
    pub count: u64,
}

impl UdpQuota {
    /// One, just now.
    #[inline(always)]
    pub const fn first(now: u64) -> Self {
        Self {
            since: now,
            count: 1,
        }
    }

    /// Whether it is time to count anew.
    #[inline(always)]
    pub const fn is_over(&self, now: u64) -> bool {
        now.saturating_sub(self.since) > UDP_PEER_LIFE
    }
}

/// Whether somebody who was last heard at `seen` may still be answered.
#[inline(always)]
pub const fn is_fresh(seen: u64, now: u64) -> bool {
    now.saturating_sub(seen) <= UDP_PEER_LIFE
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn v6(text: &str) -> Addr {
        Addr::from_octets(text.parse::<Ipv6Addr>().unwrap().octets())
    }

    #[test]
    fn a_prefix_is_a_24_or_a_48() {
        let of = |text| UdpPrefix::of(7, v6(text)).prefix;
        assert_eq!(of("::ffff:198.51.100.9"), of("::ffff:198.51.100.200"));
        assert_ne!(of("::ffff:198.51.100.9"), of("::ffff:198.51.101.9"));
        assert_eq!(of("2001:db8:1:2::9"), of("2001:db8:1:ffff::"));
        assert_ne!(of("2001:db8:1::9"), of("2001:db8:2::9"));
        // None is what stands for the whole seal, but that of addresses nobody has.
        let whole = UdpPrefix::whole(7).prefix;
        for text in ["::ffff:0.0.0.1", "2001:db8::1", "fe80::1"] {
            assert_ne!(of(text), whole, "{text}");
        }
    }

    #[test]
    fn what_is_remembered_lapses() {
        assert!(is_fresh(100, 100 + UDP_PEER_LIFE) && !is_fresh(100, 101 + UDP_PEER_LIFE));
        // Another processor's clock is a moment behind.
        assert!(is_fresh(101, 100));
        let quota = UdpQuota::first(100);
        assert!(!quota.is_over(100 + UDP_PEER_LIFE) && quota.is_over(101 + UDP_PEER_LIFE));
    }

    /// A flood at its worst leaves half of the table to other seals.
    #[test]
    fn one_seal_cannot_fill_the_table() {
        const { assert!(2 * UDP_PEERS_PER_SEAL <= MAX_UDP_PEERS / 2) };
        const { assert!(4 * UDP_PEERS_PER_PREFIX <= UDP_PEERS_PER_SEAL) };
    }
}
