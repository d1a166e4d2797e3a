//! What is not as it should be.

use super::*;

#[test]
fn after_a_restart_without_hooks_line_one_names_the_hole_and_the_cure() {
    let mut report = sealed(&evidence(false));
    report.opened_since = Some(86_400);
    let text = super::report(&report, Detail::default(), false);
    let first = "web (0123456789ab)  SEALED, OPENED  can leave now: hand-made frames, multicast announcements, answers to probes; run: airgap attach web; since 1970-01-02T00:00:00Z\n";
    assert!(text.starts_with(first), "{text}");
    let effect = "  open      a root process inside can send hand-made frames to the local network; do: airgap attach web\n";
    assert!(text.contains(effect), "{text}");
    for hook in ["connect4", "cgroup_mkdir", "links"] {
        assert!(!text.contains(hook), "{hook}: {text}");
    }
}

#[test]
fn hooks_that_fell_silent_are_the_hole_and_the_cure_of_line_one() {
    let silent = Evidence {
        security: Security::Silent(Silence::FtraceOff),
        ..evidence(true)
    };
    let text = report(&sealed(&silent), Detail::default(), false);
    let first = "web (0123456789ab)  SEALED, OPENED  can leave now: sockets that only security hooks refuse; run: sysctl kernel.ftrace_enabled=1\n";
    assert!(text.starts_with(first), "{text}");
    let effect = "  open      a process inside can open sockets to this host and to others that the security hooks would refuse, and keep them; do: sysctl kernel.ftrace_enabled=1\n";
    assert!(text.contains(effect), "{text}");
    let later = "after a restart, a root process inside could send hand-made frames to the local network; do: sysctl kernel.ftrace_enabled=1\n";
    assert!(text.contains(later), "{text}");
    assert!(!text.contains("airgap attach"), "{text}");
}

#[test]
fn a_container_that_does_not_run_is_open_from_its_next_start() {
    let stopped = Evidence {
        running: false,
        frames: None,
        ..evidence(true)
    };
    let mut report = sealed(&stopped);
    report.running = false;
    let text = super::report(&report, FRESH, false);
    let first = "web (0123456789ab)  SEALED, LIMITED  nothing but answers to its clients leaves now; its next start and a reboot of this host may open it; host sockets, which are no network, are not refused here\n";
    assert!(text.starts_with(first), "{text}");
    assert!(text.lines().count() <= 8, "{text}");
}

#[test]
fn what_is_not_in_force_claims_nothing() {
    let entry = Entry::Unreadable {
        id: "ab".repeat(32),
        why: "test".into(),
    };
    let text = report(&Report::of_entry(&entry), Detail::default(), false);
    for claim in ["answers", "shut", "since", "refused"] {
        assert!(!text.contains(claim), "{claim}: {text}");
    }
    assert!(
        text.starts_with("? (abababababab)  NOT SEALED  recorded, but not in force"),
        "{text}"
    );
}
