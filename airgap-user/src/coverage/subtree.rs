//! The ways out of a subtree of the cgroup tree: it has the host's network, so that there is
//! no veth to guard, and what it may do is its user's and its unit's.

use super::{
    Evidence, FILES, HOST_SOCKETS, JOINS_LATER, NO_RAW_TASK, OPTION, OTHERS, PROBES, PROBES_LATER,
    RAW_FRAMES_LATER, SERVED, Vector, When, now, places, silence, unhooked,
};
use crate::{
    preflight::NET_RAW,
    technique::vector::{JOINS, RAW_FRAMES},
};

const HOST: &str = "the host's own kernel answers; by which ports it listens on";
const REACHED: &str = "whoever can reach a unix socket that it serves on may connect";
const MEETS: &str = "it may write where others of this host read: files, pipes, shared memory";
const BOUND: &str = "CapabilityBoundingSet= without CAP_NET_RAW";

/// Judges the evidence of a subtree. Pure.
pub(super) fn vectors(evidence: &Evidence) -> Vec<Vector> {
    let raw = evidence.capabilities & (1 << NET_RAW) != 0;
    let now = now(evidence);
    let hooks = evidence.security.in_force();
    let nothing_older = evidence.born_sealed || !evidence.running;
    let refused = |names: &str| Some(format!("{names} ({})", hooks?.name()));
    let either = |vector, when, by: Option<String>, otherwise: Option<&str>| match by {
        Some(by) => Vector::covered(vector, when, by),
        None => {
            let mend = silence(evidence.security).map(|s| s.mend(&evidence.name));
            let mend = mend.or_else(|| otherwise.map(str::to_owned));
            Vector::open(vector, when, unhooked(evidence), mend)
        }
    };
    let sockets = || refused("socket_create, socket_sendmsg");
    vec![
        match raw {
            // Whoever has no right to one now may have one from before.
            false if nothing_older => Vector::covered(RAW_FRAMES, now, NO_RAW_TASK),
            // An AF_XDP socket that was there before sends by poll, past every hook.
            _ => either(
                RAW_FRAMES,
                now,
                sockets().filter(|_| nothing_older),
                Some(BOUND),
            ),
        },
        either(RAW_FRAMES_LATER, When::Later, sockets(), Some(BOUND)),
        // A group that was joined before is announced by leaving it: close(), no option.
        either(JOINS, now, refused(OPTION).filter(|_| nothing_older), None),
        either(JOINS_LATER, When::Later, refused(OPTION), None),
        probes(PROBES, now),
        probes(PROBES_LATER, When::Later),
        either(HOST_SOCKETS, When::Never, refused("socket_create"), None),
        others(evidence, nothing_older),
        Vector::open(SERVED, now, REACHED, None),
        Vector::open(FILES, When::Later, MEETS, None),
    ]
}

/// What is open of them shows whether it listens on a port.
fn probes(vector: &'static str, when: When) -> Vector {
    Vector {
        effect: Some("by this host's answers to knocks at its ports it can tell whoever knocks about a bit each".into()),
        ..Vector::open(vector, when, HOST, None)
    }
}

/// Unix sockets of others: the whole host is a place to meet.
fn others(evidence: &Evidence, nothing_older: bool) -> Vector {
    let when = now(evidence);
    match evidence.security.in_force() {
        Some(hooks) if nothing_older || evidence.held.is_empty() => {
            let names = "unix_stream_connect, unix_may_send, file_receive";
            Vector::covered(OTHERS, when, format!("{names} ({})", hooks.name()))
        }
        hooks => {
            let held = places(Some(&evidence.held));
            let why = match hooks {
                Some(_) => "these are older than the seal",
                None => unhooked(evidence),
            };
            let mend = silence(evidence.security).map(|s| s.mend(&evidence.name));
            Vector::open(OTHERS, when, format!("{held}{why}"), mend)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        coverage::coverage,
        gate::{Mechanism, Security},
    };

    fn open(running: bool, capabilities: u64, security: Security) -> Vec<&'static str> {
        let evidence = Evidence {
            running,
            marked: true,
            capabilities,
            security,
            subtree: true,
            ..Evidence::default()
        };
        let all = coverage(&evidence);
        let open = all.iter().filter(|vector| vector.is_open_now());
        open.map(|vector| vector.vector).collect()
    }

    #[test]
    fn what_is_not_closed_is_named() {
        let none = Security::Absent;
        let hooks = Security::InForce(Mechanism::BpfLsm);
        for capabilities in [0, 1 << NET_RAW] {
            assert_eq!(
                open(true, capabilities, none),
                [RAW_FRAMES, JOINS, PROBES, OTHERS, SERVED]
            );
        }
        // What was joined before the seal is announced by its end; and who has no right to
        // packet sockets now may have one from before.
        assert_eq!(open(true, 0, hooks), [RAW_FRAMES, JOINS, PROBES, SERVED]);
        assert_eq!(open(false, u64::MAX, none), [""; 0]);
    }
}
