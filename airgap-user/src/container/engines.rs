//! The engines of this host, asked together: a host may have Docker and Podman.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use anyhow::{Error, Result};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Container, Engine, Hosts};
use crate::failure::Failure;

/// Id, name and whether it runs.
pub type Listed = (String, String, bool);

/// Where there are several, one that is slow is waited for so long, for the others' sake.
const PATIENCE: Duration = Duration::from_secs(5);

/// Those that answer.
pub struct Engines {
    answering: Vec<Engine>,
    /// Sockets of the others, and why each did not.
    silent: Vec<(String, Error)>,
}

impl Engines {
    /// None, where nothing has to be asked.
    pub fn none() -> Self {
        Self {
            answering: Vec::new(),
            silent: Vec::new(),
        }
    }

    /// Connects to each, side by side.
    pub async fn connect(hosts: &Hosts) -> Self {
        let all = hosts.all();
        let alone = all.len() == 1;
        let each = all.into_iter().map(|host| async move {
            let connected = match alone {
                true => Engine::connect(&host).await,
                false => match timeout(PATIENCE, Engine::connect(&host)).await {
                    Ok(connected) => connected,
                    Err(_) => Err(Failure::new(
                        format!(
                            "the container engine at {host} runs, but has not answered within {} s",
                            PATIENCE.as_secs()
                        ),
                        "the engine may be busy or broken: see its log",
                    )
                    .into()),
                },
            };
            (host, connected)
        });
        let mut engines = Self::none();
        for (host, connected) in join_all(each).await {
            match connected {
                Ok(engine) => engines.answering.push(engine),
                Err(error) => engines.silent.push((host, error)),
            }
        }
        engines
    }

    /// The same, where nothing can be done without one.
    ///
    /// # Errors
    /// If none answers: why the first does not.
    pub async fn connected(hosts: &Hosts) -> Result<Self> {
        let mut engines = Self::connect(hosts).await;
        if engines.answering.is_empty() && !engines.silent.is_empty() {
            return Err(engines.silent.remove(0).1);
        }
        Ok(engines)
    }

    /// Those that answer.
    pub fn iter(&self) -> impl Iterator<Item = &Engine> {
        self.answering.iter()
    }

    /// The first that answers: new containers are made there.
    pub fn first(&self) -> Option<&Engine> {
        self.answering.first()
    }

    /// Whether none answers.
    pub fn is_empty(&self) -> bool {
        self.answering.is_empty()
    }

    /// Why those that do not answer do not: the first of them.
    pub fn why_silent(&self) -> Option<&Error> {
        self.silent.first().map(|(_, error)| error)
    }

    /// Sockets of those that do not answer.
    pub fn silent(&self) -> impl Iterator<Item = &str> {
        self.silent.iter().map(|(host, _)| host.as_str())
    }

    /// The one whose socket a record names, as `unix:///path`; of a record that names none,
    /// the first.
    pub fn of(&self, recorded: &str) -> Option<&Engine> {
        self.iter().find(|engine| !engine.is_other(recorded))
    }

    /// Why the one whose socket a record names does not answer, if it was asked.
    pub fn why_silent_of(&self, recorded: &str) -> Option<&Error> {
        let its = |host: &String| !super::docker::is_other(host, recorded);
        let found = self.silent.iter().find(|(host, _)| its(host));
        found.map(|(_, error)| error)
    }

    /// The container that a name, id or unique prefix of an id stands for, and its engine.
    ///
    /// # Errors
    /// If none has it, or one has several, or several have one.
    pub async fn find(&self, reference: &str) -> Result<(&Engine, Container)> {
        let each = self.iter().map(|engine| async move {
            let found = engine.find(reference).await;
            found.map(|container| (engine, container))
        });
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for one in join_all(each).await {
            match one {
                Ok(one) => found.push(one),
                Err(error) => errors.push(error),
            }
        }
        if let Some(exact) = found.iter().position(|(_, c)| c.id == reference) {
            return Ok(found.swap_remove(exact));
        }
        match found.len() {
            0 => Err(self.found_by_none(reference, errors)),
            1 => Ok(found.remove(0)),
            _ => Err(in_several(reference, &found).into()),
        }
    }

    fn found_by_none(&self, reference: &str, mut errors: Vec<Error>) -> Error {
        if self.answering.len() == 1
            && let Some((host, _)) = self.silent.first()
        {
            let asked = self.answering.first().map_or("", |engine| engine.host());
            return errors.remove(0).context(Failure::new(
                format!("'{reference}' was not found at {asked}, and {host} does not answer"),
                format!("if it is of that one: airgap doctor tells why; --host {asked} asks the other alone"),
            ));
        }
        match errors.len() {
            0 => Failure::new(
                "no container engine answers",
                "start it, or name its socket: --host unix:///path/to/socket",
            )
            .into(),
            1 => errors.remove(0),
            _ => {
                let hosts: Vec<_> = self.iter().map(|engine| engine.host()).collect();
                let told: Vec<_> = errors.iter().map(|error| format!("{error}")).collect();
                Failure::new(
                    told.join("; "),
                    format!("asked: {} (docker ps -a, podman ps -a)", hosts.join(", ")),
                )
                .into()
            }
        }
    }

    /// The container of an id, whoever has it. What an engine does not answer counts as no.
    pub async fn by_id(&self, id: &str) -> Option<(&Engine, Container)> {
        for engine in self.iter() {
            if let Ok(Some(container)) = engine.look_up(id).await
                && container.id == id
            {
                return Some((engine, container));
            }
        }
        None
    }

    /// Every container and pod, by its engine.
    ///
    /// # Errors
    /// If one that answered before does not any more.
    pub async fn list(&self) -> Result<Vec<(&Engine, Vec<Listed>)>> {
        let each = self.iter().map(|engine| async move {
            let listed = engine.list().await;
            listed.map(|listed| (engine, listed))
        });
        join_all(each).await.into_iter().collect()
    }

    /// Names of all running containers by their addresses.
    pub async fn neighbours(&self) -> HashMap<IpAddr, String> {
        let each = join_all(self.iter().map(Engine::neighbours)).await;
        each.into_iter().flatten().collect()
    }
}

/// Pure.
fn in_several(reference: &str, found: &[(&Engine, Container)]) -> Failure {
    let each = found.iter().map(|(engine, container)| {
        format!(
            "{} at {}",
            container.id.get(..12).unwrap_or(&container.id),
            engine.host()
        )
    });
    Failure::new(
        format!("'{reference}' is a container of {} engines", found.len()),
        format!(
            "name one by its id, or its engine with --host: {}",
            each.collect::<Vec<_>>().join(", ")
        ),
    )
}
