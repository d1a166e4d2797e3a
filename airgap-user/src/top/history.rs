//! Attempts by second, from a counter that is read about once a second.

use std::{collections::VecDeque, time::Duration};

/// Seconds that are remembered.
pub(super) const SECONDS: usize = 60;
/// Seconds over which a rate is taken.
const RATE: usize = 5;

/// How a counter grew.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    last: Option<(Duration, u64)>,
    /// Attempts of each of the last seconds, oldest first.
    seconds: VecDeque<u64>,
}

impl History {
    /// The counter at `at`. A look that came late is spread over the seconds
    /// that it stands for.
    pub(super) fn add(&mut self, at: Duration, total: u64) {
        let Some((then, before)) = self.last.replace((at, total)) else {
            return;
        };
        let elapsed = at.saturating_sub(then).as_secs_f64();
        let seconds = (elapsed.round() as u64).clamp(1, SECONDS as u64);
        let grown = total.saturating_sub(before);
        for second in 0..seconds {
            let share = grown / seconds + u64::from(second < grown % seconds);
            self.seconds.push_back(share);
        }
        while self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
    }

    /// Attempts a second of late; `None`: it was read once only.
    pub(super) fn rate(&self) -> Option<f64> {
        let over = self.seconds.len().min(RATE);
        let sum: u64 = self.seconds.iter().rev().take(over).sum();
        (over > 0).then(|| sum as f64 / over as f64)
    }

    /// Attempts by second, oldest first, at most [`SECONDS`].
    pub(super) fn seconds(&self) -> Vec<u64> {
        self.seconds.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    #[test]
    fn one_look_gives_no_rate() {
        let mut history = History::default();
        assert_eq!(history.rate(), None);
        history.add(second(1.0), 1_000);
        assert_eq!((history.rate(), history.seconds()), (None, vec![]));
    }

    #[test]
    fn a_rate_is_of_the_last_seconds() {
        let mut history = History::default();
        for (at, total) in [(0.0, 0), (1.01, 100), (2.0, 100), (2.98, 110)] {
            history.add(second(at), total);
        }
        assert_eq!(history.seconds(), [100, 0, 10]);
        assert_eq!(history.rate(), Some(110.0 / 3.0));
    }

    #[test]
    fn a_late_look_loses_nothing() {
        let mut history = History::default();
        history.add(second(0.0), 5);
        history.add(second(3.1), 15);
        assert_eq!(history.seconds(), [4, 3, 3]);
        history.add(second(9_999.0), 75);
        assert_eq!(history.seconds(), [1; 60]);
    }
}
