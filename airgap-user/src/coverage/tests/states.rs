//! States, and hooks that are not called.

use super::*;

#[test]
fn states_have_their_exit_codes_and_a_line_each() {
    use SealState::{Broken, Gone, Limited, NotSealed, Opened, Sealed, Unknown};
    for (state, name, code) in [
        (Sealed, "sealed", 0),
        (Limited, "limited", 0),
        (Opened, "opened", 4),
        (Gone, "gone", 4),
        (NotSealed, "not-sealed", 3),
        (Broken, "broken", 3),
        (Unknown, "unknown", 3),
    ] {
        assert_eq!((state.name(), state.code()), (name, code));
        assert_eq!(serde_json::json!(state), name);
        assert!(!summary(state, &coverage(&good()), &[], 0, "web").is_empty());
    }
    assert_eq!(SealState::of(&[], false), Sealed);
    assert_eq!(SealState::of(&[], true), Limited);
    let other = [Vector::open(
        REBOOT,
        When::Later,
        "its record differs",
        None,
    )];
    let line = summary(Limited, &other, &[], 0, "web");
    assert!(!line.contains("may open"), "{line}");
    assert!(line.contains("after a reboot of this host"), "{line}");
    let line = summary(Limited, &[], &["log-driver"], 0, "web");
    assert_eq!(
        line,
        "nothing leaves now but answers to its clients, and by what was accepted: log-driver"
    );
}

#[test]
fn each_row_says_by_what_the_hooks_are_called() {
    for mechanism in [Mechanism::BpfLsm, Mechanism::ModifyReturn] {
        let evidence = Evidence {
            security: Security::InForce(mechanism),
            ..with_raw()
        };
        let told = coverage(&evidence);
        let by: Vec<_> = told.iter().filter(|v| v.by.ends_with(')')).collect();
        assert_eq!(by.len(), 3, "{by:#?}");
        let name = format!("({})", mechanism.name());
        assert!(by.iter().all(|v| v.by.ends_with(&name)), "{by:#?}");
    }
}

#[test]
fn hooks_that_are_not_called_are_a_hole_of_now() {
    let silent = Evidence {
        security: Security::Silent(Silence::FtraceOff),
        ..with_raw()
    };
    assert_eq!(ways(&silent, When::Now), [SILENT_HOOKS]);
    assert_eq!(state(&silent), SealState::Opened);
    let line = summary(SealState::Opened, &coverage(&silent), &[], 0, "web");
    assert_eq!(
        line,
        "can leave now: sockets that only security hooks refuse; run: sysctl kernel.ftrace_enabled=1"
    );
    // Every row that the hooks cover has the same mend.
    let told = coverage(&silent);
    let mends = |vector| {
        let row = told.iter().find(|v| v.vector == vector);
        row.and_then(|v| v.mend.clone())
    };
    for vector in [RAW_FRAMES_LATER, JOINS_LATER, HOST_SOCKETS] {
        assert_eq!(
            mends(vector).as_deref(),
            Some("sysctl kernel.ftrace_enabled=1"),
            "{vector}"
        );
    }
    // What does not run opens nothing.
    let stopped = Evidence {
        running: false,
        ..silent
    };
    assert_eq!(ways(&stopped, When::Now), [""; 0]);
    assert_eq!(state(&stopped), SealState::Limited);
}
