//! Which vector is covered by what, for one container on this kernel, now.

use serde::Serialize;

use crate::preflight::NET_RAW;

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
        hooks("TCP connections", &["connect4", "connect6", "egress"]),
        hooks(
            "UDP datagrams",
            &["sendmsg4", "sendmsg6", "connect4", "connect6", "egress"],
        ),
        hooks(
            "DNS, embedded resolver included",
            &["connect4", "connect6", "sendmsg4", "sendmsg6", "egress"],
        ),
        hooks("raw, ping and other IP sockets", &["sock_create", "egress"]),
        hooks("replies that no client asked for", &["ingress", "egress"]),
        hooks("reflection over loopback", &["ingress", "egress"]),
        hooks(
            "restart of the container",
            &["cgroup_mkdir", "cgroup_release", "egress", "ingress"],
        ),
    ];
    let raw = evidence.capabilities & (1 << NET_RAW) != 0;
    vectors.push(Vector {
        vector: "raw frames (AF_PACKET, AF_XDP)",
        covered: !raw,
        by: if raw {
            "the container has CAP_NET_RAW and cgroup hooks do not see frames; \
             run it with --cap-drop NET_RAW"
                .into()
        } else {
            "the container has no CAP_NET_RAW".into()
        },
    });
    vectors
}

#[cfg(test)]
mod tests {
    use super::{Evidence, coverage};

    fn uncovered(evidence: &Evidence) -> Vec<&'static str> {
        coverage(evidence)
            .into_iter()
            .filter(|v| !v.covered)
            .map(|v| v.vector)
            .collect()
    }

    fn good() -> Evidence {
        Evidence {
            running: true,
            marked: true,
            ..Evidence::default()
        }
    }

    #[test]
    fn all_in_force_is_covered() {
        assert_eq!(uncovered(&good()), Vec::<&str>::new());
    }

    #[test]
    fn frames_are_open_with_net_raw() {
        let evidence = Evidence {
            capabilities: 1 << 13,
            ..good()
        };
        assert_eq!(uncovered(&evidence), ["raw frames (AF_PACKET, AF_XDP)"]);
    }

    #[test]
    fn a_dead_link_uncovers_its_vectors() {
        let evidence = Evidence {
            broken_links: vec!["cgroup_mkdir: its pin is gone".into()],
            ..good()
        };
        assert_eq!(uncovered(&evidence), ["restart of the container"]);
        let evidence = Evidence {
            missing_hooks: vec!["egress".into()],
            ..good()
        };
        assert_eq!(uncovered(&evidence).len(), 7);
    }

    #[test]
    fn an_unmarked_cgroup_is_not_covered() {
        let evidence = Evidence {
            marked: false,
            ..good()
        };
        assert_eq!(uncovered(&evidence).len(), 7);
    }
}
