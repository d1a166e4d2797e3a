mod broken;

use super::*;
use crate::seal::Existing;
use crate::{
    container::{HostEnd, Interface},
    coverage::{CONFIGURATION, Evidence, SealState, Vector, coverage},
    gate::{FrameGuard, Mechanism, Security, Silence},
    output::text,
    preflight::NET_RAW,
    seal::{Check, ExitRow, Row},
    state::Entry,
};

/// An ordinary container, on a kernel without security hooks, on a host that restores
/// nothing at boot.
fn evidence(guarded: bool) -> Evidence {
    let guard = FrameGuard {
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
        missing: (!guarded).then(|| "nothing guards eth0 on the host's side, veth1".into()),
        clear: None,
        misroutes: false,
    };
    Evidence {
        name: "web".into(),
        frame_layer: true,
        capabilities: 1 << NET_RAW,
        running: true,
        marked: true,
        frames: Some(vec![guard]),
        shared: Some(vec![]),
        ..Evidence::default()
    }
}

fn sealed(evidence: &Evidence) -> Report {
    let entry = Entry::Unreadable {
        id: "0123456789ab".repeat(5) + "0123",
        why: "test".into(),
    };
    let mut report = Report::of_entry(&entry);
    report.problems.clear();
    report.clients.clear();
    report.container.name = "web".into();
    report.seal = 3;
    report.links = 9;
    report.running = true;
    report.ports = vec!["5060/tcp".into()];
    report.coverage = coverage(evidence);
    let configured = "nothing found that leads around the seal";
    report
        .coverage
        .push(Vector::covered(CONFIGURATION, When::Now, configured));
    report.reboot = "recorded, but nothing runs airgap restore at boot: airgap install".into();
    report.coverage.push(Report::opened_by_reboot(
        report.reboot.clone(),
        "airgap install".into(),
    ));
    report.set_state(SealState::of(&report.coverage, false));
    report
}

const FRESH: Detail = Detail {
    fresh: true,
    explain: false,
    verbose: false,
};

const ATTACHED: &str = "\
web (0123456789ab)  SEALED, LIMITED  nothing but answers to its clients leaves now; its next restart and a reboot of this host may open it; host sockets, which are no network, are not refused here
  answers   5060/tcp (the default, as no -p was given) to ANY client (each is an exit; --from CIDR limits them)
  shut      connections, datagrams, names that are looked up, and 8 ways more (status --explain)
  later     after a restart, a root process inside could send hand-made frames to the local network until you run: airgap attach web (it changes nothing else; a running airgap watch does so itself)
  later     a reboot of this host opens it; do: airgap install
  more      all of it in full: airgap status --explain web
";

#[test]
fn an_ordinary_attach_is_eight_lines_at_most() {
    let mut report = sealed(&evidence(true));
    report.ports_by_default = true;
    let text = super::report(&report, FRESH, false);
    assert_eq!(text, ATTACHED);
    // With sockets that were cut, and with all that can be open.
    report.existing = vec![Existing {
        kind: "tcp",
        local: None,
        peer: None,
        container: None,
        pid: None,
        name: None,
        to: None,
        action: "cut",
    }];
    assert!(super::report(&report, FRESH, false).lines().count() <= 8);
    report.coverage = sealed(&evidence(false)).coverage;
    report.set_state(SealState::Opened);
    let text = super::report(&report, FRESH, false);
    assert!(text.lines().count() <= 8, "{text}");
    assert!(text.contains("1 more open ways, and all of it"), "{text}");
}

#[test]
fn who_may_take_a_client_s_place_is_said_as_it_is() {
    let mut report = sealed(&evidence(true));
    report.clients = vec!["198.51.100.9/32".into()];
    let judged = super::report(&report, FRESH, false);
    assert!(
        judged.contains("pose as one that is there, too"),
        "{judged}"
    );
    report.misroutes = true;
    let not = super::report(&report, FRESH, false);
    assert!(not.contains("or take what goes to them"), "{not}");
}

#[test]
fn exceptions_say_what_they_open_and_how_they_were_used() {
    let exit = |to: &str, state| ExitRow {
        addresses: vec![],
        held_until: None,
        looked_after: None,
        why: None,
        open_after_end: vec![],
        to: to.into(),
        state,
        opens: "anything over TCP on that port, and its answers".into(),
        ends: None,
        reason: None,
        connections: 0,
        packets_out: 0,
        bytes_out: 0,
        packets_in: 0,
        bytes_in: 0,
        refused_after_end: 0,
        last_used: None,
    };
    let mut report = sealed(&evidence(true));
    report.exits = vec![
        ExitRow {
            connections: 1,
            packets_out: 5,
            bytes_out: 12,
            packets_in: 4,
            bytes_in: 1,
            last_used: Some(60),
            ..exit("198.51.100.10:443/tcp", "in-force")
        },
        ExitRow {
            ends: Some(3600),
            reason: Some("ticket 42\u{1b}[31m".into()),
            refused_after_end: 2,
            open_after_end: (1..=5).map(|n| ([198, 51, 100, n], 443).into()).collect(),
            ..exit("198.51.100.11:443/tcp", "ended")
        },
        exit("[2001:db8::/48]:443/tcp", "closed"),
    ];
    report.set_state(SealState::ExceptionClosed);
    assert_eq!(report.code(), 4);
    let text = super::report(&report, Detail::default(), false);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].contains("SEALED, EXCEPTION CLOSED  an exception is not in force"),
        "{text}"
    );
    assert_eq!(
        lines[2..8],
        [
            "  exits     198.51.100.10:443/tcp  IN FORCE: anything over TCP on that port, and its answers",
            "              1 connection, 5 packets of 12 bytes out, 4 packets of 1 byte in, last 1970-01-01T00:01:00Z",
            "            198.51.100.11:443/tcp  ENDED at 1970-01-01T01:00:00Z: new ones are refused (ticket 42\\x1b[31m)",
            "              2 refused after its end",
            "              still connected to 198.51.100.1:443, 198.51.100.2:443, 198.51.100.3:443 and 2 more: that goes on until one side closes (airgap disallow cuts)",
            "            [2001:db8::/48]:443/tcp  CLOSED: it is recorded, and not in force",
        ],
        "{text}"
    );
    assert!(
        lines[8].starts_with("  shut      but for these exits: connections"),
        "{text}"
    );
    // Names have addresses, or a reason why not.
    report.exits = vec![
        ExitRow {
            addresses: vec!["198.51.100.3".into(), "2001:db8::3".into()],
            held_until: Some(60),
            looked_after: Some(false),
            ..exit("container:db:5432/tcp", "in-force")
        },
        ExitRow {
            why: Some("'mail' has ended".into()),
            ..exit("container:mail:25/tcp", "closed")
        },
        exit("198.51.100.10:443/tcp", "in-force"),
    ];
    report.set_state(SealState::ExceptionClosed);
    let text = super::report(&report, FRESH, false);
    for part in [
        "EXCEPTION CLOSED  container:mail:25/tcp is shut: 'mail' has ended; run: airgap attach web",
        "container:db:5432/tcp  IN FORCE: anything over TCP on that port, and its answers; at 198.51.100.3, 2001:db8::3 until 1970-01-01T00:01:00Z, and nobody looks again: run airgap watch",
        "container:mail:25/tcp  CLOSED: 'mail' has ended",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    report.exits.reverse();
    // Without counts right after an attach, and with how many in line one.
    report.exits.truncate(1);
    report.set_state(SealState::Limited);
    let text = super::report(&report, FRESH, false);
    assert!(
        text.contains("nothing leaves now but answers to its clients, and by 1 exception;"),
        "{text}"
    );
    assert!(!text.contains("1 connection,"), "{text}");
}

#[test]
fn a_status_says_the_aim_first_and_its_numbers_add_up() {
    let mut report = sealed(&evidence(true));
    report.denials = Denials {
        total: 7,
        by_reason: vec![
            ("egress", 1),
            ("dns", 2),
            ("socket-type", 4),
            ("inbound", 3),
            ("kernel-chatter", 1),
        ],
        by_verify: 90,
    };
    assert_eq!(
        super::report(&report, Detail::default(), false),
        "\
web (0123456789ab)  SEALED, LIMITED  nothing but answers to its clients leaves now; its next restart and a reboot of this host may open it; host sockets, which are no network, are not refused here
  answers   5060/tcp to ANY client (each is an exit; --from CIDR limits them)
  shut      connections, datagrams, names that are looked up, and 8 ways more (status --explain)
  sealed    1970-01-01T00:00:00Z
  refused   7 attempts (egress 1, dns 2, socket-type 4); clients refused (inbound): 3; kernel chatter: 1
  refused   90 more were tried by airgap verify itself
  later     after a restart, a root process inside could send hand-made frames to the local network until you run: airgap attach web (it changes nothing else; a running airgap watch does so itself)
  later     a reboot of this host opens it; do: airgap install
  more      all of it in full: airgap status --explain web
"
    );
}

#[test]
fn hooks_and_reasons_are_told_where_they_are_asked_for() {
    let report = sealed(&evidence(true));
    let verbose = Detail {
        verbose: true,
        ..Detail::default()
    };
    let text = super::report(&report, verbose, false);
    for part in [
        "  gate      9 links, read back from the kernel\n",
        "  covered   TCP connections: connect4, connect6, egress\n",
        "  limit     host sockets (AF_VSOCK, netlink audit): only security hooks",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let explain = Detail {
        explain: true,
        ..Detail::default()
    };
    let text = super::report(&report, explain, false);
    let full = "
later: raw frames after a restart
  what  after a restart, a root process inside could send hand-made frames to the local network
  why   the frame programs end with the veth, and CAP_NET_RAW stays
  do    airgap attach web
";
    assert!(text.contains(full), "{text}");
    let gaps = report.coverage.iter().filter(|v| !v.covered).count();
    assert_eq!(text.matches("\n  why   ").count(), gaps, "{text}");
}

#[test]
fn strings_of_a_container_drive_no_terminal() {
    let nasty = "w\x1b[2Jb\n";
    let mut evidence = evidence(false);
    evidence.name = nasty.into();
    evidence.shared = Some(vec![nasty.into()]);
    evidence.held = vec![nasty.into()];
    let mut report = sealed(&evidence);
    report.container.name = nasty.into();
    report.problems = vec![nasty.into()];
    report.labels_ignored = vec![nasty.into()];
    report.reboot = nasty.into();
    for state in SealState::ALL {
        report.set_state(state);
        for all in [false, true] {
            let detail = Detail {
                fresh: !all,
                explain: all,
                verbose: all,
            };
            let text = super::report(&report, detail, false);
            let drives = |c: char| c.is_control() && c != '\n';
            assert!(!text.contains(drives), "{text:?}");
            assert!(text.starts_with("w\\x1b[2Jb\\n (0123456789ab)"), "{text}");
        }
    }
}

#[test]
fn a_list_shows_the_same_states() {
    let row = |guarded| Row {
        report: sealed(&evidence(guarded)),
        gone: false,
        recorded_name: None,
        not_sealed: None,
        ended: false,
    };
    assert_eq!(
        text::list(&[row(true), row(false)], false),
        "\
NAME                      ID            STATE       PORTS                 CLIENTS                      DENIALS  SINCE
web                       0123456789ab  limited     5060/tcp              ANY (each is an exit)              0  1970-01-01T00:00:00Z
web                       0123456789ab  OPENED      5060/tcp              ANY (each is an exit)              0  1970-01-01T00:00:00Z
                                        can leave now: hand-made frames, multicast announcements, answers to probes; run: airgap attach web
limited: nothing that it chooses leaves now; what may open later, or was accepted: airgap status NAME
"
    );
    // What has ended for good is counted, and what is wrong with it is not passed over.
    let past = |broken: bool| {
        let mut row = Row {
            ended: true,
            ..row(false)
        };
        row.report.problems = vec!["a link is gone".into(); usize::from(broken)];
        row
    };
    let ended = [row(true), past(false), past(false), past(true)];
    let counted = text::list(&ended, false);
    assert_eq!(counted.matches("0123456789ab").count(), 2, "{counted}");
    let line = "and 2 ended tasks of Swarm, sealed until it removes them: airgap list --all\n";
    assert!(counted.ends_with(line), "{counted}");
    let all = text::list(&ended, true);
    assert_eq!(all.matches("0123456789ab").count(), 4, "{all}");
    let codes = ended
        .each_ref()
        .map(|row| row.code() == crate::failure::exit::OK);
    assert_eq!(codes, [true, true, true, false]);
}

#[test]
fn a_doctor_says_what_it_means_for_a_seal() {
    let checks = [
        Check {
            check: "kernel",
            state: "ok",
            seen: "6.18.5".into(),
            mend: None,
        },
        Check::without_hooks("the kernel said no"),
        Check::skipped_hooks(Mechanism::ModifyReturn),
        Check::silent_hooks(Silence::FtraceOff, true),
        Check::no_restore(),
    ];
    assert_eq!(
        text::doctor(&checks),
        "\
ok        kernel                            6.18.5
limited   security hooks                    a restart opens hand-made frames until the new veth is guarded; host sockets, and unix sockets of others in shared directories, are not refused: the kernel said no
                                            → boot a kernel that loads BPF LSM or fmod_ret programs, as Debian's from Linux 5.10 on do
limited   security hooks                    by fmod_ret, and this kernel preempts: it passes over a hook that a preempted thread is in, so that many threads get through at times, and what the hooks refuse counts as open
                                            → boot with bpf added to lsm= (the list is in /sys/kernel/security/lsm), on Linux 6.2 or newer, or with preempt=voluntary, before Linux 7.0
open      security hooks                    not in force now: kernel.ftrace_enabled is 0: the security hooks are attached, and the kernel does not call them
                                            → sysctl kernel.ftrace_enabled=1
limited   host reboot                       a reboot opens every seal: nothing runs airgap restore before the engine starts
                                            → airgap install
"
    );
}
