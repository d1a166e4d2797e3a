//! Unix sockets, of others and its own: who can be reached by them.

use super::{Evidence, NO_PLACE, OTHERS, SERVED, Vector, now, silence, unhooked};

/// Unix sockets of others, and what is passed over them: only the security
/// hooks see them, but without a place to meet there is none.
pub(super) fn others(evidence: &Evidence, nothing_older: bool) -> Vector {
    let when = now(evidence);
    let hooks = evidence.security.in_force();
    match (evidence.shared.as_deref(), hooks) {
        (Some([]), Some(_)) => Vector::covered(OTHERS, when, NO_PLACE),
        (Some([]), None) if evidence.held.is_empty() => Vector::covered(OTHERS, when, NO_PLACE),
        (_, Some(hooks)) if nothing_older => {
            let by = format!(
                "unix_stream_connect, unix_may_send, file_receive ({})",
                hooks.name()
            );
            Vector::covered(OTHERS, when, by)
        }
        (shared, _) => {
            let found = places(shared) + &places(Some(&evidence.held));
            // One may be in a queue or a ring, where nobody can look.
            let (why, mend) = if hooks.is_some() {
                let why = "a connection that is older than the seal may be hidden";
                (why, Some(format!("docker restart {}", evidence.name)))
            } else {
                let mend = silence(evidence.security).map(|s| s.mend(&evidence.name));
                (unhooked(evidence), mend)
            };
            Vector::open(OTHERS, when, format!("{found}{why}"), mend)
        }
    }
}

/// Whoever connects to a unix socket of the container is a client, and what is
/// answered leaves: no list of clients limits them.
pub(super) fn served(evidence: &Evidence) -> Vector {
    let when = now(evidence);
    match evidence.shared.as_deref() {
        Some([]) => Vector::covered(SERVED, when, NO_PLACE),
        shared => {
            let why = "whoever can reach a socket there may connect, and is an exit";
            Vector::open(SERVED, when, format!("{}{why}", places(shared)), None)
        }
    }
}

pub(super) fn places(shared: Option<&[String]>) -> String {
    let Some(shared) = shared else {
        return "not known, treated as open: what it shares; ".to_owned();
    };
    shared.iter().map(|place| format!("{place}; ")).collect()
}
