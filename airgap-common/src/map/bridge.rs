//! What is on a bridge's own link, and what is reached through the host that has it.

use crate::addr::Addr;

/// Most bridges that are known at once.
pub const MAX_BRIDGES: u32 = 1_024;
/// Prefixes of a bridge's link, of each IP version.
pub const MAX_LINKS: usize = 4;

/// A hardware address of Ethernet, in the order of its bytes; all zero: none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mac {
    /// The first four bytes.
    pub head: u32,
    /// The last two.
    pub tail: u16,
    /// Zero.
    pub _pad: u16,
}

impl Mac {
    /// Of these bytes.
    #[inline(always)]
    pub const fn from_octets([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self {
            head: u32::from_ne_bytes([a, b, c, d]),
            tail: u16::from_ne_bytes([e, f]),
            _pad: 0,
        }
    }

    /// Whether both are the same.
    #[inline(always)]
    pub const fn is(self, other: Self) -> bool {
        self.head == other.head && self.tail == other.tail
    }

    /// Whether it stands for none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.head == 0 && self.tail == 0
    }
}

/// An IPv4 prefix of a link; `mask` 0: none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Link4 {
    /// The host's address there, or one that nobody has, network byte order.
    pub addr: u32,
    /// Ones where the prefix counts, network byte order.
    pub mask: u32,
}

/// An IPv6 prefix of a link; `mask` all zero: none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Link6 {
    /// As [`Link4::addr`], IPv6 words.
    pub addr: Addr,
    /// As [`Link4::mask`].
    pub mask: Addr,
}

/// Value of `BRIDGES`: what is on the link of a bridge of this host, as it was when a port
/// of it was last guarded. What is missing here can only drop more; who was a neighbour then
/// still counts as one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Bridge {
    /// Its IPv4 prefixes.
    pub v4: [Link4; MAX_LINKS],
    /// Its IPv6 prefixes.
    pub v6: [Link6; MAX_LINKS],
}

impl Bridge {
    /// Whether this address is a neighbour's on the link, and none of the host.
    #[inline(always)]
    pub const fn has_neighbour(&self, addr: Addr) -> bool {
        let (mut on_link, mut own) = (false, false);
        let mut i = 0;
        if addr.is_v4() {
            while i < MAX_LINKS {
                let Link4 { addr: host, mask } = self.v4[i];
                let differs = addr.0[3] ^ host;
                on_link |= mask != 0 && differs & mask == 0;
                own |= differs == 0;
                i += 1;
            }
        } else {
            while i < MAX_LINKS {
                let Link6 { addr: host, mask } = &self.v6[i];
                let (mut outside, mut differs, mut some) = (0, 0, 0);
                let mut word = 0;
                while word < 4 {
                    let bits = addr.0[word] ^ host.0[word];
                    outside |= bits & mask.0[word];
                    differs |= bits;
                    some |= mask.0[word];
                    word += 1;
                }
                on_link |= some != 0 && outside == 0;
                own |= differs == 0;
                i += 1;
            }
        }
        on_link && !own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(text: &str) -> Addr {
        Addr::from_octets(text.parse::<std::net::Ipv6Addr>().unwrap().octets())
    }

    fn bridge() -> Bridge {
        let mut bridge = Bridge::default();
        bridge.v4[0] = Link4 {
            addr: u32::from_ne_bytes([198, 51, 100, 1]),
            mask: u32::from_ne_bytes([255, 255, 255, 192]),
        };
        // The host's second address, behind the first.
        bridge.v4[1] = Link4 {
            addr: u32::from_ne_bytes([198, 51, 100, 9]),
            mask: u32::MAX,
        };
        bridge.v6[2] = Link6 {
            addr: v6("2001:db8:7::1"),
            mask: v6("ffff:ffff:ffff:ffff::"),
        };
        bridge
    }

    #[test]
    fn tells_neighbours_from_the_host_and_those_behind_it() {
        let bridge = bridge();
        let v4 = |last| Addr::from_v4([198, 51, 100, last]);
        assert!(bridge.has_neighbour(v4(2)) && bridge.has_neighbour(v4(63)));
        assert!(!bridge.has_neighbour(v4(64)), "beyond");
        assert!(!bridge.has_neighbour(v4(1)), "the gateway");
        assert!(!bridge.has_neighbour(v4(9)), "the host's other address");
        assert!(bridge.has_neighbour(v6("2001:db8:7::2")));
        assert!(!bridge.has_neighbour(v6("2001:db8:7::1")), "the gateway");
        assert!(!bridge.has_neighbour(v6("2001:db8:8::2")), "beyond");
    }

    #[test]
    fn nobody_is_a_neighbour_where_no_prefix_is() {
        let none = Bridge::default();
        for addr in [
            Addr::v4(0),
            Addr::from_v4([198, 51, 100, 2]),
            v6("::"),
            v6("::2"),
        ] {
            assert!(!none.has_neighbour(addr), "{addr:?}");
        }
        // Zero words are no prefix of the other version either.
        assert!(!bridge().has_neighbour(v6("::1")));
    }

    #[test]
    fn a_hardware_address_is_its_six_bytes() {
        let mac = Mac::from_octets([2, 0x42, 0xc6, 0x33, 0x64, 2]);
        assert!(mac.is(mac) && !mac.is_none() && Mac::default().is_none());
        for byte in 0..6 {
            let mut other = [2, 0x42, 0xc6, 0x33, 0x64, 2];
            other[byte] ^= 1;
            assert!(!mac.is(Mac::from_octets(other)), "byte {byte}");
        }
    }
}
