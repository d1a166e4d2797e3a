//! Containers under test, driven through the Docker command line.

use crate::attempt;
use crate::cmd::{self, Output};
use crate::netns::Netns;
use crate::plan::Plan;
use crate::{LABEL, PREFIX, airgap, image, wait};
use ::airgap::container::find_cgroups;
use ::airgap::technique::Report;
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;

/// Options that give a container the host's programs, and what they need to run.
pub const PROGRAMS: [&str; 10] = [
    "--volume",
    "/usr:/usr:ro",
    "--volume",
    "/lib:/lib:ro",
    "--volume",
    "/lib64:/lib64:ro",
    "--volume",
    "/etc/group:/etc/group:ro",
    "--env",
    "TERM=xterm",
];

/// What `docker create` is going to be told.
#[derive(Debug)]
pub struct ContainerSpec {
    plan: Plan,
    short_name: String,
    network: String,
    /// `None`: the image under test.
    image: Option<String>,
    options: Vec<String>,
    command: Vec<String>,
}

impl ContainerSpec {
    pub(crate) fn new(plan: &Plan, short_name: &str) -> Self {
        Self {
            plan: plan.clone(),
            short_name: short_name.to_owned(),
            network: plan.name.clone(),
            image: None,
            options: Vec::new(),
            command: vec!["airgap-probe".to_owned(), "serve".to_owned()],
        }
    }

    /// More options for `docker create`.
    #[must_use]
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|&o| o.to_owned()));
        self
    }

    /// Another image, which Docker has already.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        self.image = Some(image.to_owned());
        self
    }

    /// Publishes a container port on a free port of the host, over IPv4 and IPv6.
    #[must_use]
    pub fn publish(self, port: u16) -> Self {
        self.options(&["--publish", &format!("{port}/tcp")])
    }

    /// Another `--network`, such as `container:NAME`.
    #[must_use]
    pub fn network(mut self, network: &str) -> Self {
        network.clone_into(&mut self.network);
        self
    }

    /// Replaces the default command `airgap-probe serve`.
    #[must_use]
    pub fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|&c| c.to_owned()).collect();
        self
    }

    /// Creates the container without starting it.
    ///
    /// # Panics
    /// When Docker refuses.
    #[must_use]
    #[track_caller]
    pub fn create(self) -> Container {
        let Plan {
            suffix, outside4, ..
        } = &self.plan;
        let name = format!("{PREFIX}{}-{suffix}", self.short_name);
        let mut docker = Command::new("docker");
        docker
            .args([
                "create",
                "--name",
                &name,
                "--label",
                &format!("{LABEL}={suffix}"),
            ])
            .args(["--network", &self.network]);
        // A container in another's namespace has that one's resolver.
        let own = self.options.iter().any(|option| option == "--dns");
        if !own && !self.network.starts_with("container:") {
            docker.args(["--dns", &outside4.to_string()]);
        }
        docker
            .args(["--stop-timeout", "0"])
            .args(&self.options)
            .arg(self.image.as_deref().unwrap_or_else(|| image::ensure()))
            .args(&self.command);
        let out = cmd::run_command(&mut docker).expect_code(0);
        Container {
            name,
            id: out.stdout.trim().to_owned(),
            plan: self.plan,
        }
    }

    /// Creates and starts the container, and waits for its IPv6 path to be usable.
    ///
    /// # Panics
    /// When Docker refuses.
    #[must_use]
    #[track_caller]
    pub fn run(self) -> Container {
        let container = self.create();
        container.start();
        container
    }
}

/// A container; removed on drop, its seal first.
#[derive(Debug)]
pub struct Container {
    pub name: String,
    /// 64 hex digits.
    pub id: String,
    plan: Plan,
}

impl Container {
    /// # Panics
    /// When Docker cannot start it.
    #[track_caller]
    pub fn start(&self) {
        cmd::ok(&format!("docker start {}", self.id));
        self.wait_for_addresses();
    }

    /// Starts it if Docker can.
    #[must_use]
    pub fn try_start(&self) -> bool {
        cmd::attempt(&format!("docker start {}", self.id)).code == 0
    }

    /// # Panics
    /// When Docker cannot restart it.
    #[track_caller]
    pub fn restart(&self) {
        cmd::ok(&format!("docker restart -t 0 {}", self.id));
    }

    /// A tentative IPv6 address cannot be a source yet, neither here nor on the bridge.
    #[track_caller]
    fn wait_for_addresses(&self) {
        let bridge = format!("ip -6 addr show dev {} tentative", self.plan.bridge);
        wait::until("the bridge's IPv6 address is usable", wait::SOON, || {
            cmd::ok(&bridge).is_empty().then_some(())
        });
    }

    /// Runs a command in the container to its end.
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> Output {
        cmd::run_command(
            Command::new("docker")
                .args(["exec", &self.id])
                .args(command),
        )
    }

    /// The container's log, both streams.
    #[must_use]
    pub fn logs(&self) -> String {
        let out = cmd::run("docker", &["logs", &self.id]);
        out.stdout + &out.stderr
    }

    /// Lines of the log that are JSON.
    #[must_use]
    pub fn log_records(&self) -> Vec<Value> {
        self.logs()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    fn inspect(&self, format: &str) -> String {
        cmd::run("docker", &["inspect", "-f", format, &self.id])
            .expect_code(0)
            .stdout
            .trim()
            .to_owned()
    }

    /// The init process as the host sees it; `None` while it does not run.
    #[must_use]
    pub fn try_pid(&self) -> Option<u32> {
        self.inspect("{{.State.Pid}}")
            .parse()
            .ok()
            .filter(|&pid| pid != 0)
    }

    /// # Panics
    /// When the container does not run.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.try_pid()
            .unwrap_or_else(|| panic!("{} does not run:\n{}", self.name, self.logs()))
    }

    /// # Panics
    /// When it has no such address.
    #[must_use]
    #[track_caller]
    pub fn ip4(&self) -> Ipv4Addr {
        let text = self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
        text.parse()
            .unwrap_or_else(|e| panic!("{} has no IPv4 address ({text:?}): {e}", self.name))
    }

    /// # Panics
    /// When it has no such address.
    #[must_use]
    #[track_caller]
    pub fn ip6(&self) -> Ipv6Addr {
        let text = self.inspect("{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}");
        text.parse()
            .unwrap_or_else(|e| panic!("{} has no IPv6 address ({text:?}): {e}", self.name))
    }

    /// Its `eth0`'s hardware address.
    #[must_use]
    #[track_caller]
    pub fn mac(&self) -> Vec<u8> {
        let text = self.inspect("{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}");
        let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
        bytes
            .collect::<Result<_, _>>()
            .unwrap_or_else(|e| panic!("{}: MAC {text:?}: {e}", self.name))
    }

    /// The host's port behind a published one.
    ///
    /// # Panics
    /// When it is not published.
    #[must_use]
    #[track_caller]
    pub fn published(&self, port: u16) -> u16 {
        let text = cmd::ok(&format!("docker port {} {port}/tcp", self.id));
        let first = text
            .lines()
            .next()
            .and_then(|line| line.rsplit(':').next()?.parse().ok());
        first.unwrap_or_else(|| panic!("no published port in {text:?}"))
    }

    #[must_use]
    #[track_caller]
    pub fn netns(&self) -> Netns {
        Netns::of_pid(self.pid())
    }

    /// The host's end of the container's `eth0`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn veth(&self) -> String {
        let inside = link_json(&format!(
            "nsenter -t {} -n ip -j link show dev eth0",
            self.pid()
        ));
        let index = inside.first().and_then(|link| link["link_index"].as_u64());
        let index = index.unwrap_or_else(|| panic!("{}: eth0 has no peer: {inside:?}", self.name));
        let host = link_json("ip -j link show");
        let peer = host
            .iter()
            .find(|link| link["ifindex"].as_u64() == Some(index));
        let name = peer.and_then(|link| link["ifname"].as_str());
        name.unwrap_or_else(|| panic!("{}: no link with index {index}", self.name))
            .to_owned()
    }

    /// The cgroup v2 directory on the host.
    ///
    /// # Panics
    /// When the process has no cgroup v2 or it is not mounted.
    #[must_use]
    #[track_caller]
    pub fn cgroup(&self) -> PathBuf {
        let path = format!("/proc/{}/cgroup", self.pid());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let inner = text.lines().find_map(|line| line.strip_prefix("0::/"));
        let inner = inner.unwrap_or_else(|| panic!("no cgroup v2 in {path}:\n{text}"));
        let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
            .into_iter()
            .map(PathBuf::from)
            .find(|root| root.join("cgroup.controllers").exists());
        root.expect("cgroup v2 is not mounted under /sys/fs/cgroup")
            .join(inner)
    }

    /// Addresses and names of its run.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The host's bridge it is plugged into.
    #[must_use]
    pub fn bridge(&self) -> &str {
        &self.plan.bridge
    }

    /// What the probe is told to try one technique towards the outside.
    ///
    /// # Panics
    /// When the bridge has no hardware address.
    #[must_use]
    #[track_caller]
    pub fn order(&self, technique: &str, port: u16, marker: &str) -> String {
        let bridge_mac = format!("/sys/class/net/{}/address", self.plan.bridge);
        let mac =
            std::fs::read_to_string(&bridge_mac).unwrap_or_else(|e| panic!("{bridge_mac}: {e}"));
        let Plan {
            outside4,
            outside6,
            gateway4,
            ..
        } = &self.plan;
        format!(
            "{technique} --v4 {outside4} --v6 {outside6} --port {port} --marker {marker} \
             --gateway {gateway4} --gateway-mac {}",
            mac.trim()
        )
    }

    /// Has the probe try one technique towards the outside.
    ///
    /// # Panics
    /// When the probe does not report.
    #[track_caller]
    pub fn attempt(&self, technique: &str, port: u16, marker: &str) -> Report {
        let order = self.order(technique, port, marker);
        let mut words = vec!["airgap-probe", "try"];
        words.extend(order.split_whitespace());
        attempt::parse(&self.exec(&words))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}\n---", self.name, self.logs());
        }
        airgap::detach_quietly(&self.id);
        let out = cmd::attempt(&format!("docker rm -f {}", self.id));
        if out.code != 0 {
            eprintln!("cannot remove the container\n{}", out.describe());
        }
        // Docker takes one whose first thread has ended for dead, and lets the rest live on.
        let root = ::airgap::gate::cgroup_mount();
        for left in root.map_or_else(|_| Vec::new(), |root| find_cgroups(&root, &self.id)) {
            drop(std::fs::write(left.path.join("cgroup.kill"), "1"));
        }
    }
}

#[track_caller]
fn link_json(line: &str) -> Vec<Value> {
    serde_json::from_str(&cmd::ok(line)).unwrap_or_else(|e| panic!("`{line}`: {e}"))
}
