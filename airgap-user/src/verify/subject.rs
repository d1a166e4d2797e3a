//! Whose seal is tried, and where its probe goes.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    container::locate,
    failure::Failure,
    gate::Place,
    host::{netlink::Netlink, netns::Netns, procfs},
    preflight::NET_RAW,
    subtree::{self, Subtree},
};

/// Opened for what a kernel lets everybody do in most networks, and a fresh one nobody.
const OPENED: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
];
/// The index of lo in every network namespace.
const LO: u32 = 1;

/// What is sealed, and is to be tried.
#[derive(Clone, Debug)]
pub struct Subject {
    /// 64 hex digits.
    pub id: String,
    /// What it is called now.
    pub name: String,
    /// One of its processes; of a container, its init process.
    pub pid: u32,
    /// What it is.
    pub kind: Kind,
}

/// What is sealed.
#[derive(Clone, Debug)]
pub enum Kind {
    /// It has namespaces, which the probe enters.
    Container,
    /// Containers in one network, of one of which the process is: the probe enters that one's
    /// namespaces, and its cgroup.
    Pod {
        /// The pod's own cgroup, from the root of the v2 hierarchy.
        path: String,
    },
    /// A cgroup of the host with all below it.
    Subtree {
        /// From the root of the v2 hierarchy.
        path: String,
        /// Bit mask of what its tasks may do, or come to.
        capabilities: u64,
    },
}

impl Subject {
    /// The network namespace that is tried from: a subtree's is the host's, in which no link
    /// of airgap's belongs, so that one of airgap's own takes its place.
    pub(super) fn network(&self) -> Result<Netns> {
        if self.is_own_network() {
            return Netns::of(self.pid);
        }
        let netns = Netns::fresh()?;
        netns.run(|| {
            Netlink::route()?.up(LO, None).context("cannot use lo")?;
            for (path, value) in OPENED {
                fs::write(path, value).with_context(|| format!("cannot write {path}"))?;
            }
            Ok(())
        })?;
        Ok(netns)
    }

    /// Whether it has a network of its own, to which interfaces lead.
    pub(super) fn is_own_network(&self) -> bool {
        !matches!(self.kind, Kind::Subtree { .. })
    }

    /// A process of the pod whose cgroup has this path, if one runs: of a container that keeps
    /// `CAP_NET_RAW`, where one does, since that one can try the most.
    pub fn in_pod(place: &Place, path: &str) -> Option<u32> {
        let cgroup = Subtree::at(&place.cgroup, path).cgroup?;
        let most = cgroup.find_process(|pid| may_net_raw(pid).unwrap_or(false));
        most.or_else(|| cgroup.first_process())
    }

    /// Whether it has CAP_NET_RAW, or may come to it.
    pub(super) fn has_net_raw(&self) -> Result<bool> {
        if let Kind::Subtree { capabilities, .. } = self.kind {
            return Ok(capabilities & (1 << NET_RAW) != 0);
        }
        may_net_raw(self.pid)
    }

    /// Fails once that process is gone, or elsewhere: a cgroup with the probe in it would
    /// outlive what it is of.
    pub(super) fn still_runs(&self, root: &Path) -> Result<()> {
        let (there, what) = match &self.kind {
            Kind::Container => (locate(root, &self.id, self.pid).map(drop), "the container"),
            Kind::Pod { path } => (
                subtree::member(path, self.pid).map(drop),
                "the pod's container",
            ),
            Kind::Subtree { path, .. } => {
                (subtree::member(path, self.pid).map(drop), "what was sealed")
            }
        };
        there.context(Failure::new(
            format!("{what} stopped while it was verified"),
            "start it and run verify again",
        ))
    }

    /// What the probe is told of itself.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec!["--pid".to_owned(), self.pid.to_string()];
        words.extend(match &self.kind {
            Kind::Container => ["--id".to_owned(), self.id.clone()].to_vec(),
            Kind::Pod { path } => ["--pod".to_owned(), path.clone()].to_vec(),
            Kind::Subtree { path, capabilities } => vec![
                "--cgroup".to_owned(),
                path.clone(),
                "--capabilities".to_owned(),
                format!("{capabilities:x}"),
            ],
        });
        words
    }

    /// What limits a proof of it.
    pub(super) fn notes(&self) -> Vec<String> {
        let own = match &self.kind {
            Kind::Container => {
                return vec![
                    "the container's seccomp filter and AppArmor profile are not carried: \
                     the probe may try more than the container can"
                        .to_owned(),
                ];
            }
            Kind::Pod { path } => {
                let own = subtree::member(path, self.pid).unwrap_or_default();
                return vec![
                    format!("tried from the container {own}; all of the pod are in one network"),
                    "its seccomp filter and AppArmor profile are not carried: the probe may try more \
                     than the container can"
                        .to_owned(),
                ];
            }
            Kind::Subtree { path, .. } => subtree::member(path, self.pid),
        };
        let own = own.unwrap_or_default();
        vec![
            format!(
                "tried from the cgroup {own}, in a network of airgap's own: the host's is left alone"
            ),
            "the probe is of root, with what capabilities its tasks have, and no seccomp filter of theirs: it may try more than they can".to_owned(),
            "who listens on the host, and files and unix sockets of others, are none of what is tried".to_owned(),
        ]
    }
}

/// Whether a process, or what it becomes, may have CAP_NET_RAW; where it is unknown, as if.
fn may_net_raw(pid: u32) -> Result<bool> {
    let status = procfs::text(format!("/proc/{pid}/status"))?;
    let bounding = status.lines().find_map(|l| l.strip_prefix("CapBnd:"));
    let bounding = bounding.and_then(|b| u64::from_str_radix(b.trim(), 16).ok());
    Ok(bounding.is_none_or(|b| b & (1 << NET_RAW) != 0))
}
