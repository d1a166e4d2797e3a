//! A limit for looks at what a container's own making can prolong.

use std::time::{Duration, Instant};

/// Time and steps that a look may take. One step is about one file read.
#[derive(Clone, Debug)]
pub struct Budget {
    until: Instant,
    steps: u64,
    /// What was not looked at, in words; empty: nothing.
    skipped: Vec<String>,
}

impl Budget {
    /// Steps that fit into a second on slow machines.
    const STEPS_PER_SECOND: u64 = 400_000;
    /// Kinds of things that are named at most.
    const NAMED: usize = 8;

    /// From now on, for so long.
    pub fn of(time: Duration) -> Self {
        let seconds = time.as_secs_f64() * Self::STEPS_PER_SECOND as f64;
        Self {
            until: Instant::now() + time,
            steps: seconds as u64,
            skipped: Vec::new(),
        }
    }

    /// Takes one step; false once the budget is used up.
    pub fn step(&mut self) -> bool {
        if self.steps == 0 {
            return false;
        }
        // A system call for the clock at each step would be half of its cost.
        if self.steps.is_multiple_of(64) && Instant::now() >= self.until {
            self.steps = 0;
            return false;
        }
        self.steps -= 1;
        true
    }

    /// The step that was taken was a long one: the next is refused if the time is over.
    pub fn look_at_clock(&mut self) {
        if Instant::now() >= self.until {
            self.steps = 0;
        }
    }

    /// Takes one step, or remembers that `what` was not looked at.
    pub fn step_for(&mut self, what: &str) -> bool {
        let going_on = self.step();
        if !going_on {
            self.skip(what.to_owned());
        }
        going_on
    }

    /// Remembers that something was not looked at.
    pub fn skip(&mut self, what: String) {
        if self.skipped.len() < Self::NAMED && !self.skipped.contains(&what) {
            self.skipped.push(what);
        }
    }

    /// What was not looked at, in words; empty: nothing was left out.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_by_steps_and_by_time() {
        let mut steps = Budget::of(Duration::from_secs(3600));
        steps.steps = 3;
        assert_eq!((0..5).filter(|_| steps.step()).count(), 3);
        assert!(!steps.step_for("this") && !steps.step_for("this"));
        assert_eq!(steps.skipped(), ["this"]);
        let mut time = Budget::of(Duration::ZERO);
        time.steps = 1_000;
        assert!((0..1_000).filter(|_| time.step()).count() <= 64);
        let mut long = Budget::of(Duration::ZERO);
        long.steps = 1_001;
        assert!(long.step());
        long.look_at_clock();
        assert!(!long.step());
    }

    #[test]
    fn names_few_things() {
        let mut budget = Budget::of(Duration::ZERO);
        for i in 0..100 {
            budget.skip(i.to_string());
        }
        assert_eq!(budget.skipped().len(), Budget::NAMED);
    }
}
