//! Pods of Podman: containers that share one network. A pod is sealed as one, by its id and by
//! the cgroup that Podman makes for it, with all of its containers below.
//!
//! Docker's API knows nothing of them; Podman's own does (libpod, from version 4).

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use super::{Container, Engine};
use crate::failure::Failure;

/// What stands before a pod's name: no container can have it in its own.
pub(super) const PREFIX: &str = "pod:";
/// Part of the name of the slice that Podman has systemd make for a pod,
const SLICE: &str = "libpod_pod_";
/// and where it makes the cgroup itself, what that is in, as a container's is.
const PARENT: &str = "libpod_parent/";
/// The slice of users' own engines, below which a path is not said from the root on.
const USERS: &str = "user.slice/";
/// An answer has to be here by then.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read: a pod of hundreds of containers.
const ANSWER: usize = 4 << 20;
/// Its header with the version that has to be in each question's path.
const VERSION: &str = "libpod-api-version";

/// What makes a container a pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its cgroup below the root, with a leading slash; `None`: not known before it runs.
    pub path: Option<String>,
    /// Its containers, but for the one that holds its network.
    pub members: Vec<Container>,
}

impl Pod {
    /// Whether a namespace that a container joins is the pod's own.
    pub(crate) fn has(&self, infra: &Container, mode: &str) -> bool {
        let own = |id: &str| infra_id(infra) == Some(id) || self.members.iter().any(|m| m.id == id);
        mode.strip_prefix("container:").is_some_and(own)
    }

    /// Why a container of it is not where the seal is, in words: its cgroup is elsewhere, or
    /// its network is.
    pub(crate) fn strays(&self, infra: &Container, member: &Container) -> Option<String> {
        let host = member.inspect.host_config.as_ref();
        let parent = host.and_then(|h| h.cgroup_parent.as_deref());
        let network = host.and_then(|h| h.network_mode.as_deref());
        match (parent, network) {
            (Some(parent), _) if !parent.contains(&infra.id) => {
                Some(format!("its cgroup is in {parent}, and not in the pod's"))
            }
            (None, _) => Some("where its cgroup is, is not said".into()),
            (_, Some(mode)) if self.has(infra, mode) => None,
            (_, mode) => Some(format!(
                "its network is not the pod's ({})",
                mode.unwrap_or("not said")
            )),
        }
    }
}

fn infra_id(pod: &Container) -> Option<&str> {
    pod.inspect.id.as_deref()
}

/// As Podman describes one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    id: String,
    name: String,
    #[serde(default)]
    cgroup_path: String,
    #[serde(default, rename = "InfraContainerID")]
    infra: String,
    #[serde(default)]
    containers: Vec<Member>,
    #[serde(default)]
    shared_namespaces: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    id: String,
}

/// One of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    name: String,
    #[serde(default)]
    status: String,
}

/// The id of the pod whose cgroup has such a name. Pure.
pub(super) fn pod_id(name: &str) -> Option<&str> {
    let at = name.find(SLICE)? + SLICE.len();
    let (before, rest) = name.split_at(at);
    let id = rest.strip_suffix(".slice")?;
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let whole = id.len() == airgap_common::map::ID_LEN && id.bytes().all(digit);
    // A slice's name begins with that of the slice it is in.
    (whole && before.ends_with(&format!("-{SLICE}"))).then_some(id)
}

/// Whether a path, or a text with one, leads through a pod's cgroup. Pure.
pub fn through_pod(text: &str) -> bool {
    let hex = |rest: &str| {
        let id = rest.as_bytes().get(..airgap_common::map::ID_LEN);
        id.is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit))
    };
    text.contains(SLICE) || text.split(PARENT).skip(1).any(hex)
}

/// Where a pod's cgroup is, as Podman says it; `None`: it is a user's own Podman, which says it
/// from somewhere else on. Pure.
fn path_of(said: &str) -> Option<String> {
    let said = said.trim_matches('/');
    let parts = |part: &str| !matches!(part, "" | "." | "..");
    let sound = said.split('/').all(parts) && !said.starts_with(USERS);
    sound.then(|| format!("/{said}"))
}

impl Engine {
    /// The pod that a name, with or without `pod:`, or an id stands for.
    ///
    /// # Errors
    /// If Podman does not say, or the pod's containers have no network in common.
    pub(super) async fn pod(&self, reference: &str) -> Result<Option<Container>> {
        let name = reference.strip_prefix(PREFIX).unwrap_or(reference);
        // Anything else is no name, and would be another question.
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !self.podman || name.is_empty() || !name.chars().all(is_name) {
            return Ok(None);
        }
        match self
            .libpod::<Described>(&format!("pods/{name}/json"))
            .await?
        {
            Some(described) => self.pod_as_container(described).await.map(Some),
            None => Ok(None),
        }
    }

    /// Id, name and whether it runs, of every pod; empty where the engine knows no pods.
    pub(super) async fn pods(&self) -> Result<Vec<(String, String, bool)>> {
        if !self.podman {
            return Ok(Vec::new());
        }
        let all: Option<Vec<Listed>> = self.libpod("pods/json").await?;
        let all = all.into_iter().flatten();
        Ok(all
            .map(|pod| {
                let running = matches!(pod.status.as_str(), "Running" | "Degraded");
                (pod.id, format!("{PREFIX}{}", pod.name), running)
            })
            .collect())
    }

    /// The container that holds the pod's network stands for all: its ports, its addresses.
    async fn pod_as_container(&self, described: Described) -> Result<Container> {
        let shared = described.shared_namespaces.iter().any(|name| name == "net");
        if described.infra.is_empty() || !shared {
            return Err(Failure::new(
                format!(
                    "the containers of the pod '{}' share no network",
                    described.name
                ),
                "attach to each of its containers",
            )
            .into());
        }
        let mut pod = self.inspected(&described.infra).await?;
        let mut members = Vec::new();
        for member in described.containers {
            if member.id != described.infra {
                members.push(self.inspected(&member.id).await?);
            }
        }
        pod.id = described.id;
        pod.name = format!("{PREFIX}{}", described.name);
        pod.pod = Some(Pod {
            path: path_of(&described.cgroup_path),
            members,
        });
        Ok(pod)
    }

    /// The answer to a question of Podman's own API; `None`: there is no such thing.
    async fn libpod<T: DeserializeOwned>(&self, question: &str) -> Result<Option<T>> {
        let what = || format!("Podman at {} does not say what its pods are", self.host);
        let asked = async {
            let (_, version, _) = self.get("/_ping").await?;
            let version = version.context("it has no API of Podman's own")?;
            let (status, _, body) = self.get(&format!("/v{version}/libpod/{question}")).await?;
            match status {
                StatusCode::OK => Ok(Some(serde_json::from_slice(&body)?)),
                StatusCode::NOT_FOUND => Ok(None),
                status => bail!("it answers {status}"),
            }
        };
        match timeout(PATIENCE, asked).await {
            Ok(done) => done.with_context(what),
            Err(late) => Err(anyhow::Error::new(late)).with_context(what),
        }
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Option<String>, Bytes)> {
        let socket = self.host.trim_start_matches("unix://");
        let stream = UnixStream::connect(socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, "podman")
            .body(Empty::<Bytes>::new())?;
        let answered = async {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("its answer breaks off: {error}"))?;
            let version = head.headers.get(VERSION).and_then(|v| v.to_str().ok());
            let sound = |v: &&str| v.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let version = version.filter(sound).map(str::to_owned);
            Ok((head.status, version, body.to_bytes()))
        };
        let answered = answered.await;
        connection.abort();
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::{Described, path_of, pod_id, through_pod};

    #[test]
    fn tells_the_slice_of_a_pod() {
        let id = "0123456789abcdef".repeat(4);
        for (name, is_one) in [
            ("machine-libpod_pod_ID.slice", true),
            ("user-libpod_pod_ID.slice", true),
            ("a-b-libpod_pod_ID.slice", true),
            ("libpod_pod_ID.slice", false),
            ("machine-libpod_pod_ID.scope", false),
            ("machine-libpod_pod_xID.slice", false),
            ("machine-libpod_pod_ID-x.slice", false),
            ("libpod-ID.scope", false),
            ("ID", false),
        ] {
            let name = name.replace("ID", &id);
            assert_eq!(pod_id(&name), is_one.then_some(id.as_str()), "{name}");
        }
    }

    #[test]
    fn tells_a_pod_s_cgroup_from_a_container_s() {
        let id = "0123456789abcdef".repeat(4);
        for (text, is_one) in [
            ("machine-libpod_pod_ID.slice", true),
            ("'x' of the cgroup /libpod_parent/ID/libpod-ID joins", true),
            ("it joins container:ID in /libpod_parent/ID", true),
            ("/libpod_parent/libpod-ID", false),
            ("/libpod_parent/conmon", false),
        ] {
            assert_eq!(through_pod(&text.replace("ID", &id)), is_one, "{text}");
        }
    }

    #[test]
    fn takes_the_path_only_if_it_is_from_the_root() {
        for (said, path) in [
            ("/libpod_parent/x", Some("/libpod_parent/x")),
            ("machine.slice/y.slice", Some("/machine.slice/y.slice")),
            ("user.slice/user-libpod_pod_x.slice", None),
            ("a/../b", None),
            ("", None),
        ] {
            assert_eq!(path_of(said).as_deref(), path, "{said}");
        }
    }

    #[test]
    fn reads_what_podman_answers() {
        let described: Described = serde_json::from_str(
            r#"{"Id":"ab","Name":"shop","CgroupPath":"/libpod_parent/ab","InfraContainerID":"cd",
                "Containers":[{"Id":"cd","Name":"ab-infra","State":"running"},{"Id":"ef"}]}"#,
        )
        .unwrap();
        assert_eq!(
            (described.infra.as_str(), described.containers.len()),
            ("cd", 2)
        );
        let bare: Described = serde_json::from_str(r#"{"Id":"ab","Name":"shop"}"#).unwrap();
        assert!(bare.infra.is_empty() && bare.containers.is_empty());
    }
}
