//! What is printed for `cargo xtask reboot`.

use std::cell::Cell;
use std::process::Command;

/// One boot's checks.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    failed: Cell<u32>,
}

impl Checks {
    /// Prints one check: `check: ok|WHAT|FIGURE`.
    pub(crate) fn that(&self, good: bool, what: &str, figure: &str) {
        if !good {
            self.failed.set(self.failed.get() + 1);
        }
        let word = if good { "ok" } else { "FAILED" };
        println!("check: {word}|{what}|{}", figure.replace(['\n', '|'], " "));
    }

    /// Whether none has failed.
    pub(crate) fn are_good(&self) -> bool {
        self.failed.get() == 0
    }
}

/// What the machine's own log says, for whoever looks into a failure.
pub(crate) fn show_journal() {
    let mut journal = Command::new("journalctl");
    journal.args(["--boot", "--no-pager", "--lines", "40"]);
    for unit in ["airgap-restore", "docker", "airgap-sink", "airgap-reboot"] {
        journal.args(["--unit", unit]);
    }
    match journal.output() {
        Ok(out) => println!("{}", String::from_utf8_lossy(&out.stdout)),
        Err(error) => println!("no journal: {error}"),
    }
}
