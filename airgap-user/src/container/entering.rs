//! Processes of a runtime that enter a container: `docker exec`, a health check. For a
//! moment they are in its cgroup with all that the engine has, before they give it up and
//! become what they were asked to be.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// Waited for so long in one look, all of them together. Whoever takes such a name gains
/// that, and is looked at all the same.
const PATIENCE: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(2);

/// What is left of the patience of one look.
pub(super) struct Entering(Duration);

impl Entering {
    pub(super) const fn new() -> Self {
        Self(PATIENCE)
    }

    /// Waits until the process has become another, or has ended.
    pub(super) fn wait(&mut self, pid: u32) {
        let path = format!("/proc/{pid}/comm");
        let enters = || fs::read(&path).is_ok_and(|name| is_runtime(&name));
        if self.0.is_zero() || !enters() {
            return;
        }
        let begun = Instant::now();
        while begun.elapsed() < self.0 && enters() {
            thread::sleep(STEP);
        }
        self.0 = self.0.saturating_sub(begun.elapsed());
    }
}

/// Pure. As runc calls itself on its way in, and crun.
fn is_runtime(name: &[u8]) -> bool {
    name.starts_with(b"runc:[") || name == b"crun\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_runtimes_on_their_way_in() {
        for name in ["runc:[2:INIT]\n", "runc:[1:CHILD]\n", "crun\n"] {
            assert!(is_runtime(name.as_bytes()), "{name}");
        }
        for name in ["runc\n", "crunch\n", "nginx\n", ""] {
            assert!(!is_runtime(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn waits_for_nobody_else() {
        let begun = Instant::now();
        Entering::new().wait(std::process::id());
        assert!(begun.elapsed() < PATIENCE);
    }
}
