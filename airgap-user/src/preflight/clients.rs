//! Who may send to UDP service ports.

use super::{Finding, Risk, finding};
use crate::policy::{Cidr, Port, Protocol};

/// What has to be accepted by name: nobody opens a connection before a UDP service port
/// answers, so whoever forges a client's address has the answer sent to that client. Where
/// clients are half the world, that is to anybody. Pure.
pub fn wide_udp(ports: &[Port], clients: &[Cidr]) -> Vec<Finding> {
    if !ports.iter().any(|port| port.protocol == Protocol::Udp) {
        return Vec::new();
    }
    let wide = clients.iter().filter(|client| {
        let least = if client.addr.is_ipv4() { 8 } else { 16 };
        client.len < least
    });
    wide.map(|client| {
        let what = format!(
            "UDP ports are served to {client}, of which a forged datagram chooses who gets the answer"
        );
        finding(Risk::UdpAny, what)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_world_is_a_risk_of_udp_alone() {
        let found = |port: Port, client: &str| {
            let clients = [client.parse().unwrap(), "198.51.100.0/24".parse().unwrap()];
            wide_udp(&[Port::tcp(80), port], &clients)
        };
        for (client, wide) in [
            ("0.0.0.0/0", true),
            ("0.0.0.0/1", true),
            ("10.0.0.0/8", false),
            ("::/0", true),
            ("2000::/3", true),
            ("2001:db8::/32", false),
        ] {
            let udp = found(Port::udp(5060), client);
            assert_eq!(!udp.is_empty(), wide, "{client}");
            assert!(udp.iter().all(|f| f.risk == Risk::UdpAny));
            assert_eq!(found(Port::tcp(5060), client), []);
        }
    }
}
