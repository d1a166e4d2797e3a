//! Addresses that the answer for a name never leads to (RFC 6890 and the registries that
//! it began). Documentation ranges are not among them. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::policy::Cidr;

const V4: [([u8; 4], u8, &str); 14] = [
    ([0, 0, 0, 0], 8, "no address: the server blocks this name"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared address space"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([168, 63, 129, 16], 32, "a cloud's metadata"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved"),
    ([192, 88, 99, 0], 24, "a relay to IPv6"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "for benchmarks"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved"),
    ([255, 255, 255, 255], 32, "broadcast"),
];

const V6: [([u16; 8], u8, &str); 11] = [
    (
        [0, 0, 0, 0, 0, 0, 0, 0],
        96,
        "no address, loopback, or IPv4 within IPv6",
    ),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "a translator to IPv4"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discarded"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "a tunnel (Teredo)"),
    ([0x2001, 0x2, 0, 0, 0, 0, 0, 0], 48, "for benchmarks"),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
    (
        [0x2001, 0x10, 0, 0, 0, 0, 0, 0],
        28,
        "no address of a host (ORCHID)",
    ),
];

/// Why no name leads to this address; `own`: networks of this host and of the container.
pub fn refused(address: IpAddr, own: &[Cidr]) -> Option<&'static str> {
    if own.iter().any(|net| net.holds(address)) {
        return Some("in a network of this host or of the container itself");
    }
    let within = |net: IpAddr, len: u8| Cidr { addr: net, len }.holds(address);
    match address {
        IpAddr::V4(_) => V4
            .iter()
            .find(|(net, len, _)| within(Ipv4Addr::from(*net).into(), *len))
            .map(|(.., why)| *why),
        IpAddr::V6(six) => V6
            .iter()
            .find(|(net, len, _)| within(Ipv6Addr::from(*net).into(), *len))
            .map(|(.., why)| *why)
            .or_else(|| refused(hidden(six)?.into(), own)),
    }
}

/// The IPv4 address that an IPv6 one leads to: mapped, translated (RFC 2765), by NAT64, by 6to4, by ISATAP.
fn hidden(six: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = six.octets();
    let at = |from: usize| {
        let four: [u8; 4] = octets[from..from + 4].try_into().ok()?;
        Some(Ipv4Addr::from(four))
    };
    match six.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] => at(12),
        [0x2002, ..] => at(2),
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => at(12),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_refused_however_it_is_written() {
        for text in [
            "10.0.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "198.18.0.1",
            "240.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "172.31.255.255",
            "192.168.0.1",
            "192.0.0.192",
            "192.88.99.1",
            "168.63.129.16",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "2002:a00:1::1",
            "2001::1",
            "ff02::1",
            "2001:db8::5efe:a00:1",
            "2001:db8::200:5efe:10.0.0.1",
            "100::1",
        ] {
            assert!(refused(text.parse().unwrap(), &[]).is_some(), "{text}");
        }
        for text in [
            "198.51.100.10",
            "192.0.2.1",
            "203.0.113.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2001:db8::1",
            "2606:4700::1111",
            "64:ff9b::c633:640a",
            "2002:c633:640a::1",
        ] {
            assert_eq!(refused(text.parse().unwrap(), &[]), None, "{text}");
        }
    }

    #[test]
    fn own_networks_are_refused_also_within_another_address() {
        let own = ["198.51.100.0/27", "2001:db8:2::/64"].map(|text| text.parse().unwrap());
        for (text, is) in [
            ("198.51.100.7", true),
            ("198.51.100.40", false),
            ("64:ff9b::c633:6407", true),
            ("2001:db8:2::9", true),
            ("2001:db8:3::9", false),
        ] {
            assert_eq!(refused(text.parse().unwrap(), &own).is_some(), is, "{text}");
        }
    }
}
