//! What the engine was told, as risks. Pure but for devices and this host's settings.

use std::{fs, path::Path};

use crate::{
    container::Container,
    policy::Cidr,
    preflight::{
        devices::{self, Device, Drivers},
        seccomp::Filter,
    },
};

/// Risks of a seccomp filter, in words: kernel keys, user namespaces.
pub(super) fn filtered(filter: &Filter) -> (Vec<String>, Vec<String>) {
    let words = |call: &Option<String>| {
        call.iter()
            .map(|call| format!("its seccomp profile lets {call} through"))
            .collect()
    };
    match filter {
        Filter::Default => (Vec::new(), Vec::new()),
        Filter::Unconfined => (vec!["it has no seccomp filter".into()], Vec::new()),
        Filter::Unknown => (
            vec!["its seccomp profile cannot be read".into()],
            Vec::new(),
        ),
        Filter::Own { keys, namespaces } => (
            words(keys),
            match user_namespaces_usable() {
                true => words(namespaces),
                false => Vec::new(),
            },
        ),
    }
}

/// Whether this host lets processes without CAP_SYS_ADMIN make user namespaces.
pub fn user_namespaces_usable() -> bool {
    let is_zero = |path| fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    !is_zero("/proc/sys/user/max_user_namespaces")
        && !is_zero("/proc/sys/kernel/unprivileged_userns_clone")
}

pub(super) fn configured_devices(
    paths: impl Iterator<Item = String>,
    rules: impl Iterator<Item = String>,
) -> Vec<String> {
    let drivers = Drivers::of_kernel();
    let mut found = Vec::new();
    for path in paths {
        match devices::at(Path::new(&path)) {
            Ok(all) => found.extend(
                all.iter()
                    .filter_map(|device| device.risk(&drivers))
                    .map(|what| format!("{what}, {path} of the host")),
            ),
            Err(error) => found.push(format!(
                "{path} of the host, which cannot be looked at ({error})"
            )),
        }
    }
    for text in rules {
        let risks = devices::rule(&text);
        let risks = risks
            .iter()
            .filter_map(|device: &Device| device.risk(&drivers));
        found.extend(risks.map(|what| format!("{what}, by the rule '{text}'")));
    }
    found
}

/// Prefixes of clients that let others in, by what stands for those.
pub(super) fn proxied(container: &Container, clients: &[Cidr]) -> Vec<String> {
    let gateways = container.gateways.iter();
    gateways
        .flat_map(|gateway| clients.iter().filter_map(|c| gateway.admitted_by(c)))
        .collect()
}
