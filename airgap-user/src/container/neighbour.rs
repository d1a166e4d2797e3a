//! Neighbours of a container: who has a name on a network that both are in.

use std::{collections::HashMap, net::IpAddr};

use anyhow::Result;
use bollard::{models::EndpointSettings, query_parameters::ListContainersOptionsBuilder};

use super::{Container, Engine};

/// A running container, and its addresses on the networks that it shares with another.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// It.
    pub container: Container,
    /// Of both families, in order, each once.
    pub addresses: Vec<IpAddr>,
}

/// Why there is no neighbour of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// No container has the name, nor is one called so on a shared network.
    Unknown,
    /// The container of the name does not run.
    Stopped,
    /// The container of the name is in no network that both share.
    Apart,
    /// It is the container itself.
    Itself,
}

impl Absent {
    /// In words, of the neighbour's name.
    pub fn told(&self, name: &str) -> String {
        match self {
            Self::Unknown => format!(
                "there is no container '{name}', and none is called so on a network of this one's"
            ),
            Self::Stopped => format!("the container '{name}' does not run"),
            Self::Apart => format!("it shares no network with the container '{name}'"),
            Self::Itself => format!("'{name}' is the container itself"),
        }
    }
}

impl Engine {
    /// The neighbours of a container that a name stands for: the container of that name,
    /// or else all that are called so on a network that both share (`--network-alias`; the
    /// services of Compose).
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn neighbours_called(
        &self,
        own: &Container,
        name: &str,
    ) -> Result<Result<Vec<Neighbour>, Absent>> {
        let named = self.look_up(name).await?.filter(|found| found.name == name);
        if named.as_ref().is_some_and(|found| found.id == own.id) {
            return Ok(Err(Absent::Itself));
        }
        if let Some(neighbour) = named.clone().and_then(|found| shared(own, found, |_| true)) {
            return Ok(Ok(vec![neighbour]));
        }
        let mut found = Vec::new();
        for id in self.on_networks_of(own).await? {
            let Some(other) = self.look_up(&id).await?.filter(|other| other.id == id) else {
                continue;
            };
            found.extend(shared(own, other, |endpoint| is_called(endpoint, name)));
        }
        if !found.is_empty() {
            return Ok(Ok(found));
        }
        Ok(Err(match named {
            None => Absent::Unknown,
            Some(named) if named.pid.is_none() => Absent::Stopped,
            Some(_) => Absent::Apart,
        }))
    }

    /// Ids of the running containers that are in a network of this one's, without itself.
    async fn on_networks_of(&self, own: &Container) -> Result<Vec<String>> {
        let options = ListContainersOptionsBuilder::new().build();
        let all = self.docker.list_containers(Some(options)).await;
        let all = all.map_err(|error| {
            self.failed(error, "the container engine does not list its containers")
        })?;
        let shares = |networks: &HashMap<String, EndpointSettings>| {
            let mut networks = networks.iter();
            networks.any(|(name, endpoint)| is_in(own, name, endpoint))
        };
        let near = all.into_iter().filter(|one| {
            let settings = one.network_settings.as_ref();
            settings
                .and_then(|s| s.networks.as_ref())
                .is_some_and(shares)
        });
        Ok(near
            .filter_map(|one| one.id)
            .filter(|id| *id != own.id)
            .collect())
    }
}

/// Whether a container is in the network of this endpoint.
fn is_in(own: &Container, name: &str, endpoint: &EndpointSettings) -> bool {
    let id = |endpoint: &EndpointSettings| endpoint.network_id.clone().filter(|id| !id.is_empty());
    own.networks()
        .any(|(known, mine)| match (id(mine), id(endpoint)) {
            (Some(mine), Some(other)) => mine == other,
            // One that does not run may not have been told yet.
            _ => known == name,
        })
}

fn is_called(endpoint: &EndpointSettings, name: &str) -> bool {
    let lists = [&endpoint.aliases, &endpoint.dns_names];
    lists.into_iter().flatten().flatten().any(|own| own == name)
}

/// The other with its addresses on networks that both share, of those that `counts`; `None`
/// if it has none. Pure.
fn shared(
    own: &Container,
    other: Container,
    counts: impl Fn(&EndpointSettings) -> bool,
) -> Option<Neighbour> {
    other.pid?;
    let mut addresses: Vec<IpAddr> = other
        .networks()
        .filter(|(name, endpoint)| is_in(own, name, endpoint) && counts(endpoint))
        .flat_map(|(_, endpoint)| [&endpoint.ip_address, &endpoint.global_ipv6_address])
        .filter_map(|text| text.as_ref()?.parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    (!addresses.is_empty()).then_some(Neighbour {
        container: other,
        addresses,
    })
}

#[cfg(test)]
mod tests {
    use super::super::docker::tests::container_of;
    use super::*;

    fn one(id: &str, pid: u32, networks: &str) -> Container {
        container_of(&format!(
            "{{\"Id\":\"{id}\",\"Name\":\"/{id}\",\"State\":{{\"Running\":{},\"Pid\":{pid}}},\
             \"NetworkSettings\":{{\"Networks\":{{{networks}}}}}}}",
            pid != 0
        ))
    }

    const OWN: &str = r#""app":{"NetworkID":"a1","IPAddress":"198.51.100.2"},
        "front":{"NetworkID":"f1","IPAddress":"198.51.100.66"}"#;

    #[test]
    fn addresses_on_shared_networks_count_and_no_others() {
        let own = one("web", 7, OWN);
        let db = r#""app":{"NetworkID":"a1","IPAddress":"198.51.100.3","GlobalIPv6Address":"2001:db8::3","Aliases":["db"]},
            "back":{"NetworkID":"b1","IPAddress":"198.51.100.99","Aliases":["db"]}"#;
        let found = shared(&own, one("x", 8, db), |_| true).unwrap();
        let texts: Vec<_> = found.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["198.51.100.3", "2001:db8::3"]);
        assert!(shared(&own, one("x", 8, db), |e| is_called(e, "db")).is_some());
        assert!(shared(&own, one("x", 8, db), |e| is_called(e, "d")).is_none());
        // Stopped, or elsewhere: also in a network of the same name that is another.
        assert!(shared(&own, one("x", 0, db), |_| true).is_none());
        let apart = r#""app":{"NetworkID":"a2","IPAddress":"198.51.100.3"}"#;
        assert!(shared(&own, one("x", 8, apart), |_| true).is_none());
        // An endpoint without an address is none.
        let bare = r#""app":{"NetworkID":"a1","IPAddress":""}"#;
        assert!(shared(&own, one("x", 8, bare), |_| true).is_none());
        // A container that does not run has no ids of networks.
        let own = one("web", 0, r#""app":{"NetworkID":""}"#);
        assert!(shared(&own, one("x", 8, db), |_| true).is_some());
    }
}
