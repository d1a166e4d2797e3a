//! What a container serves: what listens in its networks, what its engine publishes.

use std::{collections::BTreeSet, fmt, fs, net::IpAddr};

use anyhow::Result;

use super::{Container, sockets, tcp};
use crate::host::netns::Netns;

/// A port of the container, with its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Served {
    /// UDP instead of TCP.
    pub udp: bool,
    /// Port inside the container.
    pub port: u16,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, if self.udp { "udp" } else { "tcp" })
    }
}

/// Ports that are reachable from outside a network namespace: TCP that listens on more
/// than loopback, UDP that is bound to a port which is not for clients.
///
/// # Errors
/// If the namespace cannot be entered, or the kernel lists no sockets.
pub fn listening(netns: &Netns) -> Result<BTreeSet<Served>> {
    netns.run(|| {
        let clients = client_ports();
        let tcp = tcp::listeners()?.into_iter().map(|end| (false, end));
        let udp = sockets::bound_udp()?.into_iter().map(|end| (true, end));
        let outward = |ip: IpAddr| !ip.is_loopback();
        Ok(tcp
            .chain(udp)
            .filter(|(udp, (ip, port))| {
                outward(*ip) && *port != 0 && !(*udp && clients.contains(port))
            })
            .map(|(udp, (_, port))| Served { udp, port })
            .collect())
    })
}

/// Ports that the kernel gives to clients in the namespace of this thread (ip(7)).
fn client_ports() -> std::ops::RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text
        .split_ascii_whitespace()
        .filter_map(|end| end.parse().ok());
    ends.next().unwrap_or(32_768)..=ends.next().unwrap_or(60_999)
}

impl Container {
    /// Ports that the engine passes on, and to which ports of the host; those that it
    /// only knows of have none.
    pub fn published(&self) -> Vec<(Served, Vec<u16>)> {
        let mut found = Vec::new();
        let host = self.inspect.host_config.as_ref();
        let bound = host.and_then(|h| h.port_bindings.as_ref());
        let now = self.inspect.network_settings.as_ref();
        let now = now.and_then(|n| n.ports.as_ref());
        // What is in force now names the ports that were picked by the engine.
        for ports in [now, bound].into_iter().flatten() {
            for (text, bindings) in ports {
                let Some(served) = parse(text) else { continue };
                let mut numbers: Vec<u16> = bindings
                    .iter()
                    .flatten()
                    .filter_map(|b| b.host_port.as_ref()?.parse().ok())
                    .collect();
                numbers.sort_unstable();
                numbers.dedup();
                if bindings.is_some() && !found.iter().any(|(known, _)| *known == served) {
                    found.push((served, numbers));
                }
            }
        }
        found.sort();
        found
    }

    /// Which program connects to it from inside its network for clients on this host:
    /// pasta, with which rootless Podman gives it one (pasta(1), "Handling of local traffic").
    pub fn inner_proxy(&self) -> Option<&'static str> {
        let host = self.inspect.host_config.as_ref();
        let mode = host.and_then(|h| h.network_mode.as_deref())?;
        (mode == "pasta" || mode.starts_with("pasta:")).then_some("pasta")
    }

    /// Names by which it may know itself, that only the engine's resolver knows.
    pub fn aliases(&self) -> Vec<String> {
        let settings = self.inspect.network_settings.as_ref();
        let networks = settings.and_then(|s| s.networks.as_ref());
        let hostname = self
            .inspect
            .config
            .as_ref()
            .and_then(|c| c.hostname.clone());
        let mut names: Vec<String> = networks
            .into_iter()
            .flatten()
            // Docker's own network has no resolver.
            .filter(|(network, _)| network.as_str() != "bridge")
            .flat_map(|(_, endpoint)| endpoint.aliases.clone().unwrap_or_default())
            .chain([self.name.clone()])
            // Its host name is in its hosts file.
            .filter(|name| Some(name) != hostname.as_ref() && !self.id.starts_with(name.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Which of its aliases its health check asks for.
    pub fn health_check_names(&self) -> Vec<String> {
        let config = self.inspect.config.as_ref();
        let check = config.and_then(|c| c.healthcheck.as_ref());
        let words = check
            .and_then(|c| c.test.clone())
            .unwrap_or_default()
            .join(" ");
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let asked: BTreeSet<&str> = words.split(|c| !is_part(c)).collect();
        self.aliases()
            .into_iter()
            .filter(|name| asked.contains(name.as_str()))
            .collect()
    }
}

/// `80/tcp`, as engines write it.
fn parse(text: &str) -> Option<Served> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let udp = match protocol {
        "tcp" => false,
        "udp" => true,
        _ => return None,
    };
    Some(Served {
        udp,
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::docker::tests::container_of;

    #[test]
    fn reads_what_the_engine_publishes() {
        let container = container_of(
            r#"{"Id":"ab","Name":"/web","Config":{"Hostname":"h1","ExposedPorts":{"9/tcp":{}},
                "Healthcheck":{"Test":["CMD-SHELL","curl http://web.local:80/ || wget api"]}},
                "HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":""}],"53/udp":[{"HostPort":"5300"}]}},
                "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"::","HostPort":"18080"},{"HostIp":"0.0.0.0","HostPort":"18080"}],"9/tcp":null},
                "Networks":{"shop":{"Aliases":["web.local","h1","ab"]},"bridge":{"Aliases":["api"]}}}}"#,
        );
        let served = |udp, port| Served { udp, port };
        assert_eq!(
            container.published(),
            [
                (served(false, 80), vec![18080]),
                (served(true, 53), vec![5300])
            ]
        );
        assert_eq!(container.aliases(), ["web", "web.local"]);
        assert_eq!(container.health_check_names(), ["web.local"]);
    }

    #[test]
    fn finds_what_listens() {
        use std::net::{TcpListener, UdpSocket};
        let netns = Netns::own().unwrap();
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let hidden = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = |end: std::net::SocketAddr| end.port();
        let found = listening(&netns).unwrap();
        let has = |udp, port| found.contains(&Served { udp, port });
        assert!(has(false, port(tcp.local_addr().unwrap())));
        assert!(!has(false, port(hidden.local_addr().unwrap())));
        assert!(!has(true, port(client.local_addr().unwrap())));
    }
}
