//! A swarm of the tests' engine: one manager, with services whose tasks the outside hears.

use crate::firewall::Firewall;
use crate::outside::Outside;
use crate::plan::Plan;
use crate::service::{Docker, Service, offline, serve_image};
use crate::{LABEL, PREFIX, beacon, cmd, wait};
use std::path::Path;

/// By which tasks on overlay networks reach the host; Docker makes it with the first.
pub const BRIDGE: &str = "docker_gwbridge";

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
        serve_image(&Docker::default());
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
        if !has_overlays(&self.plan) {
            return None;
        }
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
        let labelled = [&["--container-label", label.as_str()], options].concat();
        Service::create(vec![Docker::default()], &name, &labelled, command)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        leave();
        cmd::attempt(&format!("docker network rm {}-here", self.near));
        cmd::attempt(&format!("docker rmi {}", offline()));
    }
}

/// Whether this kernel has networks that span nodes; if not, why was printed.
#[track_caller]
pub(crate) fn has_overlays(plan: &Plan) -> bool {
    let device = format!("agtn-{}", plan.suffix);
    let line = format!("ip link add {device} type vxlan id 4000 dstport 4799");
    let has = cmd::attempt(&line).code == 0;
    match has {
        true => drop(cmd::ok(&format!("ip link del {device}"))),
        false => println!("skipped: no overlay networks, as this kernel has no vxlan"),
    }
    has
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
