//! Promise: nothing leaves. Every technique works unsealed (the control) and, sealed, is refused
//! or dropped without one frame on the container's veth, the bridge or the outside.

use airgap_tests::airgap::seal;
use airgap_tests::services::PORTS;
use airgap_tests::{Attempt, Container, Frame, Outside, Tap, Verdict};
use std::time::Duration;

/// How far a technique gets without a seal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Recorded outside.
    Outside,
    /// Recorded on the container's link; something else stops it there.
    Link,
}
use Reach::{Link, Outside as Out};

/// What a sealed attempt must come back with.
#[derive(Clone, Copy)]
enum Sealed {
    /// The call fails at once with this errno.
    Errno(i32),
    /// The call may succeed; the packet is dropped.
    Dropped,
}
use Sealed::{Dropped, Errno};

const EPERM: Sealed = Errno(libc::EPERM);
const NO_PROTOCOL: Sealed = Errno(libc::EPROTONOSUPPORT);

/// Technique, how far it gets unsealed, what a seal makes of it.
const TABLE: &[(&str, Reach, Sealed)] = &[
    ("tcp4", Out, EPERM),
    ("tcp6", Out, EPERM),
    ("tcp-mapped", Out, EPERM),
    ("tcp4-nonblocking", Out, EPERM),
    ("tcp4-fastopen", Out, EPERM),
    ("tcp6-fastopen", Out, EPERM),
    ("tcp4-fastopen-connect", Out, EPERM),
    ("tcp4-sport5060", Out, EPERM),
    ("tcp6-sport5060", Out, EPERM),
    ("tcp4-bindtodevice", Out, EPERM),
    ("tcp4-listener", Out, EPERM),
    ("tcp4-accepted", Out, EPERM),
    ("tcp4-gateway", Link, EPERM),
    ("mptcp4", Out, NO_PROTOCOL),
    ("mptcp6", Out, NO_PROTOCOL),
    ("udp4", Out, EPERM),
    ("udp6", Out, EPERM),
    ("udp-mapped", Out, EPERM),
    ("udp4-connected", Out, EPERM),
    ("udp6-connected", Out, EPERM),
    ("udp-mapped-connected", Out, EPERM),
    ("udp4-sendmmsg", Out, EPERM),
    ("udp4-corked", Out, EPERM),
    ("udp4-sport5060", Out, EPERM),
    ("udp4-gateway", Link, EPERM),
    ("udp4-broadcast", Link, EPERM),
    ("udp4-multicast", Link, EPERM),
    ("udp6-multicast", Link, EPERM),
    ("udplite4", Out, EPERM),
    ("udplite6", Out, EPERM),
    ("ping4", Out, EPERM),
    ("ping6", Out, EPERM),
    ("raw4-icmp", Out, EPERM),
    ("raw6-icmp", Out, EPERM),
    ("raw6-ns", Out, EPERM),
    ("raw4-udp", Out, EPERM),
    ("raw4-tcp-syn", Out, EPERM),
    ("raw4-tcp-data", Out, EPERM),
    ("raw4-tcp-rst", Out, EPERM),
    ("raw4-ipip", Out, EPERM),
    ("raw6-tcp", Out, EPERM),
    ("raw6-hdrincl", Out, EPERM),
    ("raw6-proto253", Out, EPERM),
    ("raw4-lo-echo", Out, EPERM),
    ("raw6-lo-echo", Out, EPERM),
    ("lo-lsrr-tcp4", Link, Dropped),
    ("lo-lsrr-udp4", Link, Dropped),
    ("lo-srh-udp6", Out, Dropped),
    ("lo-srh-tcp6", Out, Dropped),
    ("transparent-synack4", Out, Dropped),
    ("transparent-synack4-int80", Out, Dropped),
    ("transparent-unreach4", Out, Dropped),
    ("freebind-synack6", Out, Dropped),
    ("freebind-unreach6", Out, Dropped),
    ("dns-embedded", Out, EPERM),
    ("dns-embedded-connected", Out, EPERM),
    ("dns-embedded-mapped", Out, EPERM),
    ("dns-embedded-tcp", Out, EPERM),
    ("dns-direct", Out, EPERM),
    ("dns-direct-tcp", Out, EPERM),
    ("uring-tcp4", Out, EPERM),
    ("uring-udp4", Out, EPERM),
];

/// What only a frame-level layer can see; with `--cap-drop NET_RAW` Docker refuses these.
const PACKET_SOCKETS: &[(&str, Reach)] = &[
    ("packet-raw", Out),
    ("packet-raw-sport5060", Out),
    ("packet-dgram", Out),
    ("packet-qdisc-bypass", Out),
    ("packet-lo-forward", Out),
    ("packet-arp-trailer", Link),
];

/// Announced by the kernel itself, from no socket.
const JOINS: &[(&str, Reach)] = &[
    ("igmp-join", Link),
    ("igmp-join-int80", Link),
    ("mld-join", Link),
];

/// One container's taps and the bookkeeping of attempts.
struct Bench<'a> {
    outside: &'a Outside,
    container: &'a Container,
    veth: Tap,
    bridge: Tap,
    next: u16,
    problems: Vec<String>,
}

impl<'a> Bench<'a> {
    fn new(outside: &'a Outside, container: &'a Container) -> Self {
        let (veth, bridge) = (
            Tap::host(&container.veth()),
            Tap::host(&outside.plan.bridge),
        );
        Self {
            outside,
            container,
            veth,
            bridge,
            next: PORTS.start,
            problems: Vec::new(),
        }
    }

    /// A port and a marker that no earlier attempt had.
    fn fresh(&mut self) -> (u16, String) {
        let port = self.next;
        self.next = if port + 1 == PORTS.end {
            PORTS.start
        } else {
            port + 1
        };
        // At most 12 bytes: as much as a multicast group can carry.
        (port, format!("agx{port}{}", &self.outside.plan.suffix[..3]))
    }

    fn clear(&self) {
        self.outside.clear();
        for tap in [&self.veth, &self.bridge] {
            tap.barrier();
            tap.clear();
        }
    }

    /// Unsealed: the attempt must be recorded where the table says.
    fn control(&mut self, technique: &str, reach: Reach) {
        self.clear();
        let (port, marker) = self.fresh();
        let attempt = self.container.attempt(technique, port, &marker);
        let tap = if reach == Reach::Outside {
            &self.outside.tap
        } else {
            &self.veth
        };
        let found = tap.watch(Duration::from_secs(2), |frame| {
            belongs(frame, port, &marker)
        });
        if found.is_none() {
            let seen = (self.veth.suspicious(), self.outside.arrivals());
            self.problems.push(format!(
                "control {technique}: not recorded; {attempt:?} {seen:?}"
            ));
        }
    }

    /// Sealed: no frame on any tap, no service reached, the errno of the table.
    fn sealed(&mut self, technique: &str, expected: Sealed) {
        let (port, marker) = self.fresh();
        let attempt = self.container.attempt(technique, port, &marker);
        self.veth.watch(Duration::from_millis(100), |frame| {
            !frame.is_neighbour_discovery()
        });
        self.no_frames(&format!("{technique} ({attempt:?})"));
        if !as_expected(&attempt, expected) {
            self.problems
                .push(format!("sealed {technique}: {attempt:?}"));
        }
    }

    fn no_frames(&mut self, what: &str) {
        for (place, tap) in [("veth", &self.veth), ("bridge", &self.bridge)] {
            tap.barrier();
            let frames = tap.suspicious();
            if !frames.is_empty() {
                self.problems
                    .push(format!("LEAK {place} {what}: {frames:?}"));
            }
        }
        let (frames, seen) = (self.outside.arrivals(), self.outside.seen());
        if !frames.is_empty() || !seen.is_empty() {
            self.problems
                .push(format!("LEAK outside {what}: {frames:?} {seen:?}"));
        }
        self.clear();
    }

    #[track_caller]
    fn judge(self) {
        let Self { problems, .. } = self;
        assert!(
            problems.is_empty(),
            "{} problems:\n{}",
            problems.len(),
            problems.join("\n")
        );
    }
}

fn belongs(frame: &Frame, port: u16, marker: &str) -> bool {
    let [high, low] = port.to_be_bytes();
    let group = [239, 50, high, low];
    frame.contains(marker)
        || frame
            .ports()
            .is_some_and(|(from, to)| from == port || to == port)
        || frame.bytes.windows(4).any(|window| window == group)
}

fn as_expected(attempt: &Attempt, expected: Sealed) -> bool {
    match (attempt.verdict, expected) {
        (Verdict::Skipped, _) | (_, Dropped) => true,
        (Verdict::Refused, Errno(errno)) => attempt.errno == errno,
        _ => false,
    }
}

#[test]
fn every_technique_works_unsealed_and_none_sealed() {
    let outside = Outside::new();
    let container = outside.container("leaky").run();
    let mut bench = Bench::new(&outside, &container);
    for &(technique, reach, _) in TABLE {
        bench.control(technique, reach);
    }
    assert!(
        bench.problems.is_empty(),
        "controls failed:\n{}",
        bench.problems.join("\n")
    );
    seal(&container.name, &[]);
    bench.clear();
    for &(technique, _, expected) in TABLE {
        bench.sealed(technique, expected);
    }
    // Longer than a SYN's first repetition.
    bench.veth.watch(Duration::from_millis(2500), |frame| {
        !frame.is_neighbour_discovery()
    });
    bench.no_frames("later");
    bench.judge();
}

#[test]
fn packet_sockets_and_joins_work_unsealed() {
    let outside = Outside::new();
    let container = outside.container("framer").run();
    let mut bench = Bench::new(&outside, &container);
    for &(technique, reach) in PACKET_SOCKETS.iter().chain(JOINS) {
        bench.control(technique, reach);
    }
    bench.judge();
}

#[test]
fn without_net_raw_packet_sockets_are_refused() {
    let outside = Outside::new();
    let container = outside
        .container("capless")
        .options(&["--cap-drop", "NET_RAW"])
        .run();
    let mut bench = Bench::new(&outside, &container);
    seal(&container.name, &[]);
    bench.clear();
    for &(technique, _) in PACKET_SOCKETS {
        bench.sealed(technique, EPERM);
    }
    bench.judge();
}

#[test]
fn the_tables_name_every_technique() {
    let outside = Outside::new();
    let container = outside.container("list").run();
    let listed = container
        .exec(&["airgap-probe", "list"])
        .expect_code(0)
        .stdout;
    let mut listed: Vec<_> = listed.lines().collect();
    let extra = PACKET_SOCKETS.iter().chain(JOINS).map(|&(name, _)| name);
    let mut known: Vec<_> = TABLE.iter().map(|&(name, ..)| name).chain(extra).collect();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}
