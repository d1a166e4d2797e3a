//! Two nodes of one swarm: each an engine in a network namespace of its own, on one link with the
//! host, which routes them to the outside.

use crate::firewall::Firewall;
use crate::outside::Outside;
use crate::plan::Plan;
use crate::service::{Docker, Service, serve_image};
use crate::{PREFIX, cmd, image, private, wait};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// An engine, its namespace and its place on the link; ended on drop.
#[derive(Debug)]
struct Node {
    name: String,
    dir: PathBuf,
    address: Ipv4Addr,
    child: Option<Child>,
}

/// The swarm that both are in.
#[derive(Debug)]
pub struct Nodes {
    nodes: [Node; 2],
    /// Spans both.
    pub network: String,
    plan: Plan,
    _firewall: Firewall,
}

impl Nodes {
    /// Starts both and has the second join the first; `None`: this kernel has no overlay
    /// networks, why was printed.
    ///
    /// # Panics
    /// When an engine does not start, or they do not find each other.
    #[must_use]
    #[track_caller]
    pub fn start(outside: &Outside) -> Option<Self> {
        if !crate::swarm::has_overlays(&outside.plan) {
            return None;
        }
        let plan = outside.plan.internal();
        let firewall = Firewall::open_bridge(&plan, &plan.bridge);
        let Plan {
            bridge,
            net4,
            gateway4,
            ..
        } = &plan;
        // The link itself is elsewhere: what is on another machine is no veth of this host's.
        let link = link(&plan);
        for line in [
            format!("ip netns add {link}"),
            format!("ip -n {link} link add br0 type bridge"),
            format!("ip -n {link} link set br0 up"),
            format!("ip link add {bridge} type veth peer name host0 netns {link}"),
            format!("ip -n {link} link set host0 master br0 up"),
            format!("ip -4 addr add {gateway4}/28 dev {bridge}"),
            format!("ip link set {bridge} up"),
        ] {
            cmd::ok(&line);
        }
        let (inside, host4) = (&outside.plan.name, outside.plan.host4);
        cmd::ok(&format!("ip -n {inside} -4 route add {net4} via {host4}"));
        let nodes = Self {
            nodes: [1, 2].map(|number| Node::start(&plan, number)),
            network: format!("{PREFIX}wide"),
            plan: plan.clone(),
            _firewall: firewall,
        };
        nodes.join();
        Some(nodes)
    }

    fn join(&self) {
        let [first, second] = &self.nodes;
        let listen = |node: &Node| {
            let at = node.address.to_string();
            ["--advertise-addr", &at, "--listen-addr", &at].map(str::to_owned)
        };
        let run = |node: &Node, words: &[&str]| {
            let listen = listen(node);
            let words = words.iter().copied();
            let words: Vec<_> = words.chain(listen.iter().map(String::as_str)).collect();
            node.docker().ok(&words)
        };
        run(first, &["swarm", "init"]);
        let token = first.docker().ok(&["swarm", "join-token", "-q", "worker"]);
        let manager = format!("{}:2377", first.address);
        run(
            second,
            &["swarm", "join", "--token", token.trim(), &manager],
        );
        let create = ["network", "create", "--driver", "overlay", "--attachable"];
        first.docker().ok(&[&create[..], &[&self.network]].concat());
    }

    /// For `--host`.
    #[must_use]
    pub fn hosts(&self) -> [String; 2] {
        self.nodes.each_ref().map(Node::host)
    }

    /// Where each is found from outside.
    #[must_use]
    pub fn addresses(&self) -> [Ipv4Addr; 2] {
        self.nodes.each_ref().map(|node| node.address)
    }

    /// A service over both, when all its tasks run.
    ///
    /// # Panics
    /// When they do not come to run.
    #[must_use]
    #[track_caller]
    pub fn service(&self, name: &str, options: &[&str], command: &[String]) -> Service {
        let dockers = self.nodes.each_ref().map(Node::docker);
        let options = [&["--network", self.network.as_str()], options].concat();
        Service::create(
            dockers.into(),
            &format!("{PREFIX}{name}"),
            &options,
            command,
        )
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in self.nodes.iter().rev() {
            node.docker().attempt(&["swarm", "leave", "--force"]);
        }
        for node in &mut self.nodes {
            node.end();
        }
        cmd::attempt(&format!("ip link del {}", self.plan.bridge));
        cmd::attempt(&format!("ip netns del {}", link(&self.plan)));
    }
}

/// The namespace of what the nodes and the host are on.
fn link(plan: &Plan) -> String {
    format!("{PREFIX}link-{}", plan.suffix)
}

impl Node {
    #[track_caller]
    fn start(plan: &Plan, number: u8) -> Self {
        let [a, b, c, d] = plan.gateway4.octets();
        let mut node = Self {
            name: format!("{PREFIX}node{number}-{}", plan.suffix),
            dir: PathBuf::from(format!(
                "/var/lib/airgap-test-node{number}-{}",
                std::process::id()
            )),
            address: Ipv4Addr::new(a, b, c, d + number),
            child: None,
        };
        fs::create_dir_all(&node.dir).expect("mkdir");
        let Self { name, address, .. } = &node;
        let (veth, inside) = (format!("node{number}"), format!("ip -n {name}"));
        let link = link(plan);
        for line in [
            format!("ip netns add {name}"),
            format!("ip -n {link} link add {veth} type veth peer name up0 netns {name}"),
            format!("ip -n {link} link set {veth} master br0 up"),
            format!("{inside} link set lo up"),
            format!("{inside} -4 addr add {address}/28 dev up0"),
            format!("{inside} link set up0 up"),
            format!("{inside} -4 route add default via {}", plan.gateway4),
        ] {
            cmd::ok(&line);
        }
        node.run(number);
        image::give_to(&node.host());
        serve_image(&node.docker());
        node
    }

    #[track_caller]
    fn run(&mut self, number: u8) {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let log = File::create(self.dir.join("log")).expect("its log");
        let child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid"), "--host", &self.host()])
            .args(["--bip", &format!("172.28.{number}.1/24")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("start dockerd"));
        let answers = || (self.docker().attempt(&["version"]).code == 0).then_some(());
        if wait::within(PATIENCE, answers).is_none() {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            panic!("no dockerd within {PATIENCE:?}:\n{log}");
        }
    }

    fn host(&self) -> String {
        format!("unix://{}", self.dir.join("docker.sock").display())
    }

    fn docker(&self) -> Docker {
        Docker::at(&self.host())
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            for id in self.docker().attempt(&["ps", "-aq"]).stdout.lines() {
                self.docker().attempt(&["rm", "-f", id]);
            }
            private::signal(&self.dir.join("pid"), libc::SIGTERM);
            drop(child.wait());
        }
        let containerd: &Path = &self.dir.join("exec/containerd/containerd.pid");
        private::signal(containerd, libc::SIGKILL);
        private::end("containerd-shim", &self.dir);
        private::remove(&self.dir);
        cmd::attempt(&format!("ip netns del {}", self.name));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Of two of which the second did not start.
        if self.child.is_some() {
            self.end();
        }
    }
}
