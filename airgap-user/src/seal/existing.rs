//! Sockets that are older than a seal, as they are shown.

use serde::Serialize;

use crate::{
    coverage::{OLDER, Vector, When},
    host::systemd::PREFIX as UNIT,
    preflight::Risk,
    subtree,
};

/// A socket older than the seal, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Existing {
    /// `tcp`, `udp`, `raw` or `packet`; `unix`, `ip`, `netlink`, `vsock`, `xdp`
    /// for one that leads elsewhere than to the container's own network.
    pub kind: &'static str,
    /// Own address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// Peer's address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Container of the same engine that the peer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Process that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its `comm`, chosen by the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The exception that would let it be, as `--to` takes it: of a socket that the container
    /// itself connected to a container of the same engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `cut`, `kept`, `blocked`, or `open`: nothing stands in its way.
    pub action: &'static str,
}

impl Existing {
    /// Whether the container's bytes can leave by it to a network. `foreign`: sockets of
    /// other network namespaces were accepted.
    pub(crate) fn leads_out(&self, foreign: bool) -> bool {
        self.action == "open"
            && match self.kind {
                // To this host's hypervisor and audit log.
                "vsock" | "netlink" => false,
                "unix" | "packet" | "xdp" => true,
                _ => !foreign,
            }
    }
}

/// Sockets that are older than the seal and lead out past it, if there are any.
pub(crate) fn older(existing: &[Existing], accepted: &[&str], name: &str) -> Option<Vector> {
    let foreign = accepted.contains(&Risk::ForeignSocket.name());
    let open: Vec<_> = existing
        .iter()
        .filter(|socket| socket.leads_out(foreign))
        .map(|socket| socket.kind)
        .collect();
    let by = format!("nothing stands in the way of: {}", open.join(", "));
    let mend = match (name.strip_prefix(UNIT), name.starts_with(subtree::PREFIX)) {
        (Some(unit), _) => format!("systemctl restart {unit}"),
        (None, true) => "restart what is in it".to_owned(),
        (None, false) => format!("docker restart {name}"),
    };
    (!open.is_empty()).then(|| Vector::open(OLDER, When::Now, by, Some(mend)))
}
