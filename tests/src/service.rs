//! Services of a swarm, and their tasks on all its nodes.

use crate::cmd::{self, Output};
use crate::{beacon, image, wait};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

/// Swarm takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Docker {
    /// `None`: the tests' own.
    host: Option<String>,
}

impl Docker {
    /// Of the engine at this socket.
    #[must_use]
    pub fn at(host: &str) -> Self {
        let host = Some(host.to_owned());
        Self { host }
    }

    /// Runs `docker WORDS…`, whatever comes of it.
    #[track_caller]
    pub fn attempt(&self, words: &[&str]) -> Output {
        let mut docker = Command::new("docker");
        if let Some(host) = &self.host {
            docker.args(["--host", host]);
        }
        cmd::run_command(docker.args(words))
    }

    /// The same, and what it says.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        let out = self.attempt(words).expect_code(0);
        out.stdout.trim_end().to_owned()
    }
}

/// The image under test under a name of a registry that nobody is: Swarm always asks one before
/// it takes what it has, and no real name may be looked up.
#[must_use]
#[track_caller]
pub fn offline() -> String {
    format!("127.0.0.1:1/{}", image::ensure())
}

/// Gives it that name in an engine that has it.
#[track_caller]
pub(crate) fn serve_image(docker: &Docker) {
    docker.ok(&["tag", image::ensure(), &offline()]);
}

/// A service; removed with its swarm at the latest.
#[derive(Debug)]
pub struct Service {
    /// As Swarm knows it.
    pub name: String,
    /// Clients of all nodes, a manager's first.
    nodes: Vec<Docker>,
}

impl Service {
    /// Creates one, and waits until all its tasks run.
    #[track_caller]
    pub(crate) fn create(
        nodes: Vec<Docker>,
        name: &str,
        options: &[&str],
        command: &[String],
    ) -> Self {
        let image = offline();
        let fixed = ["service", "create", "--detach", "--no-resolve-image"];
        let quick = ["--stop-grace-period", "0s", "--restart-delay", "0s"];
        // Hand-made frames are out of reach of quarantine where no security hooks are.
        let named = ["--cap-drop", "NET_RAW", "--name", name];
        let words = fixed
            .iter()
            .chain(&quick)
            .chain(&named)
            .chain(options)
            .copied();
        let words = words.chain([image.as_str()]);
        let words: Vec<&str> = words.chain(command.iter().map(String::as_str)).collect();
        nodes[0].ok(&words);
        let service = Self {
            name: name.to_owned(),
            nodes,
        };
        service.settle(None);
        service
    }

    /// Gives it another number of tasks.
    ///
    /// # Panics
    /// When Docker refuses, or it does not settle.
    #[track_caller]
    pub fn scale(&self, tasks: usize) {
        self.does(&["update", "--replicas", &tasks.to_string()]);
        self.settle(None);
    }

    /// Has each task made anew by an option of `docker service update`.
    ///
    /// # Panics
    /// As [`Self::scale`].
    #[track_caller]
    pub fn update(&self, option: &[&str]) {
        self.does(&[&["update"], option].concat());
        self.settle(Some("completed"));
    }

    /// Goes back to what it was.
    ///
    /// # Panics
    /// As [`Self::scale`].
    #[track_caller]
    pub fn roll_back(&self) {
        self.does(&["rollback"]);
        self.settle(Some("rollback_completed"));
    }

    #[track_caller]
    fn does(&self, words: &[&str]) {
        let words = [&["service"], words, &["--detach", &self.name]].concat();
        self.nodes[0].ok(&words);
    }

    /// Waits until as many tasks run as it asks for, none more than these on its nodes, and
    /// until what changes it has come to this state.
    #[track_caller]
    fn settle(&self, state: Option<&str>) {
        let (name, manager) = (&self.name, &self.nodes[0]);
        let running = [
            "--filter",
            "desired-state=running",
            "--format",
            "{{.CurrentState}}",
        ];
        let tasks = [&["service", "ps", name], &running[..]].concat();
        wait::until(&format!("{name} settles"), PATIENCE, || {
            let told = manager.attempt(&["service", "inspect", name]);
            let told: Value = serde_json::from_str(&told.stdout).ok()?;
            let told = &told[0];
            let wanted = told["Spec"]["Mode"]["Replicated"]["Replicas"].as_u64()?;
            let tasks = manager.attempt(&tasks).stdout;
            let runs = tasks.lines().filter(|t| t.starts_with("Running")).count() as u64;
            let here = self.running().len() as u64;
            let is_so = state.is_none_or(|state| told["UpdateStatus"]["State"] == state);
            (is_so && runs == wanted && here <= wanted).then_some(())
        });
    }

    /// Those of its tasks that run.
    #[must_use]
    #[track_caller]
    pub fn running(&self) -> Vec<Task> {
        self.listed(&[])
    }

    /// The ended ones, too, which Swarm has not removed.
    #[must_use]
    #[track_caller]
    pub fn all(&self) -> Vec<Task> {
        self.listed(&["-a"])
    }

    fn listed(&self, which: &[&str]) -> Vec<Task> {
        let filter = format!("label=com.docker.swarm.service.name={}", self.name);
        let fixed = ["ps", "-q", "--no-trunc", "--filter", &filter];
        let words = [&fixed[..], which].concat();
        let on = |docker: &Docker| {
            let ids = docker.ok(&words);
            let task = |id: &str| Task {
                id: id.to_owned(),
                docker: docker.clone(),
            };
            ids.lines().map(task).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(on).collect()
    }

    /// Removes it, and waits until its tasks are gone.
    ///
    /// # Panics
    /// When they do not go.
    #[track_caller]
    pub fn remove(self) {
        self.nodes[0].ok(&["service", "rm", &self.name]);
        wait::until("its tasks go", PATIENCE, || {
            self.all().is_empty().then_some(())
        });
    }
}

/// The container of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// 64 hex digits.
    pub id: String,
    docker: Docker,
}

impl Task {
    /// Whether it is on the node whose engine listens there.
    #[must_use]
    pub fn is_on(&self, host: &str) -> bool {
        self.docker == Docker::at(host)
    }

    /// Fetches from within it.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn fetch(&self, address: SocketAddr) {
        let address = address.to_string();
        self.docker
            .ok(&["exec", &self.id, "airgap-probe", "get", &address, "/"]);
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        self.docker.attempt(&["logs", &self.id]).stdout
    }

    /// What it tried first, once it serves.
    #[must_use]
    #[track_caller]
    pub fn tried(&self) -> Vec<Value> {
        beacon::await_boot(1, || self.log())
    }

    /// Its addresses in a network.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    #[track_caller]
    pub fn addresses(&self, network: &str) -> Vec<IpAddr> {
        let format = "{{json .NetworkSettings.Networks}}";
        let told = self.docker.ok(&["inspect", "--format", format, &self.id]);
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let of = &told[network];
        let both = [&of["IPAddress"], &of["GlobalIPv6Address"]];
        let found: Vec<_> = both
            .into_iter()
            .filter_map(|address| address.as_str()?.parse().ok())
            .collect();
        assert!(!found.is_empty(), "{told}");
        found
    }

    /// The host's port by which it is published itself.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    #[track_caller]
    pub fn published(&self, port: u16) -> u16 {
        let text = self.docker.ok(&["port", &self.id, &format!("{port}/tcp")]);
        let first = text.lines().next().and_then(|line| line.rsplit(':').next());
        first
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("no port in {text:?}"))
    }
}
