use super::*;
use crate::container::{HostEnd, Interface};

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
            }),
        },
        missing: missing.map(Into::into),
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

fn with_raw() -> Evidence {
    Evidence {
        capabilities: 1 << NET_RAW,
        ..good()
    }
}

fn with_lsm() -> Evidence {
    Evidence {
        lsm: true,
        ..with_raw()
    }
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
