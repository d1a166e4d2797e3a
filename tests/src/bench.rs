//! One container, its taps, and attempts judged by what the taps saw.

use crate::container::Container;
use crate::frame::Frame;
use crate::kernel::has_set_retval;
use crate::outside::Outside;
use crate::services::PORTS;
use crate::session::Session;
use crate::tap::Tap;
use crate::wait;
use ::airgap::technique::{
    Outcome, Reach, Report,
    Sealed::{self, Dropped, Errno, Offline},
    Way,
};
use std::time::Duration;

/// One attempt's outcome, inside and outside.
#[derive(Debug)]
pub struct Attempt {
    pub report: Report,
    /// `None` when nothing was seen.
    pub reach: Option<Reach>,
}

/// One container's taps and the bookkeeping of attempts.
#[derive(Debug)]
pub struct Bench<'a> {
    outside: &'a Outside,
    container: &'a Container,
    /// Its hardware address.
    own: Vec<u8>,
    session: Session,
    pub veth: Tap,
    pub bridge: Tap,
    next: u16,
    pub problems: Vec<String>,
}

impl<'a> Bench<'a> {
    #[must_use]
    #[track_caller]
    pub fn new(outside: &'a Outside, container: &'a Container) -> Self {
        let (veth, bridge) = (Tap::host(&container.veth()), Tap::host(container.bridge()));
        Self {
            own: container.mac(),
            outside,
            container,
            session: Session::new(container),
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

    fn attempt(&mut self, technique: &str, port: u16, marker: &str) -> Report {
        let order = self.container.order(technique, port, marker);
        self.session.attempt(&order)
    }

    /// Forgets what the taps and the services have recorded.
    pub fn clear(&self) {
        self.outside.clear();
        for tap in [&self.veth, &self.bridge] {
            tap.barrier();
            tap.clear();
        }
    }

    /// The same with other ports than a bench at work beside it has, half of them each.
    #[must_use]
    #[track_caller]
    pub fn beside(outside: &'a Outside, container: &'a Container) -> Self {
        let half = PORTS.start + (PORTS.end - PORTS.start) / 2;
        Self {
            next: half,
            ..Self::new(outside, container)
        }
    }

    /// How far an attempt gets past the container's veth. Waits for `window`, and no longer than
    /// it takes to see `expected`. Nothing is forgotten before: another bench may be at work.
    pub fn reach(&mut self, technique: &str, expected: Reach, window: Duration) -> Attempt {
        let (port, marker) = self.fresh();
        let marks = (self.outside.tap.mark(), self.bridge.mark());
        let report = self.attempt(technique, port, &marker);
        let on = |tap: &Tap, mark| {
            let frames = tap.incoming_since(mark);
            frames.iter().any(|frame| belongs(frame, port, &marker))
        };
        let far = || {
            if on(&self.outside.tap, marks.0) {
                Some(Reach::Outside)
            } else {
                on(&self.bridge, marks.1).then_some(Reach::Link)
            }
        };
        wait::within(window, || far().filter(|&far| far == expected));
        for tap in [&self.outside.tap, &self.bridge] {
            tap.barrier();
        }
        Attempt {
            report,
            reach: far(),
        }
    }

    /// Unsealed: the attempt must be recorded where the table says.
    pub fn control(&mut self, way: &Way) {
        let technique = way.name;
        self.clear();
        let (port, marker) = self.fresh();
        let attempt = self.attempt(technique, port, &marker);
        let tap = match way.reach {
            Reach::Outside | Reach::Resolver => &self.outside.tap,
            Reach::Link | Reach::Guest => &self.bridge,
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

    /// Sealed, for what only a frame-level layer can stop: whether anything came past the
    /// container's veth. A tap on the veth itself stands in front of that layer.
    #[must_use]
    #[track_caller]
    pub fn leaks(&mut self, way: &Way) -> bool {
        self.clear();
        let (port, marker) = self.fresh();
        self.attempt(way.name, port, &marker);
        let ours = |frame: &Frame| belongs(frame, port, &marker);
        let passed = wait::within(Duration::from_millis(300), || {
            let taps = [&self.bridge, &self.outside.tap];
            taps.iter()
                .any(|tap| tap.incoming().iter().any(ours))
                .then_some(())
        });
        passed.is_some()
    }

    /// Sealed: no frame on any tap, no service reached, the errno of the table.
    pub fn sealed(&mut self, way: &Way) {
        let technique = way.name;
        let attempt = self.attempt_only(technique);
        self.veth.watch(Duration::from_millis(100), |frame| {
            !frame.is_neighbour_discovery()
        });
        self.no_frames(&format!("{technique} ({attempt:?})"));
        self.ended_as(&attempt, way.sealed);
    }

    /// An attempt under a port and a marker of its own; nobody looks where it gets.
    pub fn attempt_only(&mut self, technique: &str) -> Report {
        let (port, marker) = self.fresh();
        self.attempt(technique, port, &marker)
    }

    /// Notes a call that ended otherwise than the table says.
    pub fn ended_as(&mut self, attempt: &Report, expected: Sealed) {
        if !as_expected(attempt, expected) {
            self.problems.push(format!("sealed: {attempt:?}"));
        }
    }

    /// Nothing on any tap since the last call, and no service reached.
    pub fn no_frames(&mut self, what: &str) {
        for (place, tap) in [("veth", &self.veth), ("bridge", &self.bridge)] {
            tap.barrier();
            let mut frames = tap.suspicious();
            // Questions for routers, which Podman leaves on: others' anywhere, and the sealed
            // container's only in front of the frame programs.
            let asks = |frame: &Frame| frame.is_router_solicitation();
            frames.retain(|frame| {
                !asks(frame) || place == "bridge" && frame.source_mac() == self.own
            });
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

    /// # Panics
    /// When there were problems.
    #[track_caller]
    pub fn judge(self) {
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

/// Whether a sealed attempt ended as the table says.
pub fn as_expected(attempt: &Report, expected: Sealed) -> bool {
    match (attempt.outcome, expected) {
        (Outcome::Skipped, _) | (_, Dropped) => true,
        (Outcome::Refused, Errno(errno)) => attempt.errno == errno,
        // A technique takes this for the answer of a closed port.
        (Outcome::Sent, Offline(libc::ECONNREFUSED)) => {
            has_set_retval() && attempt.errno == libc::ECONNREFUSED
        }
        (Outcome::Refused, Offline(errno)) => {
            let errno = if has_set_retval() { errno } else { libc::EPERM };
            attempt.errno == errno
        }
        _ => false,
    }
}
