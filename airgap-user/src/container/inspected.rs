//! A container as its engine describes it.

use std::collections::HashMap;

use airgap_common::map::ID_LEN;
use anyhow::{Context as _, Result};
use bollard::models::{ContainerInspectResponse, EndpointSettings, NetworkSettings};

use super::{
    Pod,
    gateway::{Gateway, MESH},
};
use crate::{failure::Failure, policy::Cidr};

/// Labels by name.
pub type Labels = HashMap<String, String>;

/// A container as the engine describes it.
#[derive(Clone, Debug)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// Init process in the engine's pid namespace; `None` unless running.
    pub pid: Option<u32>,
    /// The whole answer, for preflight.
    pub inspect: ContainerInspectResponse,
    /// The engine is Podman, which grants less by default.
    pub podman: bool,
    /// The binary that its runtime's name stands for, by the engine's word; asked for
    /// names that are not usual.
    pub runtime_binary: Option<String>,
    /// Gateways of its networks, and with a routing mesh the network of that.
    pub gateways: Vec<Gateway>,
    /// It is a pod of Podman's: id and name are the pod's, all else is of the container that
    /// holds its network.
    pub pod: Option<Pod>,
}

impl Container {
    /// One that its runtime is about to start, before its engine can be asked: id, and first
    /// process here (0: none).
    pub fn beginning(id: &str, pid: u32) -> Self {
        let sandbox = NetworkSettings {
            sandbox_key: Some(format!("/proc/{pid}/ns/net")),
            ..NetworkSettings::default()
        };
        let inspect = ContainerInspectResponse {
            network_settings: Some(sandbox),
            ..ContainerInspectResponse::default()
        };
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            pid: Some(pid).filter(|pid| *pid != 0),
            inspect,
            podman: false,
            runtime_binary: None,
            gateways: Vec::new(),
            pod: None,
        }
    }

    /// Its labels, those of its image among them.
    pub fn labels(&self) -> Labels {
        let config = self.inspect.config.as_ref();
        config.and_then(|c| c.labels.clone()).unwrap_or_default()
    }

    /// Its annotations, as far as its engine tells them.
    pub fn annotations(&self) -> Option<&Labels> {
        self.inspect.host_config.as_ref()?.annotations.as_ref()
    }

    /// The id as the maps take it.
    ///
    /// # Errors
    /// If the engine gave anything but 64 hex digits.
    pub fn key(&self) -> Result<[u8; ID_LEN]> {
        let hex = self
            .id
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        <[u8; ID_LEN]>::try_from(self.id.as_bytes())
            .ok()
            .filter(|_| hex)
            .ok_or_else(|| {
                Failure::new(
                    format!(
                        "the engine gave '{}' for a container id, which is not 64 hex digits",
                        self.id
                    ),
                    "airgap supports Docker and Podman",
                )
                .into()
            })
    }
}

impl Container {
    /// Whether the engine passes connections to ports of the host on to it.
    pub fn publishes(&self) -> bool {
        let host = self.inspect.host_config.as_ref();
        let bound = host.and_then(|h| h.port_bindings.as_ref());
        host.is_some_and(|h| h.publish_all_ports == Some(true))
            || bound.is_some_and(|ports| !ports.is_empty())
            || self.networks().any(|(name, _)| name == MESH)
            || self.is_task()
    }

    /// Whether it is a task of a service of Swarm's, which the engine never starts again.
    pub fn is_task(&self) -> bool {
        let labels = self.inspect.config.as_ref().and_then(|c| c.labels.as_ref());
        labels.is_some_and(|labels| labels.contains_key("com.docker.swarm.task.id"))
    }

    /// Why the container ends for good when it stops, if it does: what comes after it is
    /// another container.
    pub fn ends_with_its_stop(&self) -> Option<&'static str> {
        let host = self.inspect.host_config.as_ref();
        let labels = self.inspect.config.as_ref().and_then(|c| c.labels.as_ref());
        if labels.is_some_and(|labels| labels.contains_key("PODMAN_SYSTEMD_UNIT")) {
            return Some("its unit of systemd makes a new container at each start");
        }
        if self.is_task() {
            return Some(
                "it is a task of a Swarm service, each of which is another container (docker service update --container-label-add)",
            );
        }
        (host.is_some_and(|h| h.auto_remove == Some(true)))
            .then_some("it was started with --rm and is removed when it stops")
    }

    /// Whether the engine gave it a network with interfaces beside lo.
    pub fn has_network(&self) -> bool {
        let host = self.inspect.host_config.as_ref();
        let mode = host.and_then(|h| h.network_mode.as_deref());
        mode != Some("none") && self.networks().any(|(name, _)| name != "none")
    }

    /// Its networks, by name, with the prefix of its address in each, while it runs.
    pub fn prefixes(&self) -> Vec<(String, Cidr)> {
        let mut found = Vec::new();
        for (name, endpoint) in self.networks() {
            let v4 = (&endpoint.ip_address, endpoint.ip_prefix_len);
            let v6 = (
                &endpoint.global_ipv6_address,
                endpoint.global_ipv6_prefix_len,
            );
            for (addr, len) in [v4, v6] {
                let addr = addr.as_ref().and_then(|text| text.parse().ok());
                let len = len.and_then(|len| u8::try_from(len).ok());
                if let (Some(addr), Some(len)) = (addr, len) {
                    found.extend(Cidr::around(addr, len).map(|net| (name.clone(), net)));
                }
            }
        }
        found
    }

    pub(super) fn networks(&self) -> impl Iterator<Item = (&String, &EndpointSettings)> {
        let settings = self.inspect.network_settings.as_ref();
        settings
            .and_then(|s| s.networks.as_ref())
            .into_iter()
            .flatten()
    }
}

/// Whether a runtime's name needs no second look: engines use these for runc and crun.
pub fn is_usual_runtime(name: &str) -> bool {
    matches!(name, "" | "runc" | "crun" | "io.containerd.runc.v2" | "oci")
}

pub(super) fn container(inspect: ContainerInspectResponse) -> Result<Container> {
    let id = inspect.id.clone().context(Failure::new(
        "the engine described a container without an id",
        "see which engine answers: airgap doctor; another one is named by --host",
    ))?;
    let name = inspect
        .name
        .clone()
        .unwrap_or_default()
        .trim_start_matches('/')
        .to_owned();
    let pid = inspect
        .state
        .as_ref()
        .filter(|s| s.running == Some(true))
        .and_then(|s| s.pid)
        .and_then(|pid| u32::try_from(pid).ok())
        .filter(|pid| *pid != 0);
    Ok(Container {
        id,
        name,
        pid,
        inspect,
        podman: false,
        runtime_binary: None,
        gateways: Vec::new(),
        pod: None,
    })
}
