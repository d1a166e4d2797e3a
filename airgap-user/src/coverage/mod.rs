//! Which vector is covered by what, for one container on this kernel, now.

use serde::Serialize;

use crate::{
    gate::FrameGuard,
    preflight::NET_RAW,
    technique::vector::{self, JOINS, RAW_FRAMES},
};

/// What the kernel said when it was asked.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Hooks whose program does not run for the container's cgroup.
    pub missing_hooks: Vec<String>,
    /// Links that are gone or dead.
    pub broken_links: Vec<String>,
    /// Capability bounding set of the container.
    pub capabilities: u64,
    /// The container runs (else all is said of its next start).
    pub running: bool,
    /// The container's cgroup is in the maps, with level and hint.
    pub marked: bool,
    /// What guards its interfaces; `None`: not known.
    pub frames: Option<Vec<FrameGuard>>,
    /// The security hooks are attached and were seen to refuse just now.
    pub lsm: bool,
    /// The seal was in force before the container's first process.
    pub born_sealed: bool,
    /// Where others could leave it a unix socket, in words; `None`: not known.
    pub shared: Option<Vec<String>>,
}

/// A way out, and what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vector {
    /// The way out.
    pub vector: &'static str,
    /// Whether something stands in it now.
    pub covered: bool,
    /// What does, or why nothing does.
    pub by: String,
}

/// Judges the evidence. Pure.
pub fn coverage(evidence: &Evidence) -> Vec<Vector> {
    let broken = |hook: &str| {
        evidence.missing_hooks.iter().any(|h| h == hook)
            || evidence
                .broken_links
                .iter()
                .any(|l| l.starts_with(&format!("{hook}:")))
    };
    let hooks = |vector: &'static str, hooks: &[&str]| {
        let missing: Vec<_> = hooks.iter().copied().filter(|h| broken(h)).collect();
        let covered = missing.is_empty() && (evidence.marked || !evidence.running);
        let by = if covered {
            hooks.join(", ")
        } else if missing.is_empty() {
            "the container's cgroup is not in the gate's maps".to_owned()
        } else {
            format!("not in force: {}", missing.join(", "))
        };
        Vector {
            vector,
            covered,
            by,
        }
    };
    let mut vectors = vec![
        hooks(vector::TCP, &["connect4", "connect6", "egress"]),
        hooks(
            vector::UDP,
            &["sendmsg4", "sendmsg6", "connect4", "connect6", "egress"],
        ),
        hooks(
            vector::DNS,
            &["connect4", "connect6", "sendmsg4", "sendmsg6", "egress"],
        ),
        hooks(vector::IP_SOCKETS, &["sock_create", "egress"]),
        hooks("replies that no client asked for", &["ingress", "egress"]),
        hooks(vector::REFLECTION, &["ingress", "egress"]),
        hooks(
            "restart of the container",
            &["cgroup_mkdir", "cgroup_release", "egress", "ingress"],
        ),
    ];
    vectors.extend(frames(evidence));
    vectors
}

/// Frames are seen by no cgroup hook, only on the host's side of a veth, and
/// that ends with the veth: at a restart, or when a network is connected. The
/// security hooks stay, and refuse the sockets themselves.
fn frames(evidence: &Evidence) -> [Vector; 9] {
    let raw = evidence.capabilities & (1 << NET_RAW) != 0;
    let open = unguarded(evidence);
    let nothing_older = evidence.born_sealed || !evidence.running;
    let no_link = evidence.running && evidence.frames.as_ref().is_some_and(Vec::is_empty);
    const DROP: &str = "run the container with --cap-drop NET_RAW";
    let no_raw = || "the container has no CAP_NET_RAW".to_owned();
    let lsm = || "socket_create, socket_sendmsg (BPF LSM)".to_owned();
    [
        match &open {
            _ if !raw => covered(RAW_FRAMES, no_raw()),
            None => covered(RAW_FRAMES, guarded(evidence)),
            // An AF_XDP socket that was there before sends by poll, past every hook.
            Some(_) if evidence.lsm && nothing_older => covered(RAW_FRAMES, lsm()),
            Some(why) => open_to(RAW_FRAMES, format!("{why}; attach again, or {DROP}")),
        },
        if !raw {
            covered(RAW_FRAMES_LATER, no_raw())
        } else if evidence.lsm {
            covered(RAW_FRAMES_LATER, lsm())
        } else {
            open_to(
                RAW_FRAMES_LATER,
                format!(
                    "the frame programs end with the veth, and CAP_NET_RAW stays; attach again after each restart, or {DROP}"
                ),
            )
        },
        match &open {
            None => covered(JOINS, guarded(evidence)),
            // A group that was joined before is announced by leaving it: close(), no option.
            Some(_) if evidence.lsm && nothing_older => {
                covered(JOINS, "socket_setsockopt (BPF LSM)".to_owned())
            }
            Some(why) => open_to(JOINS, format!("{why}; attach again")),
        },
        if evidence.lsm {
            covered(JOINS_LATER, "socket_setsockopt (BPF LSM)".to_owned())
        } else if no_link {
            covered(JOINS_LATER, guarded(evidence))
        } else {
            open_to(JOINS_LATER, ENDS.to_owned())
        },
        match &open {
            None => covered(PROBES, guarded(evidence)),
            Some(why) => open_to(PROBES, format!("{why}; attach again")),
        },
        if no_link {
            covered(PROBES_LATER, guarded(evidence))
        } else {
            open_to(PROBES_LATER, ENDS.to_owned())
        },
        if evidence.lsm {
            covered(HOST_SOCKETS, "socket_create (BPF LSM)".to_owned())
        } else {
            open_to(HOST_SOCKETS, NO_LSM.to_owned())
        },
        others(evidence, nothing_older),
        served(evidence),
    ]
}

/// Why no frame program stands in the way now, if none does.
fn unguarded(evidence: &Evidence) -> Option<String> {
    match (&evidence.frames, evidence.running) {
        (_, false) => {
            Some("the container does not run, so there is nothing to guard yet".to_owned())
        }
        (None, true) => Some("the container's interfaces are not known".to_owned()),
        (Some(guards), true) => guards.iter().find_map(|g| g.missing.clone()),
    }
}

fn guarded(evidence: &Evidence) -> String {
    let names: Vec<_> = evidence
        .frames
        .iter()
        .flatten()
        .filter_map(|g| g.interface.host.as_ref().map(|h| h.name.as_str()))
        .collect();
    if names.is_empty() {
        "the container has no interface but lo".to_owned()
    } else {
        format!("frame programs on {}", names.join(", "))
    }
}

/// Unix sockets of others, and what is passed over them: only the security
/// hooks see them, but without a place to meet there is none.
fn others(evidence: &Evidence, nothing_older: bool) -> Vector {
    match evidence.shared.as_deref() {
        Some([]) => covered(OTHERS, NO_PLACE.to_owned()),
        _ if evidence.lsm && nothing_older => {
            let by = "unix_stream_connect, unix_may_send, file_receive (BPF LSM)";
            covered(OTHERS, by.to_owned())
        }
        shared => {
            // One may be in a queue or a ring, where nobody can look.
            let why = if evidence.lsm {
                "a connection that is older than the seal may be hidden: restart the container"
            } else {
                NO_LSM
            };
            open_to(OTHERS, format!("{}{why}", places(shared)))
        }
    }
}

/// Whoever connects to a unix socket of the container is a client, and what is
/// answered leaves: no list of clients limits them.
fn served(evidence: &Evidence) -> Vector {
    match evidence.shared.as_deref() {
        Some([]) => covered(SERVED, NO_PLACE.to_owned()),
        shared => {
            let why = "whoever can reach a socket there may connect, and is an exit";
            open_to(SERVED, format!("{}{why}", places(shared)))
        }
    }
}

fn places(shared: Option<&[String]>) -> String {
    let shared = shared.unwrap_or_default();
    shared.iter().map(|place| format!("{place}; ")).collect()
}

const fn covered(vector: &'static str, by: String) -> Vector {
    Vector {
        vector,
        covered: true,
        by,
    }
}

const fn open_to(vector: &'static str, by: String) -> Vector {
    Vector {
        vector,
        covered: false,
        by,
    }
}

const NO_LSM: &str =
    "only BPF LSM refuses them, and this kernel does not run it (see airgap doctor)";
const NO_PLACE: &str = "it shares no mount and no network namespace with anybody";
const ENDS: &str = "the frame programs end with the veth; attach again after each restart";
const RAW_FRAMES_LATER: &str = "raw frames after a restart";
const JOINS_LATER: &str = "multicast joins after a restart";
/// Kernel-made: echo replies, and the RST of a closed port.
const PROBES: &str = "answers to probes (echo replies, RSTs)";
const PROBES_LATER: &str = "answers to probes after a restart";
/// No network, but ways to the host's hypervisor and to its audit log.
const HOST_SOCKETS: &str = "host sockets (AF_VSOCK, netlink audit)";
const OTHERS: &str = "unix sockets of others, descriptors from them";
const SERVED: &str = "unix sockets that others connect to";

#[cfg(test)]
mod tests;
