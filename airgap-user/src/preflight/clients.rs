//! Who may send to UDP service ports.

use std::net::IpAddr;

use super::{Finding, Risk, finding};
use crate::policy::{Cidr, Port, Protocol};

/// So many prefixes of the widest kind that is no risk alone are one together.
const MANY: u128 = 4;

/// What has to be accepted by name: nobody opens a connection before a UDP service port
/// answers, so whoever forges a client's address has the answer sent to that client. Where
/// clients are half the world, by one prefix or by many, that is to anybody. Pure.
pub fn wide_udp(ports: &[Port], clients: &[Cidr]) -> Vec<Finding> {
    if !ports.iter().any(|port| port.protocol == Protocol::Udp) {
        return Vec::new();
    }
    let wide = clients
        .iter()
        .filter(|client| client.len < widest(client.addr.is_ipv4()));
    let mut findings: Vec<Finding> = wide
        .map(|client| {
            let what = format!(
                "UDP ports are served to {client}, of which a forged datagram chooses who gets the answer"
            );
            finding(Risk::UdpAny, what)
        })
        .collect();
    if findings.is_empty() {
        for (v4, version) in [(true, "IPv4"), (false, "IPv6")] {
            if is_wide(clients, v4) {
                let what = format!(
                    "UDP ports are served to the prefixes of {version} in --from, which together are so many that a forged datagram chooses who gets the answer"
                );
                findings.push(finding(Risk::UdpAny, what));
            }
        }
    }
    findings
}

/// The shortest prefix of an IP version that is no risk alone.
const fn widest(v4: bool) -> u8 {
    if v4 { 8 } else { 16 }
}

/// Whether all prefixes of one version hold more addresses than [`MANY`] of the widest.
fn is_wide(clients: &[Cidr], v4: bool) -> bool {
    let bits: u32 = if v4 { 32 } else { 128 };
    let of_version = clients.iter().filter(|client| client.addr.is_ipv4() == v4);
    let mut ranges: Vec<(u128, u128)> = of_version
        .map(|client| {
            let first = match client.addr {
                IpAddr::V4(addr) => u32::from(addr).into(),
                IpAddr::V6(addr) => u128::from(addr),
            };
            // None is wider than the widest, so this does not overflow.
            (first, 1 << (bits - u32::from(client.len)))
        })
        .collect();
    ranges.sort_unstable();
    // Prefixes are apart, or one holds the other.
    let (mut end, mut sum) = (0, 0);
    for (first, size) in ranges {
        if sum == 0 || first >= end {
            sum += size;
            end = first.saturating_add(size);
        }
    }
    sum > MANY << (bits - u32::from(widest(v4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(port: Port, clients: &[&str]) -> Vec<Finding> {
        let clients: Vec<Cidr> = clients.iter().map(|c| c.parse().unwrap()).collect();
        wide_udp(&[Port::tcp(80), port], &clients)
    }

    #[test]
    fn half_the_world_is_a_risk_of_udp_alone() {
        for (client, wide) in [
            ("0.0.0.0/0", true),
            ("0.0.0.0/1", true),
            ("10.0.0.0/8", false),
            ("::/0", true),
            ("2000::/3", true),
            ("2001:db8::/32", false),
        ] {
            let udp = found(Port::udp(5060), &[client, "198.51.100.0/24"]);
            assert_eq!(!udp.is_empty(), wide, "{client}");
            assert!(udp.iter().all(|f| f.risk == Risk::UdpAny));
            assert_eq!(found(Port::tcp(5060), &[client]), []);
        }
    }

    #[test]
    fn many_prefixes_are_half_the_world_too() {
        let eights = |count: u8| (0..count).map(|i| format!("{i}.0.0.0/8"));
        let sixteens = |count: u8| (0..count).map(|i| format!("20{i:02x}::/16"));
        let wide = |all: Vec<String>| {
            let all: Vec<_> = all.iter().map(String::as_str).collect();
            found(Port::udp(5060), &all).len()
        };
        assert_eq!(wide(eights(4).collect()), 0);
        assert_eq!(wide(eights(5).collect()), 1);
        assert_eq!(wide(sixteens(4).collect()), 0);
        assert_eq!(wide(sixteens(5).collect()), 1);
        // Each version by itself, and each address once.
        assert_eq!(wide(eights(4).chain(sixteens(4)).collect()), 0);
        assert_eq!(wide(eights(5).chain(sixteens(5)).collect()), 2);
        let twice = eights(4).chain(["1.2.0.0/16".into(), "0.0.0.0/9".into()]);
        assert_eq!(wide(twice.collect()), 0);
        let private = [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
        ];
        assert_eq!(found(Port::udp(5060), &private), []);
        assert_eq!(found(Port::tcp(5060), &["0.0.0.0/1", "128.0.0.0/1"]), []);
    }
}
