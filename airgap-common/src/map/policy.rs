//! What a sealed container may do.

/// Most service ports, or ranges of them, of one seal for each protocol.
pub const MAX_PORTS: usize = 16;

/// Ports from one to another, host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first; 0: none, and the end of a list.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl PortRange {
    /// No port.
    pub const NONE: Self = Self { first: 0, last: 0 };

    /// One port.
    pub const fn one(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// Whether `port` is in it. One comparison: each is another way for the verifier.
    #[inline(always)]
    pub const fn holds(self, port: u16) -> bool {
        (port as u32).wrapping_sub(self.first as u32) <= self.last as u32 - self.first as u32
    }
}

/// What a sealed container may do. Replaced as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Bits of [`Policy::CLIENTS_ANY`], [`Policy::HAS_EXITS`], [`Policy::NOT_PERMITTED`],
    /// [`Policy::SHARED_NETWORK`], [`Policy::LOOPBACK_EXITS`], [`Policy::SERVES_UDP`],
    /// [`Policy::OF_SYSTEMD`] and [`Policy::AUDIT`].
    pub flags: u32,
    /// Neighbour discovery messages a second before they are dropped.
    pub nd_per_second: u32,
    /// TCP service ports; [`PortRange::NONE`] ends the list.
    pub tcp: [PortRange; MAX_PORTS],
    /// UDP service ports, likewise.
    pub udp: [PortRange; MAX_PORTS],
}

impl Policy {
    /// No `--from`: any client may open a connection to a service port.
    pub const CLIENTS_ANY: u32 = 1;
    /// There are exceptions in `EXITS`.
    pub const HAS_EXITS: u32 = 2;
    /// Refused `connect` and `sendmsg` fail with EPERM, not as on a host without a network.
    pub const NOT_PERMITTED: u32 = 4;
    /// Others have sockets in the same network namespace: its addresses are theirs, too.
    pub const SHARED_NETWORK: u32 = 8;
    /// Exceptions count on loopback, too: others of the same network namespace are there.
    pub const LOOPBACK_EXITS: u32 = 16;
    /// There are UDP service ports.
    pub const SERVES_UDP: u32 = 32;
    /// It may be what systemd starts: the sockets by which that is done are not shut.
    pub const OF_SYSTEMD: u32 = 64;
    /// All is judged, told and counted, and nothing is refused. A seal number has it from its
    /// first policy to its last, or never: what sockets were tagged with under it is no
    /// provenance for a seal.
    pub const AUDIT: u32 = 128;

    /// Whether `port` (host byte order) is a TCP service port.
    #[inline(always)]
    pub fn serves_tcp(&self, port: u16) -> bool {
        is_in(&self.tcp, port)
    }

    /// Whether `port` (host byte order) is a UDP service port.
    #[inline(always)]
    pub fn serves_udp(&self, port: u16) -> bool {
        is_in(&self.udp, port)
    }
}

#[inline(always)]
fn is_in(ranges: &[PortRange; MAX_PORTS], port: u16) -> bool {
    let mut i = 0;
    while i < MAX_PORTS {
        let range = ranges[i];
        if range.first == 0 {
            return false;
        }
        if range.holds(port) {
            return true;
        }
        i += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(tcp: &[PortRange], udp: &[PortRange]) -> Policy {
        let list = |ranges: &[PortRange]| {
            let mut all = [PortRange::NONE; MAX_PORTS];
            all[..ranges.len()].copy_from_slice(ranges);
            all
        };
        Policy {
            flags: 0,
            nd_per_second: 0,
            tcp: list(tcp),
            udp: list(udp),
        }
    }

    #[test]
    fn serves_only_listed_ports() {
        let p = policy(&[PortRange::one(5060), PortRange::one(80)], &[]);
        assert!(p.serves_tcp(5060) && p.serves_tcp(80));
        assert!(!p.serves_tcp(0) && !p.serves_tcp(5061));
        assert!((0..=u16::MAX).all(|port| !p.serves_udp(port)));
        let full: [_; MAX_PORTS] = core::array::from_fn(|i| PortRange::one(i as u16 + 1));
        let full = policy(&full, &[]);
        assert!(full.serves_tcp(MAX_PORTS as u16) && !full.serves_tcp(MAX_PORTS as u16 + 1));
    }

    #[test]
    fn a_range_holds_both_its_ends_and_no_more() {
        let of = |first, last| PortRange { first, last };
        for range in [
            of(10_000, 10_100),
            of(1, 1),
            of(1, 65_535),
            of(65_535, 65_535),
            of(1, 2),
        ] {
            let p = policy(&[], &[of(7, 7), range]);
            for port in 0..=u16::MAX {
                let inside = port == 7 || (range.first..=range.last).contains(&port);
                assert_eq!(p.serves_udp(port), inside, "{range:?} {port}");
                assert!(!p.serves_tcp(port));
            }
        }
    }
}
