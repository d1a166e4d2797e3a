//! IP addresses as the kernel side compares them: all words in one comparison,
//! as each further one is another way for the verifier to walk.

/// An IPv6 address, or an IPv4 address mapped into one (`::ffff:a.b.c.d`).
///
/// Four words as they lie in memory, so byte order is the network's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Addr(pub [u32; 4]);

const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl Addr {
    /// Maps an IPv4 address given as a word in network byte order.
    #[inline(always)]
    pub const fn v4(word: u32) -> Self {
        Self([0, 0, MAPPED, word])
    }

    /// Maps an IPv4 address given as octets.
    #[inline(always)]
    pub const fn from_v4(octets: [u8; 4]) -> Self {
        Self::v4(u32::from_ne_bytes(octets))
    }

    /// Takes the 16 octets of an IPv6 address (RFC 4291).
    #[inline(always)]
    pub const fn from_octets(o: [u8; 16]) -> Self {
        Self([
            u32::from_ne_bytes([o[0], o[1], o[2], o[3]]),
            u32::from_ne_bytes([o[4], o[5], o[6], o[7]]),
            u32::from_ne_bytes([o[8], o[9], o[10], o[11]]),
            u32::from_ne_bytes([o[12], o[13], o[14], o[15]]),
        ])
    }

    /// The 16 octets, network byte order.
    pub const fn octets(self) -> [u8; 16] {
        let [a, b, c, d] = self.0;
        let (a, b, c, d) = (
            a.to_ne_bytes(),
            b.to_ne_bytes(),
            c.to_ne_bytes(),
            d.to_ne_bytes(),
        );
        [
            a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1],
            d[2], d[3],
        ]
    }

    /// Whether this is an IPv4-mapped address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.0[0] | self.0[1] | (self.0[2] ^ MAPPED) == 0
    }

    /// Whether both are the same.
    #[inline(always)]
    pub const fn is(self, other: Self) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
    }

    /// Whether this is `0.0.0.0` or `::`, which `connect` takes for loopback.
    #[inline(always)]
    pub const fn is_unspecified(self) -> bool {
        self.0[0] == 0
            && self.0[1] == 0
            && (self.0[2] == 0 || self.0[2] == MAPPED)
            && self.0[3] == 0
    }

    /// Whether this is in 127.0.0.0/8 (mapped or not) or `::1`.
    #[inline(always)]
    pub const fn is_loopback(self) -> bool {
        const FIRST: u32 = u32::from_ne_bytes([0xff, 0, 0, 0]);
        let [a, b, c, d] = self.0;
        let v4 = (c ^ MAPPED) | ((d & FIRST) ^ u32::from_ne_bytes([127, 0, 0, 0]));
        let v6 = c | (d ^ u32::from_ne_bytes([0, 0, 0, 1]));
        (a | b) as u64 | (v4 as u64 * v6 as u64) == 0
    }

    /// Whether this is 127.0.0.11, where dockerd's resolver listens inside the
    /// container's network namespace but outside its cgroup.
    #[inline(always)]
    pub const fn is_embedded_resolver(self) -> bool {
        self.is(Self::from_v4([127, 0, 0, 11]))
    }

    /// Whether this is the solicited-node group of `target` (RFC 4291 §2.7.1).
    #[inline(always)]
    pub const fn is_solicited_node_of(self, target: Self) -> bool {
        const LOW: u32 = u32::from_ne_bytes([0, 0xff, 0xff, 0xff]);
        self.0[0] == u32::from_ne_bytes([0xff, 2, 0, 0])
            && self.0[1] == 0
            && self.0[2] == u32::from_ne_bytes([0, 0, 0, 1])
            && self.0[3] == (target.0[3] & LOW | u32::from_ne_bytes([0xff, 0, 0, 0]))
    }

    /// Whether this is an IPv6 multicast address.
    #[inline(always)]
    pub const fn is_v6_multicast(self) -> bool {
        self.0[0].to_ne_bytes()[0] == 0xff
    }

    /// Whether this is in fe80::/10 (RFC 4291 §2.5.6).
    #[inline(always)]
    pub const fn is_v6_link_local(self) -> bool {
        let [a, b, _, _] = self.0[0].to_ne_bytes();
        a == 0xfe && b & 0xc0 == 0x80
    }

    /// Whether this is a group: multicast of either version, 255.255.255.255,
    /// or loopback's own broadcast address. The kernel loops a copy of what is
    /// sent to a group back to every local receiver without asking egress.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        if !self.is_v4() {
            return self.is_v6_multicast();
        }
        let first = self.0[3].to_ne_bytes()[0];
        (first >= 224 && first < 240)
            || self.0[3] == u32::MAX
            || self.0[3] == u32::from_ne_bytes([127, 255, 255, 255])
    }
}

#[cfg(test)]
mod tests {
    use super::Addr;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v6(text: &str) -> Addr {
        Addr::from_octets(text.parse::<Ipv6Addr>().unwrap().octets())
    }

    #[test]
    fn classifies_addresses() {
        let v4 = |t: &str| Addr::from_v4(t.parse::<Ipv4Addr>().unwrap().octets());
        assert_eq!(v4("10.1.2.3"), v6("::ffff:10.1.2.3"));
        assert!(v4("127.0.0.1").is_loopback() && v4("127.9.9.9").is_loopback());
        assert!(v6("::1").is_loopback() && v6("::ffff:127.0.0.1").is_loopback());
        assert!(!v6("::2").is_loopback() && !v4("128.0.0.1").is_loopback());
        assert!(v4("127.0.0.11").is_embedded_resolver());
        assert!(!v6("::7f00:b").is_embedded_resolver());
        assert!(v4("0.0.0.0").is_unspecified() && v6("::").is_unspecified());
        assert!(!v6("::1").is_unspecified() && !v4("0.0.0.1").is_unspecified());
        assert_eq!(
            v6("2001:db8::7").octets(),
            "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets()
        );
    }

    #[test]
    fn knows_groups() {
        for group in [
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "127.255.255.255",
        ] {
            let v4: Ipv4Addr = group.parse().unwrap();
            assert!(Addr::from_v4(v4.octets()).is_group(), "{group}");
        }
        for host in [
            "223.255.255.255",
            "240.0.0.1",
            "127.0.0.1",
            "198.51.100.255",
        ] {
            let v4: Ipv4Addr = host.parse().unwrap();
            assert!(!Addr::from_v4(v4.octets()).is_group(), "{host}");
        }
        assert!(v6("ff02::1").is_group() && !v6("fe80::1").is_group());
    }

    #[test]
    fn knows_link_local_addresses() {
        assert!(v6("fe80::1").is_v6_link_local() && v6("febf::1").is_v6_link_local());
        assert!(!v6("fec0::1").is_v6_link_local() && !v6("2001:db8::1").is_v6_link_local());
        assert!(!v6("::ffff:169.254.0.1").is_v6_link_local());
    }

    #[test]
    fn knows_solicited_node_groups() {
        let target = v6("2001:db8::ab:cdef:1234");
        assert!(v6("ff02::1:ffef:1234").is_solicited_node_of(target));
        assert!(!v6("ff02::1:ffef:1235").is_solicited_node_of(target));
        assert!(!v6("ff05::1:ffef:1234").is_solicited_node_of(target));
    }
}
