//! The Docker API, by bollard. Podman's compatible socket answers the same.

use std::{collections::HashMap, fs, net::IpAddr};

use anyhow::{Error, Result};
use bollard::{
    Docker,
    errors::Error as DockerError,
    query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder},
};

use super::inspected::{Container, Labels, container, is_usual_runtime};
use super::pod;
use crate::failure::{Failure, exit};

/// A connection to the local container engine.
pub struct Engine {
    pub(super) docker: Docker,
    pub(super) host: String,
    pub(super) podman: bool,
}

impl Engine {
    /// Whether it is Podman.
    pub fn is_podman(&self) -> bool {
        self.podman
    }

    /// Its socket, as `unix:///path`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether a record names a socket, as `unix:///path`, and it is another
    /// engine's: of that one's containers this one knows nothing.
    pub fn is_other(&self, recorded: &str) -> bool {
        is_other(&self.host, recorded)
    }

    /// Whether the engine has a container of this id.
    ///
    /// # Errors
    /// If it says neither.
    pub async fn has(&self, id: &str) -> Result<bool> {
        match self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
        {
            Ok(_) => Ok(true),
            Err(DockerError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(self.pod(id).await?.is_some()),
            Err(error) => Err(self.failed(error, format!("cannot inspect the container {id}"))),
        }
    }

    /// The container that a name, id or prefix of an id stands for; `None`: the
    /// engine knows none, or more than one.
    ///
    /// # Errors
    /// If it says neither.
    pub async fn look_up(&self, reference: &str) -> Result<Option<Container>> {
        if reference.starts_with(pod::PREFIX) {
            return self.pod(reference).await;
        }
        // Anything else is no name, and would be another question.
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let begins_well = reference.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins_well || !reference.chars().all(is_name) {
            return Ok(None);
        }
        match self
            .docker
            .inspect_container(reference, None::<InspectContainerOptions>)
            .await
        {
            Ok(inspect) => self.described(container(inspect)?).await.map(Some),
            Err(DockerError::DockerResponseServerError {
                status_code: 400 | 404,
                ..
            }) => self.pod(reference).await,
            Err(DockerError::DockerResponseServerError { message, .. })
                if means_several(&message) =>
            {
                Ok(None)
            }
            Err(error) => {
                Err(self.failed(error, format!("cannot inspect the container '{reference}'")))
            }
        }
    }

    /// Finds a container by name, id or unique prefix of an id.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub async fn find(&self, reference: &str) -> Result<Container> {
        if reference.starts_with(pod::PREFIX) {
            return match self.pod(reference).await? {
                Some(pod) => Ok(pod),
                None => Err(self.not_found(reference).await),
            };
        }
        match self
            .docker
            .inspect_container(reference, None::<InspectContainerOptions>)
            .await
        {
            Ok(inspect) => self.described(container(inspect)?).await,
            Err(DockerError::DockerResponseServerError {
                status_code: 400 | 404,
                ..
            }) => match self.pod(reference).await? {
                Some(pod) => Ok(pod),
                None => Err(self.not_found(reference).await),
            },
            Err(DockerError::DockerResponseServerError { message, .. })
                if means_several(&message) =>
            {
                Err(self.not_found(reference).await)
            }
            Err(error) => {
                Err(self.failed(error, format!("cannot inspect the container '{reference}'")))
            }
        }
    }

    /// A container of a pod, by its id.
    pub(super) async fn inspected(&self, id: &str) -> Result<Container> {
        let asked = self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await;
        let failed = |error| self.failed(error, format!("cannot inspect the container {id}"));
        self.described(container(asked.map_err(failed)?)?).await
    }

    /// Names of its running containers by their addresses; empty if it does not say.
    pub async fn neighbours(&self) -> HashMap<IpAddr, String> {
        let options = ListContainersOptionsBuilder::new().build();
        let all = self.docker.list_containers(Some(options)).await;
        let mut found = HashMap::new();
        for one in all.unwrap_or_default() {
            let name = one.names.into_iter().flatten().next().unwrap_or_default();
            let networks = one
                .network_settings
                .and_then(|s| s.networks)
                .unwrap_or_default();
            for endpoint in networks.into_values() {
                for address in [endpoint.ip_address, endpoint.global_ipv6_address] {
                    if let Some(ip) = address.and_then(|text| text.parse().ok()) {
                        found.insert(ip, name.trim_start_matches('/').to_owned());
                    }
                }
            }
        }
        found
    }

    /// Adds what the engine knows beside the container itself. What it does not answer
    /// counts as not known.
    async fn described(&self, mut container: Container) -> Result<Container> {
        container.podman = self.podman;
        let host = container.inspect.host_config.as_ref();
        let runtime = host.and_then(|h| h.runtime.clone()).unwrap_or_default();
        if !is_usual_runtime(&runtime) {
            let info = self.docker.info().await.ok();
            let runtimes = info.and_then(|info| info.runtimes).unwrap_or_default();
            container.runtime_binary = runtimes.get(&runtime).and_then(|r| r.path.clone());
        }
        self.add_gateways(&mut container).await;
        Ok(container)
    }

    /// Labels of the image that a container was made of; `None`: the engine
    /// does not tell, as the image is gone for example.
    pub async fn image_labels(&self, container: &Container) -> Option<Labels> {
        // The id, never the name: that may stand for another image by now.
        let id = container
            .inspect
            .image
            .as_deref()
            .filter(|id| !id.is_empty())?;
        match self.docker.inspect_image(id).await {
            Ok(image) => Some(image.config.and_then(|c| c.labels).unwrap_or_default()),
            Err(error) => {
                log::debug!(
                    "the image of {} cannot be inspected: {error}",
                    container.name
                );
                None
            }
        }
    }

    async fn not_found(&self, reference: &str) -> Error {
        let all = self.list().await.unwrap_or_default();
        let matching: Vec<_> = all
            .iter()
            .filter(|(id, _, _)| !reference.is_empty() && id.starts_with(reference))
            .map(|(id, name, _)| format!("{name} ({})", &id[..12.min(id.len())]))
            .collect();
        if matching.len() > 1 {
            return Failure::new(
                format!(
                    "'{reference}' is the beginning of {} container ids",
                    matching.len()
                ),
                format!("which one: {}", matching.join(", ")),
            )
            .into();
        }
        let running: Vec<_> = all.iter().filter(|c| c.2).map(|c| c.1.as_str()).collect();
        let hint = if running.is_empty() {
            "no container is running (docker ps -a lists the others)".to_owned()
        } else {
            format!("running containers: {}", running.join(", "))
        };
        Failure::new(format!("there is no container '{reference}'"), hint)
            .with_code(exit::FAILED)
            .into()
    }

    /// Id, name and whether it runs, of every container, and of every pod.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn list(&self) -> Result<Vec<(String, String, bool)>> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let all = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(|error| {
                self.failed(error, "the container engine does not list its containers")
            })?;
        let containers = all.into_iter().map(|c| {
            let name = c
                .names
                .unwrap_or_default()
                .into_iter()
                .next()
                .unwrap_or_default();
            let running = c.state.is_some_and(|s| s.to_string() == "running");
            (
                c.id.unwrap_or_default(),
                name.trim_start_matches('/').to_owned(),
                running,
            )
        });
        let mut listed: Vec<_> = containers.collect();
        listed.extend(self.pods().await?);
        Ok(listed)
    }
}

/// Docker says "Multiple IDs found with provided prefix", Podman "more than one
/// result", both as an error of the server's own.
fn means_several(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("multiple") || message.contains("more than one")
}

/// Whether `recorded` names a socket, as `unix:///path`, and it is another than `host`.
pub(super) fn is_other(host: &str, recorded: &str) -> bool {
    // /var/run is a link to /run.
    let socket = |host: &str| fs::canonicalize(host.strip_prefix("unix://")?).ok();
    recorded.starts_with("unix://")
        && recorded != host
        && socket(recorded).is_none_or(|path| socket(host) != Some(path))
}

#[cfg(test)]
pub(super) mod tests {
    use super::{container, is_other};
    use crate::preflight::{Facts, judge};
    use std::{fs, os::unix::fs::symlink};

    const ANSWER: &str = r#"{"Id":"5ea15ea15ea15ea15ea15ea15ea15ea15ea15ea15ea15ea15ea15ea15ea15ea1",
        "Name":"/web","State":{"Running":true,"Pid":4242},
        "HostConfig":{"NetworkMode":"bridge","Privileged":false,"PidMode":"","CapAdd":["NET_ADMIN"],
        "CapDrop":["ALL"],"SecurityOpt":["seccomp=unconfined"],"CgroupParent":"a-b.slice",
        "LogConfig":{"Type":"gelf"},"Runtime":"runc","Devices":[{"PathOnHost":"/dev/kvm"}]},
        "Mounts":[{"Source":"/run","Destination":"/x","RW":false}]}"#;

    /// A container as an engine would describe it.
    pub(in crate::container) fn container_of(json: &str) -> super::Container {
        container(serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn one_socket_by_two_paths_is_one_engine() {
        let dir = std::env::temp_dir().join(format!("airgap-engines-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("a"), "").unwrap();
        symlink("a", dir.join("b")).unwrap();
        fs::write(dir.join("c"), "").unwrap();
        let host = |name: &str| format!("unix://{}", dir.join(name).display());
        for (recorded, other) in [
            (host("a"), false),
            (host("b"), false),
            (host("c"), true),
            (host("gone"), true),
            ("not known".to_owned(), false),
        ] {
            assert_eq!(is_other(&host("a"), &recorded), other, "{recorded}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    /// What an engine answers is judged or refused, whatever it is.
    #[test]
    fn any_answer_of_an_engine_is_survived() {
        let mut state = 0x5eed_u64;
        let mut below = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % n
        };
        let mut understood = 0;
        for _ in 0..20_000 {
            let mut bytes = ANSWER.as_bytes().to_vec();
            for _ in 0..below(4) {
                let at = below(bytes.len());
                match below(3) {
                    0 => bytes[at] = b"\"{}[],:0-/\\ax\xff"[below(14)],
                    1 => drop(bytes.drain(at..(at + below(40)).min(bytes.len()))),
                    _ => bytes.splice(at..at, "a-\u{202e}../".bytes()).for_each(drop),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            let Ok(inspect) = serde_json::from_slice(&bytes) else {
                continue;
            };
            let Ok(mut found) = container(inspect) else {
                continue;
            };
            understood += 1;
            let _ = found.key();
            // The process of that number is not the test's to look at.
            found.pid = None;
            let _ = judge(&Facts::of_engine(&found));
        }
        assert!(understood > 5_000, "{understood}");
    }
}
