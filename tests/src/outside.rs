//! The outside world: a network namespace with servers that record, routed to the containers.

use crate::container::ContainerSpec;
use crate::firewall::Firewall;
use crate::frame::Frame;
use crate::netns::Netns;
use crate::plan::Plan;
use crate::services::{Seen, Services};
use crate::sweep::{self, Turn};
use crate::tap::Tap;
use crate::{LABEL, PREFIX, cmd, http, image};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The outside world of one test, its container network and its turn. Drop it last.
#[derive(Debug)]
pub struct Outside {
    pub plan: Plan,
    pub netns: Netns,
    /// Everything on the outside's own interface: what really left.
    pub tap: Tap,
    services: Services,
    _firewall: Firewall,
    // Last: the turn passes on only after everything is gone.
    _turn: Turn,
}

impl Outside {
    /// Builds the outside, its routes, its pen, then the container network.
    ///
    /// # Panics
    /// When a precondition is missing or a step fails.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self::build("out0")
    }

    /// One that records no packet, for loads: what keeps each of them would take a processor and
    /// all memory.
    ///
    /// # Panics
    /// As [`Outside::new`].
    #[must_use]
    #[track_caller]
    pub fn unrecorded() -> Self {
        Self::build("lo")
    }

    #[track_caller]
    fn build(tapped: &str) -> Self {
        let turn = sweep::take_turn();
        let plan = Plan::draw();
        let firewall = Firewall::open(&plan);
        let Plan {
            name,
            bridge,
            uplink,
            net4,
            net6,
            suffix,
            ..
        } = &plan;
        let Plan {
            host4,
            host6,
            outside4,
            outside6,
            gateway6,
            ..
        } = &plan;
        cmd::ok(&format!("ip netns add {name}"));
        let netns = Netns::named(name);
        let inside = format!("ip -n {name}");
        cmd::ok(&format!(
            "ip link add {uplink} type veth peer name out0 netns {name}"
        ));
        skip_dad(uplink);
        netns.run(|| skip_dad("out0"));
        for line in [
            format!("{inside} link set lo up"),
            format!("{inside} link set out0 up"),
            format!("ip link set {uplink} up"),
            format!("ip -4 addr add {host4}/28 dev {uplink}"),
            format!("ip -6 addr add {host6}/64 dev {uplink} nodad"),
            format!("{inside} -4 addr add {outside4}/28 dev out0"),
            format!("{inside} -6 addr add {outside6}/64 dev out0 nodad"),
            format!("{inside} -4 route add {net4} via {host4}"),
            format!("{inside} -6 route add {net6} via {host6}"),
        ] {
            cmd::ok(&line);
        }
        let tap = Tap::inside(&netns, tapped);
        let services = Services::start(&netns, *outside4, *outside6);
        cmd::ok(&format!(
            "docker network create --ipv6 --subnet {net4} --subnet {net6} --gateway {gateway6} \
             --label {LABEL}={suffix} -o com.docker.network.bridge.name={bridge} \
             -o com.docker.network.bridge.enable_ip_masquerade=false {name}"
        ));
        // Podman makes the bridge with the first container, and takes it away with the last.
        if !Path::new("/sys/class/net").join(bridge).exists() {
            let image = image::ensure();
            cmd::ok(&format!(
                "docker run -d --name {PREFIX}first-{suffix} --label {LABEL}={suffix} \
                 --network {name} {image} airgap-probe serve"
            ));
        }
        // Before the first container brings the bridge up.
        skip_dad(bridge);
        Self {
            plan,
            netns,
            tap,
            services,
            _firewall: firewall,
            _turn: turn,
        }
    }

    /// A container on this outside's network, by default `airgap-probe serve`.
    #[must_use]
    pub fn container(&self, short_name: &str) -> ContainerSpec {
        ContainerSpec::new(&self.plan, short_name)
    }

    /// What reached an application outside.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.services.seen()
    }

    /// Forgets what was seen and recorded so far.
    pub fn clear(&self) {
        self.tap.barrier();
        self.tap.clear();
        self.services.clear();
    }

    /// Frames that reached the outside and are neither neighbour discovery nor the host's own
    /// link-local chatter.
    #[must_use]
    #[track_caller]
    pub fn arrivals(&self) -> Vec<Frame> {
        self.tap.barrier();
        self.tap
            .suspicious()
            .into_iter()
            .filter(|frame| !frame.is_link_local())
            .collect()
    }

    /// Fetches from the outside.
    ///
    /// # Errors
    /// When the service does not answer properly.
    pub fn get(
        &self,
        address: impl Into<IpAddr>,
        port: u16,
        path: &str,
    ) -> anyhow::Result<Vec<u8>> {
        let address = SocketAddr::new(address.into(), port);
        self.netns.run(|| http::get(address, path))
    }
}

/// No seconds of duplicate address detection, during which IPv6 hardly works.
pub(crate) fn skip_dad(device: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{device}/accept_dad");
    std::fs::write(&path, "0").unwrap_or_else(|e| panic!("{path}: {e}"));
}

impl Default for Outside {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let Plan {
            name,
            suffix,
            uplink,
            ..
        } = &self.plan;
        // Containers still there would keep the network alive.
        for id in cmd::attempt(&format!("docker ps -aq --filter label={LABEL}={suffix}"))
            .stdout
            .lines()
        {
            crate::airgap::detach_quietly(id);
            cmd::attempt(&format!("docker rm -f {id}"));
        }
        for line in [
            format!("docker network rm {name}"),
            format!("ip link del {uplink}"),
            format!("ip netns del {name}"),
        ] {
            let out = cmd::attempt(&line);
            if out.code != 0 {
                eprintln!("cannot clean up\n{}", out.describe());
            }
        }
    }
}
