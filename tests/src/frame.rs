//! Captured Ethernet frames and what they say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ETH: usize = 14;
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// One captured frame; the bytes may be cut, the length is the one on the wire.
#[derive(Clone)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub wire_len: usize,
    /// Sent by this host's stack out of the device, not received on it.
    pub outgoing: bool,
    /// Index of the device it was seen on.
    pub ifindex: i32,
}

/// The network layer of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// The transport's, behind any IPv6 extension headers.
    pub protocol: u8,
    /// TTL or hop limit.
    pub hops: u8,
    /// Offset of the transport header in the frame.
    pub transport: usize,
}

impl Frame {
    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes(
            self.bytes.get(at..at + 2)?.try_into().ok()?,
        ))
    }

    /// In host byte order.
    #[must_use]
    pub fn ethertype(&self) -> u16 {
        self.u16(12).unwrap_or(0)
    }

    /// Source hardware address.
    #[must_use]
    pub fn source_mac(&self) -> &[u8] {
        self.bytes.get(6..12).unwrap_or(&[])
    }

    #[must_use]
    pub fn ip(&self) -> Option<Ip> {
        let at = |range| self.bytes.get::<std::ops::Range<usize>>(range);
        let v4 = |range| <[u8; 4]>::try_from(at(range)?).ok().map(Ipv4Addr::from);
        let v6 = |range| <[u8; 16]>::try_from(at(range)?).ok().map(Ipv6Addr::from);
        match self.ethertype() {
            IPV4 => Some(Ip {
                source: v4(ETH + 12..ETH + 16)?.into(),
                destination: v4(ETH + 16..ETH + 20)?.into(),
                protocol: self.bytes[ETH + 9],
                hops: self.bytes[ETH + 8],
                transport: ETH + usize::from(self.bytes[ETH] & 0xf) * 4,
            }),
            IPV6 => {
                let (source, destination) = (v6(ETH + 8..ETH + 24)?, v6(ETH + 24..ETH + 40)?);
                let (mut protocol, mut transport) = (self.bytes[ETH + 6], ETH + 40);
                // Hop-by-hop, routing and destination options.
                while matches!(protocol, 0 | 43 | 60) {
                    let [next, len] = *self.bytes.get(transport..transport + 2)? else {
                        return None;
                    };
                    (protocol, transport) = (next, transport + 8 + usize::from(len) * 8);
                }
                Some(Ip {
                    source: source.into(),
                    destination: destination.into(),
                    protocol,
                    hops: self.bytes[ETH + 7],
                    transport,
                })
            }
            _ => None,
        }
    }

    /// Source and destination port of TCP, UDP and UDP-Lite, in host byte order.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let ip = self.ip().filter(|ip| matches!(ip.protocol, 6 | 17 | 136))?;
        Some((self.u16(ip.transport)?, self.u16(ip.transport + 2)?))
    }

    /// Flags of a TCP segment (RFC 9293 §3.1).
    #[must_use]
    pub fn tcp_flags(&self) -> Option<u8> {
        let ip = self.ip().filter(|ip| ip.protocol == 6)?;
        self.bytes.get(ip.transport + 13).copied()
    }

    /// Is a TCP reset or acknowledgement without a word: what a kernel answers to a segment of a
    /// connection that is no more.
    #[must_use]
    pub fn is_bare_answer(&self) -> bool {
        let bare = || {
            let ip = self.ip()?;
            let header = usize::from(self.bytes.get(ip.transport + 12)? >> 4) * 4;
            let answer = matches!(self.tcp_flags()?, 0x04 | 0x10 | 0x14);
            Some(answer && self.wire_len == ip.transport + header)
        };
        bare() == Some(true)
    }

    /// Holds `marker` anywhere in the captured part.
    #[must_use]
    pub fn contains(&self, marker: &str) -> bool {
        self.has(marker.as_bytes())
    }

    /// As [`Self::contains`], for what is no text.
    #[must_use]
    pub fn has(&self, bytes: &[u8]) -> bool {
        self.bytes
            .windows(bytes.len())
            .any(|window| window == bytes)
    }

    /// Is a link-local control packet of a host's own stack, which no router passes on.
    #[must_use]
    pub fn is_link_local(&self) -> bool {
        self.ip().is_some_and(|ip| match ip.source {
            IpAddr::V6(source) => source.is_unspecified() || source.is_unicast_link_local(),
            IpAddr::V4(_) => ip.protocol == 2,
        })
    }

    /// Is ARP or neighbour discovery exactly as a kernel makes it, with no room for a payload; or
    /// a report of the groups that it asks for, of which `groups.rs` proves that they are own ones.
    #[must_use]
    pub fn is_neighbour_discovery(&self) -> bool {
        match self.ethertype() {
            ARP => self.is_plain_arp(),
            IPV6 => self.is_plain_nd() || self.is_plain_report(),
            _ => false,
        }
    }

    fn is_plain_arp(&self) -> bool {
        let head = [0, 1, 8, 0, 6, 4, 0];
        self.wire_len == ETH + 28
            && self.bytes.get(ETH..ETH + 7) == Some(&head)
            && matches!(self.bytes[ETH + 7], 1 | 2)
            && self.bytes.get(ETH + 8..ETH + 14) == Some(self.source_mac())
    }

    fn is_plain_nd(&self) -> bool {
        let Some(ip) = self.ip().filter(|ip| ip.protocol == 58 && ip.hops == 255) else {
            return false;
        };
        let Some(icmp) = self
            .bytes
            .get(ip.transport..)
            .filter(|icmp| icmp.len() >= 24)
        else {
            return false;
        };
        let payload = self.u16(ETH + 4).map(usize::from);
        let whole = self.wire_len == self.bytes.len() && payload == Some(icmp.len());
        // NA: only the flag bits R, S and O. NS: all reserved bits zero.
        let reserved = match icmp[0] {
            135 => icmp[4..8] == [0; 4],
            136 => icmp[4] & 0x1f == 0 && icmp[5..8] == [0; 3],
            _ => false,
        };
        whole && icmp[1] == 0 && reserved && self.is_plain_nd_option(ip.source, &icmp[24..])
    }

    /// Is a question for routers exactly as a kernel asks it, with its own link-layer address and
    /// nothing else (RFC 4861 §4.1): engines may leave that on, as Podman does.
    #[must_use]
    pub fn is_router_solicitation(&self) -> bool {
        const TO: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2));
        let Some(ip) = self
            .ip()
            .filter(|ip| ip.hops == 255 && ip.destination == TO)
        else {
            return false;
        };
        let icmp = self.bytes.get(ip.transport..).unwrap_or_default();
        let Some(([133, 0, _, _, 0, 0, 0, 0], option)) = icmp.split_first_chunk::<8>() else {
            return false;
        };
        let whole = self.wire_len == self.bytes.len() && ip.transport == ETH + 40;
        whole
            && match option {
                [] => ip.source.is_unspecified(),
                [1, 1, mac @ ..] => mac == self.source_mac(),
                _ => false,
            }
    }

    /// MLDv2 of solicited-node groups alone (RFC 3810 §5.2, RFC 4291 §2.7.1).
    fn is_plain_report(&self) -> bool {
        const TO: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16));
        const NODES: [u8; 13] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];
        let Some(ip) = self.ip().filter(|ip| ip.hops == 1 && ip.destination == TO) else {
            return false;
        };
        let icmp = self.bytes.get(ip.transport..).unwrap_or_default();
        let Some(([143, 0, _, _, 0, 0, 0, count], records)) = icmp.split_first_chunk::<8>() else {
            return false;
        };
        let plain = |record: &[u8]| record[1..4] == [0; 3] && record[4..17] == NODES;
        ip.transport == ETH + 48
            && self.wire_len == self.bytes.len()
            && records.len() == usize::from(*count) * 20
            && records.chunks(20).all(plain)
    }

    /// No option, one link-layer address that is the sender's own, or the nonce of duplicate
    /// address detection.
    fn is_plain_nd_option(&self, source: IpAddr, option: &[u8]) -> bool {
        match option {
            [] => true,
            [1 | 2, 1, mac @ ..] if mac.len() == 6 => mac == self.source_mac(),
            [14, 1, nonce @ ..] => nonce.len() == 6 && source.is_unspecified(),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} dev#{} ",
            if self.outgoing { "out" } else { "in" },
            self.ifindex
        )?;
        if let Some(ip) = self.ip() {
            write!(
                f,
                "{} > {} proto {}",
                ip.source, ip.destination, ip.protocol
            )?;
            if let Some((from, to)) = self.ports() {
                write!(f, " ports {from} > {to}")?;
            }
            let rest = self.bytes.get(ip.transport..).unwrap_or(&[]);
            write!(
                f,
                " len {} {}",
                self.wire_len,
                rest[..rest.len().min(64)].escape_ascii()
            )
        } else {
            let rest = &self.bytes[..self.bytes.len().min(64)];
            write!(
                f,
                "type {:04x} len {} {}",
                self.ethertype(),
                self.wire_len,
                rest.escape_ascii()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Frame;

    fn arp(trailer: &[u8]) -> Frame {
        let mac = [2, 0x42, 1, 2, 3, 4];
        let mut bytes = vec![0xff; 6];
        bytes.extend(mac);
        bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        bytes.extend(mac);
        bytes.extend([198, 51, 100, 2, 0, 0, 0, 0, 0, 0, 198, 51, 100, 1]);
        bytes.extend(trailer);
        Frame {
            wire_len: bytes.len(),
            bytes,
            outgoing: false,
            ifindex: 1,
        }
    }

    #[test]
    fn plain_arp_is_neighbour_discovery() {
        assert!(arp(b"").is_neighbour_discovery());
    }

    #[test]
    fn a_report_of_own_groups_is_too_and_others_are_not() {
        let mut bytes = vec![0x33, 0x33, 0, 0, 0, 0x16, 2, 0x42, 1, 2, 3, 4, 0x86, 0xdd];
        bytes.extend([0x60, 0, 0, 0, 0, 36, 0, 1]);
        bytes.extend([0; 16]);
        bytes.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16]);
        bytes.extend([58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 7, 7, 0, 0, 0, 1]);
        bytes.extend([
            4, 0, 0, 0, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2,
        ]);
        let report = |bytes: Vec<u8>| Frame {
            wire_len: bytes.len(),
            bytes,
            outgoing: false,
            ifindex: 1,
        };
        assert!(report(bytes.clone()).is_neighbour_discovery());
        // The scope, the last byte of the prefix, sources, more than is counted.
        for (at, value) in [(75, 5), (86, 0xfe), (73, 1), (69, 2)] {
            let mut other = bytes.clone();
            assert_ne!(other[at], value, "{at}");
            other[at] = value;
            assert!(!report(other).is_neighbour_discovery(), "{at}");
        }
    }

    #[test]
    fn a_question_for_routers_has_nothing_of_anybody() {
        let mut bytes = vec![0x33, 0x33, 0, 0, 0, 2, 2, 0x42, 1, 2, 3, 4, 0x86, 0xdd];
        bytes.extend([0x60, 0, 0, 0, 0, 16, 58, 255, 0xfe, 0x80]);
        bytes.extend([0; 13]);
        bytes.extend([1, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        bytes.extend([133, 0, 7, 7, 0, 0, 0, 0, 1, 1, 2, 0x42, 1, 2, 3, 4]);
        let asks = |bytes: Vec<u8>| Frame {
            wire_len: bytes.len(),
            bytes,
            outgoing: false,
            ifindex: 1,
        };
        assert!(asks(bytes.clone()).is_router_solicitation());
        for at in [21, 53, 58, bytes.len() - 1] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(!asks(other).is_router_solicitation(), "{at}");
        }
    }

    #[test]
    fn arp_with_a_trailer_or_foreign_sender_is_not() {
        assert!(!arp(b"secret").is_neighbour_discovery());
        let mut forged = arp(b"");
        forged.bytes[24] = 9;
        assert!(!forged.is_neighbour_discovery());
    }
}
