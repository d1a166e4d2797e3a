//! The way to the engine: which socket, and whether what answers there is one that airgap can use.

use std::{fs, path::Path};

use anyhow::{Error, Result};
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker, errors::Error as DockerError};

use super::docker::{Engine, is_other};
use crate::failure::Failure;

/// Where engines are looked for unless some are named.
const DEFAULT_SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/podman/podman.sock"];
const TIMEOUT_SECONDS: u64 = 30;
/// The oldest API whose answers have all that is asked for: Docker 1.12.
const OLDEST: (usize, usize) = (1, 24);
const NAME_IT: &str = "name the engine's socket: --host unix:///path/to/socket";

/// Where this host's engines are.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// What the command line, the environment or the configuration names, as `unix:///path`;
    /// with none of them, wherever engines usually are.
    pub fn new(named: Vec<String>) -> Self {
        Self(named)
    }

    /// What is named.
    pub fn named(&self) -> &[String] {
        &self.0
    }

    /// Each to ask now, one at least: Docker's usual socket, and Podman's if it is there.
    pub fn all(&self) -> Vec<String> {
        let mut all = match self.0.is_empty() {
            true => usual(|path| Path::new(path).exists()),
            false => self.0.clone(),
        };
        // Podman's may be at Docker's path.
        let mut each: Vec<String> = Vec::new();
        all.retain(|host| {
            let new = each.iter().all(|other| is_other(host, other));
            each.push(host.clone());
            new
        });
        all
    }

    /// The engine that runs an OCI hook: Podman alone has such.
    pub fn podman(&self) -> String {
        let all = self.all();
        let podman = all.iter().find(|host| host.contains("podman"));
        podman.or(all.first()).cloned().unwrap_or_default()
    }
}

impl Engine {
    /// Connects to the engine at `host`.
    ///
    /// # Errors
    /// If it is no local socket, nobody answers, what answers is no engine or too old a one,
    /// or the engine runs on another kernel than airgap does.
    pub async fn connect(host: &str) -> Result<Self> {
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
            host: host.to_owned(),
            podman: false,
        };
        engine.refuse_other_kernel().await?;
        Ok(engine)
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

/// Those that are there; Docker's, if none is. Pure.
fn usual(is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let mut there: Vec<_> = DEFAULT_SOCKETS
        .into_iter()
        .filter(|p| is_there(p))
        .collect();
    if there.is_empty() {
        there.push(DEFAULT_SOCKETS[0]);
    }
    there
        .into_iter()
        .map(|path| format!("unix://{path}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_engines_are_asked_that_are_there() {
        let [docker, podman] = DEFAULT_SOCKETS;
        for (there, asked) in [
            (vec![], vec![docker]),
            (vec![docker], vec![docker]),
            (vec![podman], vec![podman]),
            (vec![docker, podman], vec![docker, podman]),
        ] {
            let asked: Vec<_> = asked.iter().map(|path| format!("unix://{path}")).collect();
            assert_eq!(usual(|path| there.contains(&path)), asked, "{there:?}");
        }
    }

    #[test]
    fn the_same_socket_is_asked_once() {
        let named = |hosts: &[&str]| {
            Hosts::new(hosts.iter().map(|host| (*host).to_owned()).collect()).all()
        };
        let dir = std::env::temp_dir().join(format!("airgap-hosts-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let [real, link] = ["real.sock", "link.sock"].map(|name| dir.join(name));
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let [real, link] = [real, link].map(|path| format!("unix://{}", path.display()));
        assert_eq!(named(&[&real, &link]), std::slice::from_ref(&real));
        assert_eq!(named(&[&link, &real, &link]), [link]);
        assert_eq!(
            named(&["unix:///a", "unix:///b", "unix:///a"]),
            ["unix:///a", "unix:///b"]
        );
        fs::remove_dir_all(&dir).unwrap();
        let both = Hosts::new(vec![
            "unix:///d".into(),
            "unix:///run/podman/podman.sock".into(),
        ]);
        assert_eq!(both.podman(), "unix:///run/podman/podman.sock");
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
