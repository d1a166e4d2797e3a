//! IP and transport headers, as far as the verdict needs them.

use crate::addr::Addr;

/// Protocol numbers (IANA).
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMP for IPv4.
pub const ICMP: u8 = 1;
/// IGMP.
pub const IGMP: u8 = 2;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;

/// Length of an Ethernet header, bytes (include/uapi/linux/if_ether.h).
pub const ETHERNET: u32 = 14;

/// TCP flag bits (RFC 9293 §3.1).
pub const FIN: u8 = 1;
/// SYN.
pub const SYN: u8 = 2;
/// RST.
pub const RST: u8 = 4;
/// ACK.
pub const ACK: u8 = 16;

/// What is left to say of an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// 4 or 6.
    pub version: u8,
    /// Protocol, or the first next header of IPv6.
    pub protocol: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// No IP options, no fragment, no extension header but [`jumbo`]'s.
    pub plain: bool,
    /// Bytes behind the IP header and a jumbo header.
    pub payload: u32,
}

/// The destination of a fragment of a UDP datagram over IPv4 without options; `None` for
/// anything else.
#[inline(always)]
pub fn udp_fragment4(h: &[u8; 20]) -> Option<Addr> {
    // More-fragments and offset.
    let fragment = u16::from_be_bytes([h[6], h[7]]) & 0x3fff;
    (h[0] == 0x45 && h[9] == UDP && fragment != 0)
        .then(|| Addr::v4(u32::from_ne_bytes([h[16], h[17], h[18], h[19]])))
}

/// The same over IPv6, of the fixed header and the fragment header behind it (RFC 8200
/// §4.5).
#[inline(always)]
pub fn udp_fragment6(h: &[u8; 48]) -> Option<Addr> {
    const FRAGMENT: u8 = 44;
    let mut dst = [0; 16];
    dst.copy_from_slice(&h[24..40]);
    (h[0] >> 4 == 6 && h[6] == FRAGMENT && h[40] == UDP && h[41] == 0)
        .then(|| Addr::from_octets(dst))
}

/// Longest packet that the length fields of IP can tell, bytes. The kernel makes
/// longer ones for itself (BIG TCP: over `lo` by default since Linux 6.12) and
/// writes 0 as their length.
const LONGEST: u32 = 65_535;
/// Next header: hop-by-hop options (RFC 8200 §4.3).
pub const HOP_BY_HOP: u8 = 0;
/// Bytes of a hop-by-hop header with nothing but a jumbo payload option.
pub const JUMBO: u32 = 8;

/// Reads an IPv4 header (RFC 791) of a packet of `len` bytes. `plain` is false
/// with options or fragments, and without a length where the kernel writes one.
#[inline(always)]
pub fn ipv4(h: &[u8; 20], len: u32) -> Ip {
    let total = u16::from_be_bytes([h[2], h[3]]);
    // More-fragments and offset; the don't-fragment bit says nothing.
    let fragment = u16::from_be_bytes([h[6], h[7]]) & 0x3fff;
    let protocol = h[9];
    let big = (total == 0) & (protocol == TCP) & (len > LONGEST);
    let length = if big { len } else { total as u32 };
    Ip {
        src: Addr::v4(u32::from_ne_bytes([h[12], h[13], h[14], h[15]])),
        dst: Addr::v4(u32::from_ne_bytes([h[16], h[17], h[18], h[19]])),
        version: 4,
        protocol,
        ttl: h[8],
        plain: h[0] == 0x45 && fragment == 0 && length != 0,
        payload: length.wrapping_sub(20),
    }
}

/// Reads an IPv6 header (RFC 8200) of a packet of `len` bytes. `plain` is true
/// only if TCP, UDP or ICMPv6 follows at once.
#[inline(always)]
pub fn ipv6(h: &[u8; 40], len: u32) -> Ip {
    let mut src = [0; 16];
    let mut dst = [0; 16];
    src.copy_from_slice(&h[8..24]);
    dst.copy_from_slice(&h[24..40]);
    let payload = u16::from_be_bytes([h[4], h[5]]);
    // Since Linux 7.1 a long TCP packet has no jumbo header.
    let big = (payload == 0) & (h[6] == TCP) & (len > LONGEST);
    Ip {
        src: Addr::from_octets(src),
        dst: Addr::from_octets(dst),
        version: 6,
        protocol: h[6],
        ttl: h[7],
        plain: h[0] >> 4 == 6 && matches!(h[6], TCP | UDP | ICMPV6),
        payload: if big { len - 40 } else { payload as u32 },
    }
}

/// What the kernel (up to 7.0) puts before the TCP header of a packet that is
/// longer than the length field can tell (`struct hop_jumbo_hdr`,
/// include/net/ipv6.h): `h` is behind the fixed header of `ip`, `len` the length
/// of the whole packet. Returns the packet as if the TCP header followed at once,
/// or `None` if this is any other header, to the last bit.
#[inline(always)]
pub fn jumbo(ip: &Ip, h: &[u8; 8], len: u32) -> Option<Ip> {
    /// Then TCP; no more bytes than eight; the option's type and length.
    const HEAD: u32 = u32::from_ne_bytes([TCP, 0, 0xc2, 4]);
    let head = u32::from_ne_bytes([h[0], h[1], h[2], h[3]]);
    let length = u32::from_be_bytes([h[4], h[5], h[6], h[7]]);
    // One comparison: each is another way for the verifier to go on.
    let differs = (head ^ HEAD)
        | ip.payload
        | (ip.protocol ^ HOP_BY_HOP) as u32
        | (ip.version ^ 6) as u32
        | (length ^ len.wrapping_sub(40));
    if differs != 0 || length <= LONGEST {
        return None;
    }
    Some(Ip {
        protocol: TCP,
        plain: true,
        payload: length - JUMBO,
        ..*ip
    })
}

/// What follows the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything else, or too short to read.
    Other,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
}

/// The transport header. Fields that the kind does not have are zero: a flat
/// struct, as an enum with data leaves bytes unset, which the verifier refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Which fields mean something.
    pub kind: Kind,
    /// TCP flags, the eight of RFC 9293.
    pub flags: u8,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// Source port, host byte order.
    pub sport: u16,
    /// Destination port, host byte order.
    pub dport: u16,
    /// TCP: length of the header with its options, bytes.
    pub header: u16,
    /// TCP sequence number.
    pub seq: u32,
    /// TCP acknowledgment number.
    pub ack: u32,
    /// The first four bytes of the TCP options, where the verdict needs them.
    pub options: [u8; 4],
    /// ICMPv6: bytes 8 to 24, the target of neighbour discovery.
    pub target: Addr,
}

impl Transport {
    /// Nothing that can be judged.
    pub const OTHER: Self = Self {
        kind: Kind::Other,
        flags: 0,
        icmp_type: 0,
        icmp_code: 0,
        sport: 0,
        dport: 0,
        header: 0,
        seq: 0,
        ack: 0,
        options: [0; 4],
        target: Addr([0; 4]),
    };

    /// Reads the first 20 bytes of a TCP segment.
    #[inline(always)]
    pub fn tcp(h: &[u8; 20]) -> Self {
        Self {
            kind: Kind::Tcp,
            flags: h[13],
            header: (h[12] >> 4) as u16 * 4,
            seq: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
            ack: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
            sport: u16::from_be_bytes([h[0], h[1]]),
            dport: u16::from_be_bytes([h[2], h[3]]),
            ..Self::OTHER
        }
    }

    /// Reads the first 8 bytes of a UDP datagram.
    #[inline(always)]
    pub fn udp(h: &[u8; 8]) -> Self {
        Self {
            kind: Kind::Udp,
            sport: u16::from_be_bytes([h[0], h[1]]),
            dport: u16::from_be_bytes([h[2], h[3]]),
            ..Self::OTHER
        }
    }

    /// Type, code and, for neighbour discovery, the target.
    #[inline(always)]
    pub fn icmp(h: [u8; 2], target: Addr) -> Self {
        Self {
            kind: Kind::Icmp,
            icmp_type: h[0],
            icmp_code: h[1],
            target,
            ..Self::OTHER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(ihl: u8, frag: u16) -> [u8; 20] {
        let mut h = [0; 20];
        h[0] = 0x40 | ihl;
        h[2..4].copy_from_slice(&40u16.to_be_bytes());
        h[6..8].copy_from_slice(&frag.to_be_bytes());
        h[9] = TCP;
        h
    }

    #[test]
    fn options_and_fragments_are_not_plain() {
        let plain = |h: [u8; 20]| ipv4(&h, 40).plain;
        assert!(plain(v4(5, 0)));
        assert!(plain(v4(5, 0x4000)), "don't fragment");
        assert!(!plain(v4(6, 0)), "options");
        assert!(!plain(v4(5, 0x2000)), "first fragment");
        assert!(!plain(v4(5, 0x0001)), "later fragment");
        assert_eq!(ipv4(&v4(5, 0), 40).payload, 20);
    }

    #[test]
    fn fragments_of_datagrams_are_told() {
        let mut h = v4(5, 0x2000);
        assert_eq!(udp_fragment4(&h), None, "TCP");
        h[9] = UDP;
        h[16..].copy_from_slice(&[198, 51, 100, 9]);
        let client = Addr::from_v4([198, 51, 100, 9]);
        assert_eq!(udp_fragment4(&h), Some(client));
        h[6..8].copy_from_slice(&[0, 1]);
        assert_eq!(udp_fragment4(&h), Some(client), "a later one");
        h[6..8].copy_from_slice(&[0x40, 0]);
        assert_eq!(udp_fragment4(&h), None, "whole");
        let mut options = v4(6, 0x2000);
        options[9] = UDP;
        assert_eq!(udp_fragment4(&options), None);

        let mut h = [0; 48];
        (h[0], h[6], h[40]) = (0x60, 44, UDP);
        h[39] = 1;
        let one = Addr([0, 0, 0, u32::from_ne_bytes([0, 0, 0, 1])]);
        assert_eq!(udp_fragment6(&h), Some(one));
        for (at, other) in [(0, 0x40), (6, UDP), (40, TCP), (40, 60), (41, 1)] {
            let mut other_header = h;
            other_header[at] = other;
            assert_eq!(udp_fragment6(&other_header), None, "{at} {other}");
        }
    }

    #[test]
    fn long_ipv4_packets_have_no_length() {
        let mut h = v4(5, 0);
        h[2..4].fill(0);
        let long = ipv4(&h, 131_018);
        assert!(long.plain);
        assert_eq!(long.payload, 130_998);
        assert!(!ipv4(&h, 65_535).plain, "the kernel tells this length");
        h[9] = UDP;
        assert!(!ipv4(&h, 131_018).plain, "none but TCP is so long");
    }

    fn v6(next: u8, payload: u16) -> [u8; 40] {
        let mut h = [0; 40];
        h[0] = 0x60;
        h[4..6].copy_from_slice(&payload.to_be_bytes());
        h[6] = next;
        h
    }

    #[test]
    fn the_kernels_jumbo_header_is_seen_through() {
        let len = 131_018;
        let header = |length: u32| {
            let [a, b, c, d] = length.to_be_bytes();
            [TCP, 0, 0xc2, 4, a, b, c, d]
        };
        let exact = header(len - 40);
        let ip = ipv6(&v6(HOP_BY_HOP, 0), len);
        assert!(!ip.plain);
        let seen = jumbo(&ip, &exact, len).unwrap();
        assert_eq!((seen.plain, seen.protocol), (true, TCP));
        assert_eq!(seen.payload, len - 48);
        // Any bit that differs.
        for bit in 0..64 {
            let mut other = exact;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(jumbo(&ip, &other, len), None, "bit {bit}");
        }
        for (next, payload, len) in [
            (HOP_BY_HOP, 8, len),
            (HOP_BY_HOP, 0, len + 1),
            (43, 0, len),
            (60, 0, len),
            (TCP, 0, len),
        ] {
            let ip = ipv6(&v6(next, payload), len);
            assert_eq!(jumbo(&ip, &exact, len), None, "{next} {payload} {len}");
        }
        // A length that the fixed header could have told.
        let ip = ipv6(&v6(HOP_BY_HOP, 0), 65_575);
        assert_eq!(jumbo(&ip, &header(65_535), 65_575), None);
        let long = ipv6(&v6(HOP_BY_HOP, 0), 65_576);
        assert!(jumbo(&long, &header(65_536), 65_576).is_some());
        // IPv4 has none.
        let mut h = v4(5, 0);
        h[9] = HOP_BY_HOP;
        h[2..4].copy_from_slice(&20u16.to_be_bytes());
        assert_eq!(jumbo(&ipv4(&h, len), &exact, len), None);
    }

    #[test]
    fn long_ipv6_packets_without_a_jumbo_header() {
        let ip = ipv6(&v6(TCP, 0), 131_018);
        assert!(ip.plain);
        assert_eq!(ip.payload, 130_978);
        assert_eq!(ipv6(&v6(TCP, 0), 60).payload, 0);
        assert_eq!(ipv6(&v6(UDP, 0), 131_018).payload, 0);
    }

    #[test]
    fn extension_headers_are_not_plain() {
        for (next, plain) in [
            (TCP, true),
            (UDP, true),
            (ICMPV6, true),
            (0, false),
            (43, false),
            (44, false),
            (60, false),
            (ICMP, false),
        ] {
            assert_eq!(ipv6(&v6(next, 20), 60).plain, plain, "next header {next}");
        }
    }

    #[test]
    fn reads_tcp() {
        let mut h = [0; 20];
        h[..4].copy_from_slice(&[0x13, 0xc4, 0x01, 0xbb]);
        h[13] = SYN | ACK;
        let t = Transport::tcp(&h);
        assert_eq!(
            (t.kind, t.sport, t.dport, t.flags),
            (Kind::Tcp, 5060, 443, SYN | ACK)
        );
    }
}
