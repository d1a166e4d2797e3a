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
    /// No IP options, no fragment, no extension header; lengths add up.
    pub plain: bool,
    /// Bytes behind the IP header.
    pub payload: u16,
}

/// Reads an IPv4 header (RFC 791). `plain` is false with options or fragments.
#[inline(always)]
pub fn ipv4(h: &[u8; 20]) -> Ip {
    let total = u16::from_be_bytes([h[2], h[3]]);
    // More-fragments and offset; the don't-fragment bit says nothing.
    let fragment = u16::from_be_bytes([h[6], h[7]]) & 0x3fff;
    Ip {
        src: Addr::v4(u32::from_ne_bytes([h[12], h[13], h[14], h[15]])),
        dst: Addr::v4(u32::from_ne_bytes([h[16], h[17], h[18], h[19]])),
        version: 4,
        protocol: h[9],
        ttl: h[8],
        plain: h[0] == 0x45 && fragment == 0,
        payload: total.wrapping_sub(20),
    }
}

/// Reads an IPv6 header (RFC 8200). `plain` is true only if TCP, UDP or ICMPv6
/// follows at once.
#[inline(always)]
pub fn ipv6(h: &[u8; 40]) -> Ip {
    let mut src = [0; 16];
    let mut dst = [0; 16];
    src.copy_from_slice(&h[8..24]);
    dst.copy_from_slice(&h[24..40]);
    Ip {
        src: Addr::from_octets(src),
        dst: Addr::from_octets(dst),
        version: 6,
        protocol: h[6],
        ttl: h[7],
        plain: h[0] >> 4 == 6 && matches!(h[6], TCP | UDP | ICMPV6),
        payload: u16::from_be_bytes([h[4], h[5]]),
    }
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
        assert!(ipv4(&v4(5, 0)).plain);
        assert!(ipv4(&v4(5, 0x4000)).plain, "don't fragment");
        assert!(!ipv4(&v4(6, 0)).plain, "options");
        assert!(!ipv4(&v4(5, 0x2000)).plain, "first fragment");
        assert!(!ipv4(&v4(5, 0x0001)).plain, "later fragment");
        assert_eq!(ipv4(&v4(5, 0)).payload, 20);
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
            let mut h = [0; 40];
            h[0] = 0x60;
            h[6] = next;
            assert_eq!(ipv6(&h).plain, plain, "next header {next}");
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
