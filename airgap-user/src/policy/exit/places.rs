//! Addresses that are no place to lead to, or not without a word.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::policy::Cidr;

const fn v4(a: u8, b: u8, c: u8, d: u8, len: u8) -> Cidr {
    Cidr {
        addr: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        len,
    }
}

const fn v6(high: [u16; 4], low: u16, len: u8) -> Cidr {
    let [a, b, c, d] = high;
    Cidr {
        addr: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, low)),
        len,
    }
}

/// Why no exception leads there, but one address of it for what has the host's network.
pub(super) const LOOPBACK: &str =
    "is loopback: its own sockets are open to it anyway, and those of others never";

/// Where no exception leads, and why.
pub(super) const NEVER: [(Cidr, &str); 5] = [
    (v4(0, 0, 0, 0, 8), "is no address of anybody"),
    (v6([0; 4], 0, 128), "is no address of anybody"),
    (
        v4(224, 0, 0, 0, 4),
        "is multicast, which whoever listens gets",
    ),
    (
        v6([0xff00, 0, 0, 0], 0, 8),
        "is multicast, which whoever listens gets",
    ),
    (
        v4(255, 255, 255, 255, 32),
        "is broadcast, which whoever listens gets",
    ),
];

/// Addresses at which clouds and hosts answer with what only their owner may know.
pub(super) const METADATA: [(Cidr, &str); 6] = [
    (
        v4(169, 254, 0, 0, 16),
        "link-local addresses, where clouds serve metadata and credentials",
    ),
    (
        v6([0xfe80, 0, 0, 0], 0, 10),
        "link-local addresses, which are the link's",
    ),
    (
        v4(100, 100, 100, 200, 32),
        "a cloud's metadata and credentials",
    ),
    (
        v4(168, 63, 129, 16, 32),
        "a cloud's metadata and credentials",
    ),
    (v4(192, 0, 0, 192, 32), "a cloud's metadata and credentials"),
    (
        v6([0xfd00, 0xec2, 0, 0], 0x254, 128),
        "a cloud's metadata and credentials",
    ),
];
