//! The ways out of a command: no veth to guard, and what keeps it in was put on it at its
//! start.

use super::{
    Evidence, FILES, HOST_SOCKETS, JOINS_LATER, OPTION, OTHERS, PROBES, PROBES_LATER,
    RAW_FRAMES_LATER, SERVED, Vector, When, silence, unhooked,
};
use crate::{
    command::Confined,
    technique::vector::{JOINS, RAW_FRAMES},
};

const NO_RIGHTS: &str = "it has no capability, and no way to one";
const FILTER: &str = "its seccomp filter";
const NO_UNIX: &str = "its seccomp filter lets it make pairs of unix sockets alone";
const ENDS: &str = "it does not start again";
const HOST: &str = "the host's own kernel answers; by which ports the command listens on";
const APART: &str = "its network is its own, and leads nowhere";
const LATER: &str = "what listened at its start is hidden, what came after is not";
const REACHED: &str = "whoever can reach a unix socket that it serves on may connect";

/// Judges the evidence of a command. Pure.
pub(super) fn vectors(evidence: &Evidence, confined: Confined) -> Vec<Vector> {
    let hooks = evidence.security.in_force();
    // Of what hooks or the filter refuse, whichever the command was started with.
    let refused = |names: &str| match hooks {
        _ if !confined.hooks => Some(FILTER.to_owned()),
        Some(hooks) => Some(format!("{names} ({})", hooks.name())),
        None => None,
    };
    let either = |vector, when, by: Option<String>| match by {
        Some(by) => Vector::covered(vector, when, by),
        None => {
            let mend = silence(evidence.security).map(|s| s.mend(&evidence.name));
            Vector::open(vector, when, unhooked(evidence), mend)
        }
    };
    vec![
        Vector::covered(RAW_FRAMES, When::Now, NO_RIGHTS),
        Vector::covered(RAW_FRAMES_LATER, When::Later, NO_RIGHTS),
        match confined.apart {
            true => Vector::covered(JOINS, When::Now, APART),
            false => either(JOINS, When::Now, refused(OPTION)),
        },
        Vector::covered(JOINS_LATER, When::Later, ENDS),
        match confined.apart {
            true => Vector::covered(PROBES, When::Now, APART),
            false => Vector::open(PROBES, When::Now, HOST, None),
        },
        Vector::covered(PROBES_LATER, When::Later, ENDS),
        either(HOST_SOCKETS, When::Never, refused("socket_create")),
        match hooks {
            _ if !confined.unix => Vector::covered(OTHERS, When::Now, NO_UNIX),
            Some(_) => {
                let names = "unix_stream_connect, unix_may_send, file_receive";
                either(OTHERS, When::Now, refused(names))
            }
            None if confined.hooks => either(OTHERS, When::Now, None),
            None => Vector::open(OTHERS, When::Now, LATER, None),
        },
        match confined.unix {
            false => Vector::covered(SERVED, When::Now, NO_UNIX),
            true => Vector::open(SERVED, When::Now, REACHED, None),
        },
        Vector::open(FILES, When::Later, "it runs as a user of this host", None),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        coverage::coverage,
        gate::{Mechanism, Security},
    };

    fn open(confined: Confined, security: Security) -> Vec<&'static str> {
        let evidence = Evidence {
            running: true,
            marked: true,
            security,
            command: Some(confined),
            ..Evidence::default()
        };
        let all = coverage(&evidence);
        all.iter()
            .filter(|vector| !vector.covered)
            .map(|vector| vector.vector)
            .collect()
    }

    #[test]
    fn what_is_not_closed_is_named() {
        let confined = |unix, hooks, apart| Confined { unix, hooks, apart };
        let in_force = Security::InForce(Mechanism::BpfLsm);
        let none = Security::Absent;
        assert_eq!(open(confined(false, false, true), none), [FILES]);
        assert_eq!(open(confined(false, false, false), none), [PROBES, FILES]);
        assert_eq!(
            open(confined(true, false, true), none),
            [OTHERS, SERVED, FILES]
        );
        assert_eq!(open(confined(true, true, true), in_force), [SERVED, FILES]);
        // Hooks that were there at its start and are gone: its filter left that to them.
        assert_eq!(
            open(confined(true, true, false), none),
            [JOINS, PROBES, HOST_SOCKETS, OTHERS, SERVED, FILES]
        );
    }
}
