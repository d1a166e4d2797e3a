//! Addresses that clients have who came by way of somebody else: docker-proxy, Swarm's routing
//! mesh, or the load balancer of an overlay network.

use bollard::models::{ContainerInspectResponse, NetworkInspect};

use crate::policy::Cidr;

/// The network of Swarm's routing mesh, unless somebody has made another one.
pub(super) const MESH: &str = "ingress";

/// Addresses that stand for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Name of the network.
    pub network: String,
    /// The address, or all of a network of which it is not known which it is.
    pub addresses: Cidr,
    /// Who has them.
    pub by: By,
}

/// Who passes connections on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The network's router, for docker-proxy and for the host's own programs.
    Router,
    /// The routing mesh of any node.
    Mesh,
    /// The load balancer that each node has in an overlay network, for whoever of that network
    /// asks for a service by its name (libnetwork, `service_linux.go`).
    Balancer,
}

impl Gateway {
    /// Why a prefix of clients lets others in, if it does. One that holds every address means
    /// everybody, and one that holds all of an overlay network means all that are in it.
    pub fn admitted_by(&self, client: &Cidr) -> Option<String> {
        let (network, addresses) = (&self.network, &self.addresses);
        if client.len == 0 || !client.overlaps(addresses) {
            return None;
        }
        let published =
            format!("the network '{network}' passes on whoever reaches a published port");
        match self.by {
            By::Router if client == addresses => Some(format!(
                "{} is the address by which {published}",
                client.addr
            )),
            By::Router => Some(format!(
                "{client} holds {} by which {published}",
                addresses.addr
            )),
            By::Mesh => Some(format!(
                "{client} holds addresses of {addresses}, from which {published}"
            )),
            By::Balancer if client.len <= addresses.len => None,
            By::Balancer => Some(format!(
                "{client} is a part of {addresses}, where an address of each node stands for whoever of the network '{network}' asks for the service by its name"
            )),
        }
    }
}

/// Gateways as the container's own endpoints have them.
pub(super) fn told(inspect: &ContainerInspectResponse) -> Vec<Gateway> {
    let settings = inspect.network_settings.as_ref();
    let networks = settings.and_then(|s| s.networks.as_ref());
    let mut found = Vec::new();
    for (name, endpoint) in networks.into_iter().flatten() {
        for address in [&endpoint.gateway, &endpoint.ipv6_gateway] {
            if let Some(addresses) = address.as_ref().and_then(|text| text.parse().ok()) {
                found.push(Gateway {
                    network: name.clone(),
                    addresses,
                    by: By::Router,
                });
            }
        }
    }
    found
}

/// Whether it spans nodes.
pub(super) fn is_overlay(network: &NetworkInspect) -> bool {
    network.driver.as_deref() == Some("overlay")
}

/// What of a network stands for others. Pure.
pub(super) fn of_network(name: &str, network: NetworkInspect) -> Vec<Gateway> {
    let by = match network.ingress {
        Some(true) => By::Mesh,
        _ if is_overlay(&network) => By::Balancer,
        _ => By::Router,
    };
    let configured = network
        .ipam
        .and_then(|ipam| ipam.config)
        .unwrap_or_default();
    configured
        .into_iter()
        .filter_map(|one| {
            let subnet = || one.subnet.as_ref()?.parse::<Cidr>().ok();
            match one.gateway.as_ref().and_then(|text| text.parse().ok()) {
                _ if by != By::Router => subnet(),
                // Unless told otherwise, engines take the first address.
                None => subnet()?.first(),
                gateway => gateway,
            }
        })
        .map(|addresses| Gateway {
            network: name.to_owned(),
            addresses,
            by,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker 20.10 answers, cut short.
    fn network(driver: &str, ingress: bool) -> Vec<Gateway> {
        let json = format!(
            r#"{{"Name":"n","Driver":"{driver}","Ingress":{ingress},
            "IPAM":{{"Config":[{{"Subnet":"10.0.1.0/24","Gateway":"10.0.1.1"}}]}}}}"#
        );
        of_network("n", serde_json::from_str(&json).unwrap())
    }

    #[track_caller]
    fn admits(gateways: &[Gateway], client: &str) -> bool {
        let client = client.parse().unwrap();
        gateways.iter().any(|g| g.admitted_by(&client).is_some())
    }

    #[test]
    fn a_prefix_with_an_address_that_stands_for_others_is_told() {
        let (router, mesh, balancer) = (
            network("bridge", false),
            network("overlay", true),
            network("overlay", false),
        );
        for (client, by_router, by_mesh, by_balancer) in [
            ("10.0.1.1", true, true, true),
            ("10.0.1.7", false, true, true),
            ("10.0.1.0/25", true, true, true),
            ("10.0.1.0/24", true, true, false),
            ("10.0.0.0/8", true, true, false),
            ("0.0.0.0/0", false, false, false),
            ("10.0.2.0/24", false, false, false),
            ("2001:db8::/32", false, false, false),
        ] {
            assert_eq!(admits(&router, client), by_router, "router, {client}");
            assert_eq!(admits(&mesh, client), by_mesh, "mesh, {client}");
            assert_eq!(admits(&balancer, client), by_balancer, "balancer, {client}");
        }
    }
}
