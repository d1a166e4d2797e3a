//! A swarm of the tests' engine: one manager, with services whose tasks the outside hears.

use crate::firewall::Firewall;
use crate::outside::Outside;
use crate::plan::Plan;
use crate::{LABEL, PREFIX, beacon, cmd, image, wait};
use serde_json::Value;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// By which tasks on overlay networks reach the host; Docker makes it with the first.
pub const BRIDGE: &str = "docker_gwbridge";
/// Swarm takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The swarm; left, with what it made, on drop.
#[derive(Debug)]
pub struct Swarm {
    plan: Plan,
    /// A network of each node's own, which the outside is routed to, with IPv6.
    pub near: String,
    _firewalls: [Firewall; 2],
}

impl Swarm {
    /// Has the tests' engine begin one that nobody can join from elsewhere.
    ///
    /// # Panics
    /// When the engine is in one already, or refuses.
    #[must_use]
    #[track_caller]
    pub fn init(outside: &Outside) -> Self {
        Self::init_at(outside, "127.0.0.1")
    }

    /// The same at an address where other nodes find it.
    ///
    /// # Panics
    /// As [`Self::init`].
    #[must_use]
    #[track_caller]
    pub fn init_at(outside: &Outside, address: &str) -> Self {
        let state = cmd::ok("docker info --format {{.Swarm.LocalNodeState}}");
        assert_eq!(
            state, "inactive",
            "the engine is in a swarm: docker swarm leave"
        );
        let plan = outside.plan.internal();
        let firewalls = [&plan.bridge, BRIDGE].map(|bridge| Firewall::open_bridge(&plan, bridge));
        cmd::ok(&format!(
            "docker swarm init --advertise-addr {address} --listen-addr {address}"
        ));
        let node = cmd::ok("docker info --format {{.Swarm.NodeID}}");
        cmd::ok(&format!("docker node update --label-add {LABEL}=1 {node}"));
        let swarm = Self {
            near: format!("{}-near", plan.name),
            plan,
            _firewalls: firewalls,
        };
        swarm.make_near(outside);
        swarm
    }

    fn make_near(&self, outside: &Outside) {
        let Self { plan, near, .. } = self;
        let Plan {
            net4,
            net6,
            gateway4,
            gateway6,
            bridge,
            suffix,
            ..
        } = plan;
        cmd::ok(&format!(
            "docker network create --config-only --ipv6 --subnet {net4} --gateway {gateway4} \
             --subnet {net6} --gateway {gateway6} --label {LABEL}={suffix} \
             -o com.docker.network.bridge.name={bridge} \
             -o com.docker.network.bridge.enable_ip_masquerade=false {near}-here"
        ));
        cmd::ok(&format!(
            "docker network create --driver bridge --scope swarm --config-from {near}-here {near}"
        ));
        let inside = format!("ip -n {}", outside.plan.name);
        let Plan { host4, host6, .. } = &outside.plan;
        cmd::ok(&format!("{inside} -4 route add {net4} via {host4}"));
        cmd::ok(&format!("{inside} -6 route add {net6} via {host6}"));
    }

    /// A network that spans nodes; `None`: this kernel has none, why was printed.
    #[must_use]
    #[track_caller]
    pub fn overlay(&self, short_name: &str) -> Option<String> {
        let device = format!("agtn-{}", self.plan.suffix);
        let made = cmd::attempt(&format!(
            "ip link add {device} type vxlan id 4000 dstport 4799"
        ));
        if made.code != 0 {
            println!("skipped: no overlay networks, as this kernel has no vxlan");
            return None;
        }
        cmd::ok(&format!("ip link del {device}"));
        let name = format!("{}-{short_name}", self.plan.name);
        cmd::ok(&format!(
            "docker network create --driver overlay --attachable {name}"
        ));
        Some(name)
    }

    /// Whether the routing mesh passes anything on here; if not, why was printed.
    #[must_use]
    pub fn has_mesh(&self) -> bool {
        // Docker asks for the module as it begins.
        let has = Path::new("/proc/net/ip_vs").exists();
        if !has {
            println!("skipped: the routing mesh passes nothing on, as this kernel has no IPVS");
        }
        has
    }

    /// A service of first-instruction senders, which serve afterwards.
    #[must_use]
    #[track_caller]
    pub fn beacons(&self, outside: &Outside, short_name: &str, options: &[&str]) -> Service {
        self.service(short_name, options, &beacon::command(outside)[1..])
    }

    /// A service with this command, when all its tasks run.
    ///
    /// # Panics
    /// When they do not come to run.
    #[must_use]
    #[track_caller]
    pub fn service(&self, short_name: &str, options: &[&str], command: &[String]) -> Service {
        let suffix = &self.plan.suffix;
        let name = format!("{PREFIX}{short_name}-{suffix}");
        let label = format!("{LABEL}={suffix}");
        let fixed = ["service", "create", "--detach", "--no-resolve-image"];
        let quick = ["--stop-grace-period", "0s", "--restart-delay", "0s"];
        // Hand-made frames are out of reach of quarantine where no security hooks are.
        let quick = quick.iter().chain(&["--cap-drop", "NET_RAW"]);
        let named = ["--name", &name, "--container-label", &label];
        let words = fixed.iter().chain(quick).chain(&named).chain(options);
        let words: Vec<&str> = words.copied().chain([image::ensure()]).collect();
        let command = command.iter().map(String::as_str);
        let words: Vec<&str> = words.into_iter().chain(command).collect();
        cmd::run("docker", &words).expect_code(0);
        let service = Service { name };
        service.settle(None);
        service
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        leave();
        cmd::attempt(&format!("docker network rm {}-here", self.near));
    }
}

/// A service; removed with its swarm at the latest.
#[derive(Debug)]
pub struct Service {
    /// As Swarm knows it.
    pub name: String,
}

impl Service {
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
        cmd::run("docker", &words).expect_code(0);
    }

    /// Waits until as many tasks run as it asks for, none more than these on this engine, and
    /// until what changes it has come to this state.
    #[track_caller]
    fn settle(&self, state: Option<&str>) {
        let name = &self.name;
        let line = format!(
            "docker service ps {name} --filter desired-state=running --format {{{{.CurrentState}}}}"
        );
        wait::until(&format!("{name} settles"), PATIENCE, || {
            let told = cmd::attempt(&format!("docker service inspect {name}"));
            let told: Value = serde_json::from_str(&told.stdout).ok()?;
            let told = &told[0];
            let wanted = told["Spec"]["Mode"]["Replicated"]["Replicas"].as_u64()?;
            let tasks = cmd::attempt(&line).stdout;
            let runs = tasks.lines().filter(|t| t.starts_with("Running")).count() as u64;
            let here = self.running().len() as u64;
            let is_so = state.is_none_or(|state| told["UpdateStatus"]["State"] == state);
            (is_so && runs == wanted && here <= wanted).then_some(())
        });
    }

    /// Those of its tasks that run on this engine.
    #[must_use]
    #[track_caller]
    pub fn running(&self) -> Vec<Task> {
        self.listed("")
    }

    /// The ended ones, too, which Swarm has not removed.
    #[must_use]
    #[track_caller]
    pub fn all(&self) -> Vec<Task> {
        self.listed("-a")
    }

    fn listed(&self, which: &str) -> Vec<Task> {
        let filter = format!("label=com.docker.swarm.service.name={}", self.name);
        let ids = cmd::ok(&format!(
            "docker ps {which} -q --no-trunc --filter {filter}"
        ));
        ids.lines().map(|id| Task { id: id.to_owned() }).collect()
    }

    /// Removes it, and waits until its tasks are gone.
    ///
    /// # Panics
    /// When they do not go.
    #[track_caller]
    pub fn remove(self) {
        cmd::ok(&format!("docker service rm {}", self.name));
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
}

impl Task {
    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        cmd::attempt(&format!("docker logs {}", self.id)).stdout
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
        let told = cmd::run("docker", &["inspect", "--format", format, &self.id]);
        let told = told.expect_code(0).stdout;
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
        let text = cmd::ok(&format!("docker port {} {port}/tcp", self.id));
        let first = text.lines().next().and_then(|line| line.rsplit(':').next());
        first
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("no port in {text:?}"))
    }
}

/// Leaves a swarm of these tests', which a killed run has left behind.
pub(crate) fn leave_left() {
    let labels = cmd::attempt("docker node inspect self --format {{.Spec.Labels}}");
    if labels.stdout.contains(LABEL) {
        leave();
    }
}

fn leave() {
    for id in cmd::attempt("docker service ls -q").stdout.lines() {
        cmd::attempt(&format!("docker service rm {id}"));
    }
    let left = cmd::attempt("docker swarm leave --force");
    if left.code != 0 {
        eprintln!("cannot leave the swarm\n{}", left.describe());
    }
    let label = "com.docker.swarm.task";
    let ids = || cmd::attempt(&format!("docker ps -aq --filter label={label}")).stdout;
    for id in ids().lines() {
        cmd::attempt(&format!("docker rm -f {id}"));
    }
    // Docker takes its endpoints off a moment later.
    wait::within(wait::SOON, || {
        cmd::attempt(&format!("docker network rm {BRIDGE}"));
        let left = cmd::attempt(&format!("docker network inspect {BRIDGE}"));
        (left.code != 0).then_some(())
    });
}
