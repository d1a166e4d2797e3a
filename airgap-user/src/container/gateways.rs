//! What stands for others before a container, as its engine tells.

use bollard::{models::NetworkInspect, query_parameters::InspectNetworkOptions};

use super::{
    docker::Engine,
    gateway::{MESH, is_overlay, of_network, told},
    inspected::Container,
};

/// By which tasks on overlay networks reach the host, and by which it publishes their ports. The
/// engine does not name it among a container's networks.
const BRIDGE: &str = "docker_gwbridge";

impl Engine {
    /// Adds what stands for others before this container. What the engine does not answer counts
    /// as not known.
    pub(super) async fn add_gateways(&self, container: &mut Container) {
        container.gateways = told(&container.inspect);
        if !container.publishes() {
            return;
        }
        let mut bridged = false;
        for name in unanswered(container) {
            let Some(network) = self.network(&name).await else {
                continue;
            };
            bridged |= is_overlay(&network) && network.internal != Some(true);
            container.gateways.extend(of_network(&name, network));
        }
        if bridged && let Some(network) = self.network(BRIDGE).await {
            container.gateways.extend(of_network(BRIDGE, network));
        }
    }

    async fn network(&self, name: &str) -> Option<NetworkInspect> {
        let asked = self
            .docker
            .inspect_network(name, None::<InspectNetworkOptions>);
        asked.await.ok()
    }
}

/// Networks whose gateways its endpoints do not tell, or which have more than that.
fn unanswered(container: &Container) -> Vec<String> {
    let told = |name: &String| container.gateways.iter().any(|g| g.network == *name);
    let networks = container.networks().map(|(name, _)| name);
    networks
        .filter(|name| !told(name) || *name == MESH)
        .cloned()
        .collect()
}
