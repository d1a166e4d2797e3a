//! The way to the engine: which socket, and whether what answers there is one that airgap can use.

use std::{env, fs, path::Path};

use anyhow::{Error, Result};
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker, errors::Error as DockerError};

use super::docker::Engine;
use crate::failure::Failure;

/// Where an engine is looked for unless one is named: the first that is there.
const DEFAULT_SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/podman/podman.sock"];
const TIMEOUT_SECONDS: u64 = 30;
/// The oldest API whose answers have all that is asked for: Docker 1.12.
const OLDEST: (usize, usize) = (1, 24);
const NAME_IT: &str = "name the engine's socket: --host unix:///path/to/socket";

impl Engine {
    /// Connects to `host` (`--host`), `$DOCKER_HOST`, Docker's usual socket, or Podman's if
    /// that one is not there.
    ///
    /// # Errors
    /// If it is no local socket, nobody answers, what answers is no engine or too old a one,
    /// or the engine runs on another kernel than airgap does.
    pub async fn connect(host: Option<&str>) -> Result<Self> {
        let host = Self::host_of(host);
        let socket = host.strip_prefix("unix://").filter(|p| p.starts_with('/')).ok_or_else(|| {
            Failure::new(
                format!("the container engine at '{host}' is not a local unix socket"),
                "a seal lives in this host's kernel: run airgap on the host of the containers, with unix:///path/to/socket",
            )
        })?;
        if !Path::new(socket).exists() {
            return Err(silent(socket).into());
        }
        let fails = |error| unanswered(socket, error);
        let docker = Docker::connect_with_unix(socket, TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .map_err(fails)?;
        let docker = docker.negotiate_version().await.map_err(fails)?;
        refuse_version(socket, docker.client_version())?;
        let mut engine = Self {
            docker,
            host: host.clone(),
            podman: false,
        };
        engine.refuse_other_kernel().await?;
        Ok(engine)
    }

    /// Which engine [`Self::connect`] would ask now.
    pub fn host_of(host: Option<&str>) -> String {
        let named = host
            .map(str::to_owned)
            .or_else(|| env::var("DOCKER_HOST").ok())
            .filter(|h| !h.is_empty());
        named.unwrap_or_else(|| {
            let socket = default_socket(|path| Path::new(path).exists());
            format!("unix://{socket}")
        })
    }

    /// Docker Desktop and the like answer here but run their containers in a VM.
    async fn refuse_other_kernel(&mut self) -> Result<()> {
        let says = |error| self.failed(error, "the container engine does not say where it runs");
        let version = self.docker.version().await.map_err(says)?;
        let components = version.components.iter().flatten();
        let podman = components.into_iter().any(|c| c.name.contains("Podman"));
        let theirs = match version.kernel_version {
            Some(kernel) if !kernel.is_empty() => Some(kernel),
            _ => self.docker.info().await.map_err(says)?.kernel_version,
        };
        self.podman = podman;
        let ours = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        match theirs {
            Some(theirs) if theirs != ours.trim() => Err(Failure::new(
                format!(
                    "the container engine runs on kernel {theirs}, airgap on {}",
                    ours.trim()
                ),
                "run airgap where the containers run",
            )
            .into()),
            _ => Ok(()),
        }
    }

    /// Why a question failed: `what` in words. An engine that is slow is not one that is wrong.
    pub(super) fn failed(&self, error: DockerError, what: impl Into<String>) -> Error {
        let what = what.into();
        match error {
            DockerError::RequestTimeoutError => Error::new(error).context(Failure::new(
                format!("{what}: it has not answered within {TIMEOUT_SECONDS} s"),
                BUSY,
            )),
            // It says why itself.
            error @ DockerError::DockerResponseServerError { .. } => {
                Error::new(error).context(what)
            }
            error => Error::new(error).context(Failure::new(what, BUSY)),
        }
    }
}

const BUSY: &str = "the engine may be busy or broken: try again, or see its log";

fn silent(socket: &str) -> Failure {
    Failure::new(
        format!("no container engine answers at {socket}"),
        "start it (systemctl start docker, or podman.socket), or name its socket: --host unix:///path/to/socket",
    )
}

/// Why the first question failed: there is nobody, it is slow, or it is something else that
/// listens there.
fn unanswered(socket: &str, error: DockerError) -> Error {
    let failure = match &error {
        DockerError::RequestTimeoutError => Failure::new(
            format!(
                "the container engine at {socket} runs, but has not answered within {TIMEOUT_SECONDS} s"
            ),
            BUSY,
        ),
        DockerError::DockerResponseServerError { .. }
        | DockerError::JsonDataError { .. }
        | DockerError::JsonSerdeError { .. }
        | DockerError::APIVersionParseError { .. } => strange(socket),
        DockerError::HyperLegacyError { err } if !err.is_connect() => strange(socket),
        _ => silent(socket),
    };
    Error::new(error).context(failure)
}

fn strange(socket: &str) -> Failure {
    Failure::new(
        format!("what answers at {socket} does not speak the API of Docker"),
        NAME_IT,
    )
}

/// The version both sides agreed upon. Pure.
fn refuse_version(socket: &str, agreed: ClientVersion) -> Result<(), Failure> {
    let (major, minor) = (agreed.major_version, agreed.minor_version);
    if (major, minor) >= OLDEST {
        return Ok(());
    }
    Err(Failure::new(
        format!(
            "the container engine at {socket} speaks the API {major}.{minor}, and airgap needs {}.{}",
            OLDEST.0, OLDEST.1
        ),
        "use Docker 1.12 or newer, or Podman",
    ))
}

/// Podman's is asked where Docker's is not there at all. Pure.
fn default_socket(is_there: impl Fn(&str) -> bool) -> &'static str {
    let found = DEFAULT_SOCKETS.into_iter().find(|path| is_there(path));
    found.unwrap_or(DEFAULT_SOCKETS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_is_asked_where_docker_is_not() {
        let [docker, podman] = DEFAULT_SOCKETS;
        for (there, asked) in [
            (vec![], docker),
            (vec![docker], docker),
            (vec![podman], podman),
            (vec![docker, podman], docker),
        ] {
            assert_eq!(
                default_socket(|path| there.contains(&path)),
                asked,
                "{there:?}"
            );
        }
    }

    #[test]
    fn too_old_an_api_is_refused() {
        for (major_version, minor_version, good) in [
            (1, 12, false),
            (1, 23, false),
            (1, 24, true),
            (1, 51, true),
            (2, 0, true),
        ] {
            let version = ClientVersion {
                major_version,
                minor_version,
            };
            assert_eq!(refuse_version("/x", version).is_ok(), good, "{version}");
        }
    }
}
