//! What is true of a pod's containers is true of the pod.

use super::Facts;
use crate::{
    container::Grant,
    preflight::{bad_runtime, stays_local},
};

impl Facts {
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
