//! Which vector is covered by what, for one container on this kernel, now.

use serde::Serialize;

use crate::{
    gate::FrameGuard,
    preflight::NET_RAW,
    technique::vector::{self, LINK_SIGNALS, RAW_FRAMES},
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
/// that ends with the veth: at a restart, or when a network is connected.
fn frames(evidence: &Evidence) -> [Vector; 5] {
    let raw = evidence.capabilities & (1 << NET_RAW) != 0;
    let open = match (&evidence.frames, evidence.running) {
        (_, false) => {
            Some("the container does not run, so there is nothing to guard yet".to_owned())
        }
        (None, true) => Some("the container's interfaces are not known".to_owned()),
        (Some(guards), true) => guards.iter().find_map(|g| g.missing.clone()),
    };
    let guarded = || {
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
    };
    const DROP: &str = "run the container with --cap-drop NET_RAW";
    let vector = |vector, covered, by| Vector {
        vector,
        covered,
        by,
    };
    let no_raw = || "the container has no CAP_NET_RAW".to_owned();
    [
        match &open {
            _ if !raw => vector(RAW_FRAMES, true, no_raw()),
            None => vector(RAW_FRAMES, true, guarded()),
            Some(why) => vector(RAW_FRAMES, false, format!("{why}; attach again, or {DROP}")),
        },
        if raw {
            let by = format!(
                "the frame programs end with the veth, and CAP_NET_RAW stays; attach again after each restart, or {DROP}"
            );
            vector(RAW_FRAMES_LATER, false, by)
        } else {
            vector(RAW_FRAMES_LATER, true, no_raw())
        },
        match &open {
            None => vector(LINK_SIGNALS, true, guarded()),
            Some(why) => vector(LINK_SIGNALS, false, format!("{why}; attach again")),
        },
        match &evidence.frames {
            Some(guards) if guards.is_empty() && evidence.running => {
                vector(LINK_SIGNALS_LATER, true, guarded())
            }
            _ => {
                let by = "the frame programs end with the veth; attach again after each restart";
                vector(LINK_SIGNALS_LATER, false, by.to_owned())
            }
        },
        vector(
            HOST_SOCKETS,
            false,
            "only a BPF LSM layer could refuse them, and airgap has none yet".to_owned(),
        ),
    ]
}

const RAW_FRAMES_LATER: &str = "raw frames after a restart";
const LINK_SIGNALS_LATER: &str = "link signals after a restart";
/// No network, but ways to the host's hypervisor and to its audit log.
const HOST_SOCKETS: &str = "host sockets (AF_VSOCK, netlink audit)";

#[cfg(test)]
mod tests {
    use super::{
        Evidence, HOST_SOCKETS, LINK_SIGNALS, LINK_SIGNALS_LATER, RAW_FRAMES, RAW_FRAMES_LATER,
        coverage,
    };
    use crate::{
        container::{HostEnd, Interface},
        gate::FrameGuard,
    };

    fn uncovered(evidence: &Evidence) -> Vec<&'static str> {
        coverage(evidence)
            .into_iter()
            .filter(|v| !v.covered)
            .map(|v| v.vector)
            .collect()
    }

    /// Open on every veth without LSM.
    const ALWAYS: [&str; 2] = [LINK_SIGNALS_LATER, HOST_SOCKETS];

    fn guard(missing: Option<&str>) -> FrameGuard {
        FrameGuard {
            interface: Interface {
                name: "eth0".into(),
                host: Some(HostEnd {
                    name: "veth1".into(),
                    index: 9,
                }),
            },
            missing: missing.map(Into::into),
        }
    }

    fn good() -> Evidence {
        Evidence {
            running: true,
            marked: true,
            frames: Some(vec![guard(None)]),
            ..Evidence::default()
        }
    }

    #[test]
    fn all_in_force_is_covered() {
        assert_eq!(uncovered(&good()), ALWAYS);
        let only_lo = Evidence {
            frames: Some(vec![]),
            ..good()
        };
        assert_eq!(uncovered(&only_lo), [HOST_SOCKETS]);
    }

    #[test]
    fn frames_are_guarded_until_the_veth_ends() {
        let raw = Evidence {
            capabilities: 1 << 13,
            ..good()
        };
        assert_eq!(uncovered(&raw), [RAW_FRAMES_LATER, ALWAYS[0], ALWAYS[1]]);
        let gone = Some(vec![guard(None), guard(Some("nothing guards eth1"))]);
        let evidence = Evidence {
            frames: gone.clone(),
            ..raw.clone()
        };
        assert_eq!(
            uncovered(&evidence),
            [
                RAW_FRAMES,
                RAW_FRAMES_LATER,
                LINK_SIGNALS,
                ALWAYS[0],
                ALWAYS[1]
            ]
        );
        assert_eq!(
            uncovered(&Evidence {
                frames: gone,
                ..good()
            }),
            [LINK_SIGNALS, ALWAYS[0], ALWAYS[1]]
        );
        assert_eq!(
            uncovered(&Evidence {
                frames: None,
                ..good()
            }),
            [LINK_SIGNALS, ALWAYS[0], ALWAYS[1]]
        );
        assert_eq!(
            uncovered(&Evidence {
                running: false,
                ..good()
            }),
            [LINK_SIGNALS, ALWAYS[0], ALWAYS[1]]
        );
    }

    #[test]
    fn a_dead_link_uncovers_its_vectors() {
        let evidence = Evidence {
            broken_links: vec!["cgroup_mkdir: its pin is gone".into()],
            ..good()
        };
        assert_eq!(
            uncovered(&evidence),
            ["restart of the container", ALWAYS[0], ALWAYS[1]]
        );
        let evidence = Evidence {
            missing_hooks: vec!["egress".into()],
            ..good()
        };
        assert_eq!(uncovered(&evidence).len(), 9);
    }

    #[test]
    fn an_unmarked_cgroup_is_not_covered() {
        let evidence = Evidence {
            marked: false,
            ..good()
        };
        assert_eq!(uncovered(&evidence).len(), 9);
    }
}
