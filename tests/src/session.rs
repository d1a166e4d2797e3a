//! A probe that stays in a container and tries one technique after another.

use crate::attempt;
use crate::container::Container;
use ::airgap::technique::Report;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// One `docker exec` for many attempts; ends on drop.
#[derive(Debug)]
pub struct Session {
    child: Child,
    orders: Option<ChildStdin>,
    reports: BufReader<ChildStdout>,
}

impl Session {
    /// # Panics
    /// When Docker cannot be started.
    #[must_use]
    #[track_caller]
    pub fn new(container: &Container) -> Self {
        let mut child = Command::new("docker")
            .args(["exec", "-i", &container.id, "airgap-probe", "session"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot start docker");
        let orders = child.stdin.take();
        let reports = BufReader::new(child.stdout.take().expect("docker was given a pipe"));
        Self {
            child,
            orders,
            reports,
        }
    }

    /// Has the probe try what `order` says; see [`Container::order`].
    ///
    /// # Panics
    /// When the probe does not report.
    #[track_caller]
    pub fn attempt(&mut self, order: &str) -> Report {
        let orders = self.orders.as_mut().expect("open until dropped");
        writeln!(orders, "{order}").expect("the session has ended");
        let mut line = String::new();
        let read = self.reports.read_line(&mut line);
        read.expect("the session's report cannot be read");
        attempt::parse_line(&line).unwrap_or_else(|e| panic!("{order}: no report: {e}: {line:?}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The end of its stdin ends the probe.
        self.orders = None;
        drop(self.child.wait());
    }
}
