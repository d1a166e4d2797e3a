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
    /// These are called so, and are not one service of the container's own Compose project.
    Several(Vec<String>),
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
            Self::Several(names) => format!(
                "several containers are called '{name}' on its networks, and which one is meant nobody says: {}; name that one",
                names.join(", ")
            ),
        }
    }
}

impl Engine {
    /// The neighbours of a container that a name stands for: the container of that name,
    /// or if there is none the one that is called so on a network that both share
    /// (`--network-alias`). Several count where they are one service of Compose, in the
    /// container's own project. A hostname is no name: whoever makes a container draws it.
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
        // Nobody else takes its place while it is stopped, or elsewhere.
        if let Some(named) = named {
            let runs = named.pid.is_some();
            return Ok(match shared(own, named, |_| true) {
                Some(neighbour) => Ok(vec![neighbour]),
                None if runs => Err(Absent::Apart),
                None => Err(Absent::Stopped),
            });
        }
        let mut found = Vec::new();
        for id in self.on_networks_of(own).await? {
            // One that the engine cannot tell of keeps no other from being found.
            let Some(other) = self.look_up(&id).await.ok().flatten() else {
                continue;
            };
            if other.id == id {
                found.extend(shared(own, other, |endpoint| is_called(endpoint, name)));
            }
        }
        Ok(meant(own, found))
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
    let aliases = endpoint.aliases.iter().flatten();
    aliases.into_iter().any(|own| own == name)
}

/// Project and service of a container that Compose made.
fn service(container: &Container) -> Option<(String, String)> {
    let labels = container.labels();
    let label = |name: &str| labels.get(&format!("com.docker.compose.{name}")).cloned();
    Some((label("project")?, label("service")?))
}

/// Which of those that are called so are meant. Pure.
fn meant(own: &Container, mut found: Vec<Neighbour>) -> Result<Vec<Neighbour>, Absent> {
    let project = service(own).map(|(project, _)| project);
    let of_project = |one: &Neighbour| {
        let other = service(&one.container).map(|(project, _)| project);
        project.is_some() && other == project
    };
    if found.iter().any(of_project) {
        found.retain(of_project);
        let mut services: Vec<_> = found
            .iter()
            .filter_map(|one| service(&one.container))
            .collect();
        services.dedup();
        if services.len() == 1 {
            return Ok(found);
        }
    }
    match found.len() {
        0 => Err(Absent::Unknown),
        1 => Ok(found),
        _ => {
            let mut names: Vec<_> = found.into_iter().map(|one| one.container.name).collect();
            names.sort_unstable();
            Err(Absent::Several(names))
        }
    }
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

    #[test]
    fn of_several_none_is_meant_but_one_service_of_the_own_project() {
        let made = |id: &str, labels: &str| {
            container_of(&format!(
                "{{\"Id\":\"{id}\",\"Name\":\"/{id}\",\"Config\":{{\"Labels\":{{{labels}}}}}}}"
            ))
        };
        let of = |project: &str, service: &str| {
            format!(
                "\"com.docker.compose.project\":\"{project}\",\"com.docker.compose.service\":\"{service}\""
            )
        };
        let web = made("web", &of("shop", "web"));
        let neighbour = |id: &str, labels: &str| Neighbour {
            container: made(id, labels),
            addresses: Vec::new(),
        };
        let ids = |found: Result<Vec<Neighbour>, Absent>| {
            found.map(|all| {
                all.into_iter()
                    .map(|one| one.container.id)
                    .collect::<Vec<_>>()
            })
        };
        let (own, twin) = (
            || neighbour("db1", &of("shop", "db")),
            || neighbour("db2", &of("shop", "db")),
        );
        let (other, plain) = (|| neighbour("x", &of("mail", "db")), || neighbour("y", ""));
        assert_eq!(ids(meant(&web, vec![])), Err(Absent::Unknown));
        assert_eq!(ids(meant(&web, vec![plain()])).unwrap(), ["y"]);
        assert_eq!(
            ids(meant(&web, vec![own(), twin(), other()])).unwrap(),
            ["db1", "db2"]
        );
        assert_eq!(ids(meant(&web, vec![plain(), own()])).unwrap(), ["db1"]);
        let several = Absent::Several(vec!["x".into(), "y".into()]);
        assert_eq!(ids(meant(&web, vec![plain(), other()])), Err(several));
        let cache = neighbour("c", &of("shop", "cache"));
        assert!(meant(&web, vec![own(), cache]).is_err());
        assert!(meant(&made("alone", ""), vec![own(), twin()]).is_err());
    }
}
