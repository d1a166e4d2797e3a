mod states;

use super::*;
use crate::{
    container::{HostEnd, Interface},
    gate::{Mechanism, Silence},
};

fn uncovered(evidence: &Evidence) -> Vec<&'static str> {
    coverage(evidence)
        .into_iter()
        .filter(|v| !v.covered)
        .map(|v| v.vector)
        .collect()
}

fn guard(missing: Option<&str>) -> FrameGuard {
    FrameGuard {
        interface: Interface {
            name: "eth0".into(),
            host: Some(HostEnd {
                name: "veth1".into(),
                index: 9,
                native_xdp: false,
                mac: None,
                addresses: Vec::new(),
                prefixes: Vec::new(),
            }),
        },
        missing: missing.map(Into::into),
        clear: None,
        misroutes: false,
    }
}

/// A kernel without LSM, a veth that is guarded, no CAP_NET_RAW.
fn good() -> Evidence {
    Evidence {
        running: true,
        marked: true,
        frames: Some(vec![guard(None)]),
        shared: Some(vec![]),
        ..Evidence::default()
    }
}

#[test]
fn a_new_veth_that_udev_has_guarded_answers_no_probes() {
    let with = |arrivals, evidence: Evidence| Evidence {
        arrivals,
        frame_layer: true,
        ..evidence
    };
    let guarded = with(Arrivals::Guarded, with_lsm());
    assert_eq!(uncovered(&guarded), [""; 0]);
    assert_eq!(state(&guarded), SealState::Sealed);
    // What the container may do before the guard stands stays named.
    let bare = with(Arrivals::Guarded, with_raw());
    let open = [RAW_FRAMES_LATER, JOINS_LATER, HOST_SOCKETS];
    assert_eq!(uncovered(&bare), open);
    for arrivals in [Arrivals::Unguarded, Arrivals::NoUdev] {
        let evidence = with(arrivals, with_lsm());
        assert_eq!(uncovered(&evidence), [PROBES_LATER]);
        let rows = coverage(&evidence);
        let row = rows.iter().find(|row| row.vector == PROBES_LATER).unwrap();
        let mend = row.mend.as_deref().unwrap();
        assert_eq!(mend == "airgap install", arrivals == Arrivals::Unguarded);
    }
    // An interface that has no end here, and a kernel without a frame layer.
    let mut macvlan = guard(Some("eth0 is no veth"));
    macvlan.interface.host = None;
    let elsewhere = Evidence {
        frames: Some(vec![macvlan]),
        ..guarded.clone()
    };
    assert!(uncovered(&elsewhere).contains(&PROBES_LATER));
    let bare = Evidence {
        frame_layer: false,
        ..guarded
    };
    assert!(uncovered(&bare).contains(&PROBES_LATER));
}

fn with_raw() -> Evidence {
    Evidence {
        capabilities: 1 << NET_RAW,
        ..good()
    }
}

fn with_lsm() -> Evidence {
    Evidence {
        security: Security::InForce(Mechanism::BpfLsm),
        ..with_raw()
    }
}

#[test]
fn what_starts_elsewhere_is_open_where_nothing_denies_it() {
    let silent = Evidence {
        silent_apart: true,
        ..with_lsm()
    };
    assert!(uncovered(&silent).contains(&RESTART));
    assert!(!uncovered(&with_lsm()).contains(&RESTART));
}

/// Open on every veth without LSM.
const ALWAYS: [&str; 3] = [JOINS_LATER, PROBES_LATER, HOST_SOCKETS];

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
    assert_eq!(
        uncovered(&with_raw()),
        [RAW_FRAMES_LATER, JOINS_LATER, PROBES_LATER, HOST_SOCKETS]
    );
    let gone = Some(vec![guard(None), guard(Some("nothing guards eth1"))]);
    for (frames, running) in [(gone, true), (None, true), (good().frames, false)] {
        let evidence = Evidence {
            frames,
            running,
            ..with_raw()
        };
        assert_eq!(
            uncovered(&evidence),
            [
                RAW_FRAMES,
                RAW_FRAMES_LATER,
                JOINS,
                JOINS_LATER,
                PROBES,
                PROBES_LATER,
                HOST_SOCKETS
            ]
        );
        let no_raw = Evidence {
            capabilities: 0,
            ..evidence
        };
        assert_eq!(
            uncovered(&no_raw),
            [JOINS, JOINS_LATER, PROBES, PROBES_LATER, HOST_SOCKETS]
        );
    }
}

#[test]
fn the_security_hooks_outlive_the_veth() {
    assert_eq!(uncovered(&with_lsm()), [PROBES_LATER]);
    let older = Evidence {
        frames: Some(vec![guard(Some("nothing guards eth0"))]),
        ..with_lsm()
    };
    // An AF_XDP socket may be older than the seal, and a joined group, which is left by closing.
    assert_eq!(uncovered(&older), [RAW_FRAMES, JOINS, PROBES, PROBES_LATER]);
    let born = Evidence {
        born_sealed: true,
        ..older.clone()
    };
    assert_eq!(uncovered(&born), [PROBES, PROBES_LATER]);
    let stopped = Evidence {
        running: false,
        ..older
    };
    assert_eq!(uncovered(&stopped), [PROBES, PROBES_LATER]);
}

#[test]
fn without_the_hooks_a_shared_mount_is_a_way_out() {
    for shared in [None, Some(vec!["/data is mounted".to_owned()])] {
        let evidence = Evidence { shared, ..good() };
        assert_eq!(
            uncovered(&evidence),
            [JOINS_LATER, PROBES_LATER, HOST_SOCKETS, OTHERS, SERVED]
        );
    }
}

#[test]
fn with_the_hooks_only_what_is_older_or_comes_in_is_open_there() {
    let shared = Evidence {
        shared: Some(vec!["/data is mounted".into()]),
        ..with_lsm()
    };
    assert_eq!(uncovered(&shared), [PROBES_LATER, OTHERS, SERVED]);
    let born = Evidence {
        born_sealed: true,
        ..shared
    };
    assert_eq!(uncovered(&born), [PROBES_LATER, SERVED]);
}

#[test]
fn a_dead_link_uncovers_its_vectors() {
    let evidence = Evidence {
        broken_links: vec!["cgroup_mkdir: its pin is gone".into()],
        ..with_lsm()
    };
    assert_eq!(
        uncovered(&evidence),
        ["restart of the container", PROBES_LATER]
    );
    let evidence = Evidence {
        missing_hooks: vec!["egress".into()],
        ..with_lsm()
    };
    assert_eq!(uncovered(&evidence).len(), 7 + 1);
}

#[test]
fn an_unmarked_cgroup_is_not_covered() {
    let evidence = Evidence {
        marked: false,
        ..with_lsm()
    };
    assert_eq!(uncovered(&evidence).len(), 7 + 1);
}

fn ways(evidence: &Evidence, when: When) -> Vec<&'static str> {
    let open = coverage(evidence).into_iter().filter(|v| !v.covered);
    open.filter(|v| v.when == when).map(|v| v.vector).collect()
}

fn state(evidence: &Evidence) -> SealState {
    SealState::of(&coverage(evidence), false)
}

#[test]
fn a_hole_of_now_is_told_from_a_limit() {
    // Guarded: all that is open is later, or no network.
    assert_eq!(ways(&with_raw(), When::Now), [""; 0]);
    assert_eq!(ways(&with_raw(), When::Never), [HOST_SOCKETS]);
    assert_eq!(state(&with_raw()), SealState::Limited);
    // A live veth without its guard.
    let bare = Evidence {
        frames: Some(vec![guard(Some("nothing guards eth0"))]),
        frame_layer: true,
        name: "web".into(),
        ..with_raw()
    };
    assert_eq!(ways(&bare, When::Now), [RAW_FRAMES, JOINS, PROBES]);
    assert_eq!(state(&bare), SealState::Opened);
    let line = summary(SealState::Opened, &coverage(&bare), &[], 0, "web");
    assert!(line.ends_with("run: airgap attach web"), "{line}");
    // Never advice that cannot help: what is in the way comes first.
    let taken = Evidence {
        frames: Some(vec![FrameGuard {
            clear: Some("tc qdisc del dev veth1 ingress".into()),
            ..guard(Some(
                "an `ingress` queueing discipline of somebody else's on veth1",
            ))
        }]),
        ..bare
    };
    let line = summary(SealState::Opened, &coverage(&taken), &[], 0, "web");
    let mend = "run: tc qdisc del dev veth1 ingress; airgap attach web";
    assert!(line.ends_with(mend), "{line}");
    // What could not be looked at is treated as open.
    for unknown in [
        Evidence {
            frames: None,
            ..with_raw()
        },
        Evidence {
            shared: None,
            ..good()
        },
    ] {
        assert_eq!(state(&unknown), SealState::Opened);
        let told = coverage(&unknown);
        let told = told
            .iter()
            .any(|v| v.by.contains("not known, treated as open"));
        assert!(told, "{unknown:?}");
    }
    // What does not run sends nothing now.
    let stopped = Evidence {
        running: false,
        frames: None,
        ..with_raw()
    };
    assert_eq!(state(&stopped), SealState::Limited);
}

#[test]
fn a_connection_that_is_held_is_a_hole_without_the_hooks() {
    let held = Evidence {
        held: vec!["its process 'x' (7) is connected".into()],
        ..good()
    };
    assert_eq!(ways(&held, When::Now), [OTHERS]);
    let hooked = Evidence {
        security: Security::InForce(Mechanism::ModifyReturn),
        ..held
    };
    assert_eq!(ways(&hooked, When::Now), [""; 0]);
}

#[test]
fn advice_that_cannot_help_is_not_given() {
    let bare = |host: bool, frame_layer| {
        let mut one = guard(Some("bare"));
        if !host {
            one.interface.host = None;
        }
        let evidence = Evidence {
            frames: Some(vec![one]),
            frame_layer,
            ..with_raw()
        };
        let mends = coverage(&evidence).into_iter().filter(Vector::is_open_now);
        mends.filter_map(|v| v.mend).collect::<Vec<_>>()
    };
    assert_eq!(bare(true, true).len(), 3);
    const DROP: &str = "run the container with --cap-drop NET_RAW";
    // A macvlan, a tap; a kernel without a frame layer.
    assert_eq!(bare(false, true), [DROP]);
    assert_eq!(bare(true, false), [DROP]);
    // Nor for what comes later.
    let mut macvlan = guard(Some("eth0 is no veth"));
    macvlan.interface.host = None;
    let evidence = Evidence {
        frames: Some(vec![macvlan]),
        ..with_raw()
    };
    for vector in coverage(&evidence) {
        let mend = vector.mend.unwrap_or_default();
        assert!(
            !mend.starts_with("airgap attach"),
            "{}: {mend}",
            vector.vector
        );
    }
}
