//! Which of the gate's records belong to an attempt.

use airgap_common::denial::Reason;

use super::{attempt::Numbers, sighting::Trace};
use crate::events::{Denial, Event};

/// What tells an attempt's denials from the rest.
#[derive(Clone, Debug)]
pub(super) struct Mine<'a> {
    pub(super) seal: u64,
    /// The probe, on the host.
    pub(super) pid: u32,
    pub(super) trace: &'a Trace,
    /// All numbers of the run.
    pub(super) numbers: &'a Numbers,
    /// The target's port, whose index nothing else has.
    pub(super) interface: u32,
}

impl Mine<'_> {
    /// `hook: reason` of a denial of this attempt.
    pub(super) fn find(&self, events: &[Event]) -> Option<String> {
        events.iter().find_map(|event| match event {
            Event::Denial(denial) if self.is(denial) => {
                Some(format!("{}: {}", denial.hook, denial.reason))
            }
            _ => None,
        })
    }

    /// By the port if the denial knows any; else by who did it, or where.
    fn is(&self, denial: &Denial) -> bool {
        if denial.seal != self.seal {
            return false;
        }
        let port = |end: Option<(_, u16)>| end.map_or(0, |(_, port)| port);
        let (from, to) = (port(denial.source), port(denial.destination));
        if from == self.trace.port || to == self.trace.port {
            return true;
        }
        let asked = denial.question.as_ref().map(|(name, _)| name.as_str());
        if let Some(name) = asked {
            return name.contains(&self.trace.marker);
        }
        // A packet of an earlier attempt that is sent again has that one's port.
        let other = self.numbers.has(from) || self.numbers.has(to);
        let by_probe = denial.process.as_ref().is_some_and(|p| p.pid == self.pid);
        let on_port = denial.hook == "frame" && denial.interface == self.interface;
        !other && (by_probe || on_port)
    }
}

/// Denials that are counted and make no record, as they come without anybody's
/// asking: what a kernel says on the link. The container's own add to them, so
/// they tell only of an attempt whose traces the witnesses know.
pub(super) fn silent(before: &[u64], after: &[u64]) -> Option<String> {
    let at = Reason::KernelChatter as usize;
    (after.get(at)? > before.get(at)?).then(|| "kernel-chatter, counted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Process;

    fn denial(pid: u32, dport: u16) -> Denial {
        Denial {
            process: Some(Process::example("x", pid)),
            destination: Some(([198, 51, 100, 254].into(), dport)),
            ..Denial::example()
        }
    }

    #[test]
    fn takes_only_its_own() {
        let numbers = Numbers::draw(&[53]).unwrap();
        let (trace, earlier) = (numbers.sealed(1), numbers.sealed(0));
        let mine = Mine {
            seal: 3,
            pid: 7,
            trace: &trace,
            numbers: &numbers,
            interface: 99,
        };
        assert!(mine.is(&denial(8, trace.port)), "by the port");
        assert!(mine.is(&denial(7, 0)), "by the process");
        assert!(mine.is(&denial(7, 53)), "by the process");
        assert!(
            !mine.is(&denial(7, earlier.port)),
            "sent again by an earlier one"
        );
        assert!(!mine.is(&denial(8, 53)), "the container's own");
        let other_seal = Denial {
            seal: 4,
            ..denial(7, trace.port)
        };
        assert!(!mine.is(&other_seal));
        let frame = Denial {
            hook: "frame",
            interface: 99,
            process: None,
            destination: None,
            ..denial(7, 0)
        };
        assert!(mine.is(&frame), "by the port of the link");
        let question = |name: &str| Denial {
            question: Some((name.into(), "A".into())),
            ..denial(7, 53)
        };
        assert!(mine.is(&question(&format!("{}.leak.example", trace.marker))));
        assert!(!mine.is(&question(&format!("{}.leak.example", earlier.marker))));
        let events = [Event::Denial(Box::new(denial(7, 53)))];
        assert_eq!(mine.find(&events).as_deref(), Some("connect4: egress"));
    }

    #[test]
    fn silent_denials_are_counted() {
        let (mut before, after) = ([0; 24], [1; 24]);
        assert!(silent(&before, &after).is_some());
        before[Reason::KernelChatter as usize] = 1;
        assert_eq!(silent(&before, &after), None);
    }
}
