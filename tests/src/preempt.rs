//! Whether the kernel takes the processor away from itself. Needs debugfs, as a machine of one's
//! own has it.

use std::fs;

const MODES: &str = "/sys/kernel/debug/sched/preempt";

/// What is chosen: `none`, `voluntary`, `full` or `lazy`; `None` where nothing can be.
#[must_use]
pub fn mode() -> Option<String> {
    let modes = fs::read_to_string(MODES).ok()?;
    let (_, rest) = modes.split_once('(')?;
    Some(rest.split_once(')')?.0.to_owned())
}

/// Whether it does so now.
#[must_use]
pub fn preempts() -> bool {
    mode().is_some_and(|mode| !["none", "voluntary"].contains(&mode.as_str()))
}

/// `full`, until dropped.
pub struct Full(String);

impl Full {
    /// `None` where nothing can be chosen.
    ///
    /// # Panics
    /// When the kernel refuses it.
    #[must_use]
    pub fn chosen() -> Option<Self> {
        let before = mode()?;
        fs::write(MODES, "full").expect("choose full preemption");
        Some(Self(before))
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        if let Err(error) = fs::write(MODES, &self.0) {
            eprintln!("the kernel stays fully preemptible: {error}");
        }
    }
}
