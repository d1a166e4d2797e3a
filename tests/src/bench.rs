//! One container, its taps, and attempts judged by what the taps saw.

use crate::container::Container;
use crate::frame::Frame;
use crate::outside::Outside;
use crate::services::PORTS;
use crate::tap::Tap;
use crate::wait;
use ::airgap::technique::{
    Outcome, Reach, Report,
    Sealed::{self, Dropped, Errno},
    Way,
};
use std::time::Duration;

/// One container's taps and the bookkeeping of attempts.
#[derive(Debug)]
pub struct Bench<'a> {
    outside: &'a Outside,
    container: &'a Container,
    pub veth: Tap,
    pub bridge: Tap,
    next: u16,
    pub problems: Vec<String>,
}

impl<'a> Bench<'a> {
    #[must_use]
    #[track_caller]
    pub fn new(outside: &'a Outside, container: &'a Container) -> Self {
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

    /// Forgets what the taps and the services have recorded.
    pub fn clear(&self) {
        self.outside.clear();
        for tap in [&self.veth, &self.bridge] {
            tap.barrier();
            tap.clear();
        }
    }

    /// Unsealed: the attempt must be recorded where the table says.
    pub fn control(&mut self, way: &Way) {
        let technique = way.name;
        self.clear();
        let (port, marker) = self.fresh();
        let attempt = self.container.attempt(technique, port, &marker);
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
        self.container.attempt(way.name, port, &marker);
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
        let (port, marker) = self.fresh();
        let attempt = self.container.attempt(technique, port, &marker);
        self.veth.watch(Duration::from_millis(100), |frame| {
            !frame.is_neighbour_discovery()
        });
        self.no_frames(&format!("{technique} ({attempt:?})"));
        if !as_expected(&attempt, way.sealed) {
            self.problems
                .push(format!("sealed {technique}: {attempt:?}"));
        }
    }

    /// Nothing on any tap since the last call, and no service reached.
    pub fn no_frames(&mut self, what: &str) {
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

fn as_expected(attempt: &Report, expected: Sealed) -> bool {
    match (attempt.outcome, expected) {
        (Outcome::Skipped, _) | (_, Dropped) => true,
        (Outcome::Refused, Errno(errno)) => attempt.errno == errno,
        _ => false,
    }
}
