//! What a sealed container's interface may announce: that it is there.

/// IPv4 addresses of one interface that may be announced.
pub const MAX_OWN: usize = 4;
/// IPv6 addresses of one interface whose groups may be reported.
pub const MAX_OWN6: usize = 8;
/// Bytes of an Ethernet header and ARP for IPv4 (RFC 826).
pub const ARP_LEN: usize = 14 + 28;

/// Value of `OWN`: the container's end of a veth, as it was when it was guarded.
/// What is out of date here can only drop more.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Hardware address.
    pub mac: [u8; 6],
    /// Zero.
    pub _pad: [u8; 2],
    /// IPv4 addresses, network byte order; 0: none.
    pub v4: [u32; MAX_OWN],
    /// Last words of the solicited-node groups of its IPv6 addresses (RFC 4291 §2.7.1),
    /// network byte order; 0: none.
    pub groups: [u32; MAX_OWN6],
}

impl Own {
    /// Whether this is the last word of a solicited-node group of an own address.
    #[inline(always)]
    pub const fn has_group(&self, last: u32) -> bool {
        let mut known = false;
        let mut i = 0;
        while i < MAX_OWN6 {
            known |= self.groups[i] == last;
            i += 1;
        }
        known && last != 0
    }

    /// The last word of the solicited-node group of an address, by its last four bytes.
    pub const fn group_of(last: [u8; 4]) -> u32 {
        u32::from_ne_bytes([0xff, last[1], last[2], last[3]])
    }

    /// Whether a frame is an ARP announcement (RFC 5227 §1.1) of an own address, and
    /// says nothing else: a request or a reply to all, as engines and arping(8) write
    /// them. Every byte is told by the interface but the kind and the target's
    /// hardware address, which is zero, all ones or the own one.
    #[inline(always)]
    pub const fn announces(&self, frame: &[u8; ARP_LEN]) -> bool {
        const HEAD: [u8; 9] = [8, 6, 0, 1, 8, 0, 6, 4, 0];
        let mut differs = 0;
        let (mut zero, mut ones, mut own) = (0, 0, 0);
        let mut i = 0;
        while i < 6 {
            differs |= frame[i] ^ 0xff;
            differs |= frame[6 + i] ^ self.mac[i];
            differs |= frame[22 + i] ^ self.mac[i];
            zero |= frame[32 + i];
            ones |= frame[32 + i] ^ 0xff;
            own |= frame[32 + i] ^ self.mac[i];
            i += 1;
        }
        i = 0;
        while i < HEAD.len() {
            differs |= frame[12 + i] ^ HEAD[i];
            i += 1;
        }
        let sender = u32::from_ne_bytes([frame[28], frame[29], frame[30], frame[31]]);
        let target = u32::from_ne_bytes([frame[38], frame[39], frame[40], frame[41]]);
        let mut known = false;
        i = 0;
        while i < MAX_OWN {
            known |= self.v4[i] == sender;
            i += 1;
        }
        differs == 0
            && (frame[21] == 1 || frame[21] == 2)
            && (zero == 0) | (ones == 0) | (own == 0)
            && known
            && sender == target
            && sender != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0x42, 0xc6, 0x33, 0x64, 2];
    const IP: [u8; 4] = [198, 51, 100, 2];

    fn own() -> Own {
        Own {
            mac: MAC,
            _pad: [0; 2],
            v4: [0, u32::from_ne_bytes(IP), 0, 0],
            groups: [0, Own::group_of([1, 2, 3, 4]), 0, 0, 0, 0, 0, 0],
        }
    }

    fn announcement(kind: u8, target: [u8; 6]) -> [u8; ARP_LEN] {
        let mut frame = [0; ARP_LEN];
        frame[..6].fill(0xff);
        frame[6..12].copy_from_slice(&MAC);
        frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, kind]);
        frame[22..28].copy_from_slice(&MAC);
        frame[28..32].copy_from_slice(&IP);
        frame[32..38].copy_from_slice(&target);
        frame[38..].copy_from_slice(&IP);
        frame
    }

    #[test]
    fn announcements_are_exact() {
        for target in [[0; 6], [0xff; 6], MAC] {
            for kind in [1, 2] {
                assert!(
                    own().announces(&announcement(kind, target)),
                    "{kind} {target:?}"
                );
            }
            assert!(!own().announces(&announcement(3, target)));
        }
        assert!(!own().announces(&announcement(1, [0, 0, 0, 0, 0, 1])));
        // Any bit that differs, but the two that turn a request into a reply.
        let exact = announcement(1, [0; 6]);
        for bit in 0..ARP_LEN * 8 {
            let mut other = exact;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!own().announces(&other), "bit {bit}");
        }
    }

    #[test]
    fn knows_the_groups_of_its_addresses() {
        let last = |bytes| u32::from_ne_bytes(bytes);
        assert!(own().has_group(last([0xff, 2, 3, 4])));
        assert!(!own().has_group(last([0xff, 2, 3, 5])));
        assert!(!own().has_group(last([1, 2, 3, 4])) && !own().has_group(0));
    }

    #[test]
    fn nobody_announces_no_address() {
        let mut frame = announcement(1, [0; 6]);
        frame[28..32].fill(0);
        frame[38..].fill(0);
        assert!(!own().announces(&frame));
    }
}
