//! Which container is judged next. Pure: told the time, it does nothing.
//!
//! One container is judged once at a time, several side by side. What fails is
//! tried again soon, and later each time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// First pause after a failure; each is twice as long as the one before.
const SOON: Duration = Duration::from_millis(250);
/// The longest.
const LATE: Duration = Duration::from_secs(60);

/// Why a container is to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// It is there, or is recorded. What is to be tried again later stays so.
    Found,
    /// It was created or started.
    Appeared,
    /// It was removed; its id never comes again.
    Destroyed,
}

/// What is to be done about one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) id: String,
    /// The engine said that it was created or started.
    pub(super) appeared: bool,
    /// The engine said that it was removed.
    pub(super) destroyed: bool,
    /// How often this went wrong before.
    pub(super) failures: u32,
}

#[derive(Debug, Default)]
struct Wait {
    /// When it is due; `None`: not asked for.
    due: Option<Instant>,
    working: bool,
    appeared: bool,
    destroyed: bool,
    failures: u32,
}

/// All that wait, and those that are judged now.
#[derive(Debug, Default)]
pub(super) struct Queue(HashMap<String, Wait>);

impl Queue {
    pub(super) fn ask(&mut self, id: &str, what: Happening, now: Instant) {
        let wait = self.0.entry(id.to_owned()).or_default();
        match what {
            Happening::Found if wait.failures > 0 => {
                wait.due.get_or_insert(now);
            }
            Happening::Found => wait.due = Some(now),
            Happening::Appeared => {
                wait.due = Some(now);
                wait.appeared = true;
            }
            Happening::Destroyed => {
                wait.due = Some(now);
                wait.destroyed = true;
            }
        }
    }

    /// One that is due; it counts as judged now until [`Self::done`].
    pub(super) fn take(&mut self, now: Instant) -> Option<Task> {
        let due = self.0.iter_mut().filter_map(|(id, wait)| {
            let due = wait.due.filter(|due| !wait.working && *due <= now)?;
            Some((due, id, wait))
        });
        // The one that has waited longest.
        let (_, id, wait) = due.min_by_key(|(due, _, _)| *due)?;
        (wait.due, wait.working) = (None, true);
        Some(Task {
            id: id.clone(),
            appeared: wait.appeared,
            destroyed: wait.destroyed,
            failures: wait.failures,
        })
    }

    /// It was judged; what was asked for meanwhile is due still.
    pub(super) fn done(&mut self, id: &str, well: bool, now: Instant) {
        let Some(wait) = self.0.get_mut(id) else {
            return;
        };
        wait.working = false;
        if well {
            (wait.failures, wait.appeared) = (0, wait.due.is_some() && wait.appeared);
            if wait.due.is_none() {
                self.0.remove(id);
            }
            return;
        }
        let pause = SOON.saturating_mul(1 << wait.failures.min(16)).min(LATE);
        wait.failures += 1;
        wait.due.get_or_insert(now + pause);
    }

    /// Whether any is judged now.
    pub(super) fn is_working(&self) -> bool {
        self.0.values().any(|wait| wait.working)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    fn id(task: Option<Task>) -> Option<String> {
        task.map(|task| task.id)
    }

    #[test]
    fn each_once_at_a_time_and_all_side_by_side() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.ask("a", Happening::Appeared, now);
        queue.ask("b", Happening::Found, now + TICK);
        assert_eq!(id(queue.take(now + TICK)).as_deref(), Some("a"));
        // The first hangs; the second is judged all the same.
        queue.ask("a", Happening::Appeared, now + TICK);
        assert_eq!(id(queue.take(now + TICK)).as_deref(), Some("b"));
        assert_eq!(queue.take(now + TICK), None);
        queue.done("b", true, now + TICK);
        assert!(queue.is_working());
        // It happened again while it was judged.
        queue.done("a", true, now + TICK);
        assert_eq!(id(queue.take(now + TICK)).as_deref(), Some("a"));
        queue.done("a", true, now + TICK);
        assert!(queue.take(now + LATE).is_none() && queue.0.is_empty());
    }

    #[test]
    fn what_fails_is_tried_again_soon_and_then_later() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.ask("a", Happening::Found, now);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(queue.take(now).is_some());
            queue.done("a", false, now);
            // A look at all that there is does not hurry it.
            queue.ask("a", Happening::Found, now);
            let from = now;
            while queue.0["a"].due.is_some_and(|due| due > now) {
                assert_eq!(queue.take(now), None);
                now = queue.0["a"].due.unwrap();
            }
            pauses.push(now - from);
        }
        assert_eq!(pauses[..3], [SOON, SOON * 2, SOON * 4]);
        assert_eq!(pauses[11], LATE);
        assert!(queue.take(now).is_some());
        queue.done("a", false, now);
        // A start does.
        queue.ask("a", Happening::Appeared, now);
        assert!(queue.take(now).is_some());
        queue.done("a", true, now);
        queue.ask("a", Happening::Destroyed, now);
        assert!(queue.take(now).is_some_and(|task| task.destroyed));
    }
}
