//! A second container network, one that Docker keeps from the outside: `--internal`.

use crate::LABEL;
use crate::cmd;
use crate::container::ContainerSpec;
use crate::firewall::Firewall;
use crate::outside::{Outside, skip_dad};
use crate::plan::Plan;

/// The network; removed on drop, after its containers.
#[derive(Debug)]
pub struct Internal {
    pub plan: Plan,
    _firewall: Firewall,
}

impl Internal {
    /// # Panics
    /// When Docker refuses.
    #[must_use]
    #[track_caller]
    pub fn new(outside: &Outside) -> Self {
        let plan = outside.plan.internal();
        let firewall = Firewall::open_internal(&plan);
        let Plan {
            name,
            bridge,
            net4,
            net6,
            gateway4,
            gateway6,
            suffix,
            host4,
            host6,
            ..
        } = &plan;
        cmd::ok(&format!(
            "docker network create --internal --ipv6 --subnet {net4} --gateway {gateway4} \
             --subnet {net6} --gateway {gateway6} --label {LABEL}={suffix} \
             -o com.docker.network.bridge.name={bridge} {name}"
        ));
        skip_dad(bridge);
        let inside = format!("ip -n {}", outside.plan.name);
        cmd::ok(&format!("{inside} -4 route add {net4} via {host4}"));
        cmd::ok(&format!("{inside} -6 route add {net6} via {host6}"));
        Self {
            plan,
            _firewall: firewall,
        }
    }

    /// A container on this network, by default `airgap-probe serve`.
    #[must_use]
    pub fn container(&self, short_name: &str) -> ContainerSpec {
        ContainerSpec::new(&self.plan, short_name)
    }
}

impl Drop for Internal {
    fn drop(&mut self) {
        let out = cmd::attempt(&format!("docker network rm {}", self.plan.name));
        if out.code != 0 {
            eprintln!("cannot clean up\n{}", out.describe());
        }
    }
}
