//! What is printed of each check, for `cargo xtask reboot` and `cargo xtask units`.

use std::cell::Cell;
use std::process::Command;

/// One boot's checks.
#[derive(Debug, Default)]
pub struct Checks {
    failed: Cell<u32>,
}

impl Checks {
    /// Prints one check: `check: ok|WHAT|FIGURE`.
    pub fn that(&self, good: bool, what: &str, figure: &str) {
        if !good {
            self.failed.set(self.failed.get() + 1);
        }
        let word = if good { "ok" } else { "FAILED" };
        println!("check: {word}|{what}|{}", figure.replace(['\n', '|'], " "));
    }

    /// Whether none has failed.
    #[must_use]
    pub fn are_good(&self) -> bool {
        self.failed.get() == 0
    }
}

/// What the machine's own log says, for whoever looks into a failure.
pub fn show_journal(units: &[&str]) {
    let mut journal = Command::new("journalctl");
    journal.args(["--boot", "--no-pager", "--lines", "40"]);
    for unit in units {
        journal.args(["--unit", unit]);
    }
    match journal.output() {
        Ok(out) => println!("{}", String::from_utf8_lossy(&out.stdout)),
        Err(error) => println!("no journal: {error}"),
    }
}
