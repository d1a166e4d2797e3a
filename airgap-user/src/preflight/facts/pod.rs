//! What is true of a pod's containers is true of the pod.

use super::Facts;
use crate::{
    container::{Grant, Look},
    policy::Rules,
    preflight::{Surroundings, bad_runtime, judge_exits, stays_local, wide_udp},
};

impl Facts {
    /// Those of a pod of Kubernetes, of which no engine tells: what is true of any of its
    /// tasks, if there are any, and where its rules lead.
    pub fn of_pod(look: Option<&mut Look>, rules: &Rules) -> Self {
        let node = Surroundings::of_host();
        let mut facts = Self {
            seccomp: true,
            udp_clients: wide_udp(&rules.ports, &rules.clients),
            exits: judge_exits(&rules.exits, &node),
            proxied: node.stand_for_others(&rules.clients),
            ..Self::default()
        };
        if let Some(look) = look {
            facts.add_live(look);
        }
        facts
    }

    /// Adds what the engine was told of a container of this pod.
    pub(super) fn add_member(&mut self, of: Self, name: &str) {
        let named = |all: Vec<String>| all.into_iter().map(move |what| format!("{what} ({name})"));
        if bad_runtime(&of).is_some() {
            self.runtime.clone_from(&of.runtime);
            self.runtime_binary.clone_from(&of.runtime_binary);
        }
        self.privileged |= of.privileged;
        let capabilities = of.capabilities.into_iter();
        self.capabilities.extend(capabilities.map(|grant| Grant {
            who: format!("its container {name}"),
            ..grant
        }));
        self.seccomp &= of.seccomp;
        self.unfiltered.extend(named(of.unfiltered));
        self.user_namespaces.extend(named(of.user_namespaces));
        self.network_sharers.extend(named(of.network_sharers));
        self.ipc_sharers.extend(named(of.ipc_sharers));
        self.settings.extend(named(of.settings));
        self.devices.extend(named(of.devices));
        self.mounts.extend(of.mounts);
        self.host_network = self.host_network.take().or(of.host_network);
        self.host_pid = self.host_pid.take().or(of.host_pid);
        if of
            .log_driver
            .as_deref()
            .is_some_and(|driver| !stays_local(driver))
        {
            self.log_driver = of.log_driver;
        }
    }
}
