//! Running `airgap` children whose output is awaited line by line.

use crate::{airgap, wait};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A running `airgap` whose output is collected; killed by pid on drop.
#[derive(Debug)]
pub struct Tail {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    messages: Arc<Mutex<Vec<String>>>,
}

/// Lines as they come.
fn collect(from: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            sink.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    });
    lines
}

impl Tail {
    /// Starts `airgap tail --json ARGS…`.
    #[must_use]
    #[track_caller]
    pub fn json(args: &[&str]) -> Self {
        let mut all = vec!["tail", "--json"];
        all.extend(args);
        Self::start(&all)
    }

    /// Starts `airgap ARGS…`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        let mut child = airgap::command()
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start airgap {args:?}: {e}"));
        let lines = collect(child.stdout.take().expect("airgap was given a pipe"));
        let messages = collect(child.stderr.take().expect("airgap was given a pipe"));
        let mut tail = Self {
            child,
            lines,
            messages,
        };
        // What is refused before it follows is not its to tell.
        if args.first() == Some(&"tail") && !args.contains(&"--no-follow") {
            wait::within(wait::SOON, || {
                (tail.follows() || !tail.is_running()).then_some(())
            });
        }
        tail
    }

    fn follows(&self) -> bool {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut messages = messages.iter();
        messages.any(|line| line.contains("showing refused attempts"))
    }

    /// Waits until it follows: what is refused from then on is told.
    ///
    /// # Panics
    /// When it does not say so in time.
    #[track_caller]
    pub fn await_start(&self) {
        wait::until("airgap tail follows", wait::SOON, || {
            self.follows().then_some(())
        });
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the child still runs, or something that it said is not read yet: a busy machine
    /// may be slow to.
    pub fn is_running(&mut self) -> bool {
        let is_heard = Arc::strong_count(&self.lines) > 1;
        matches!(self.child.try_wait(), Ok(None)) || is_heard
    }

    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Lines since the last call, which are then kept no longer: for those who follow long.
    #[must_use]
    pub fn take_lines(&self) -> Vec<String> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut lines)
    }

    /// Lines that are JSON objects with `event.action`.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let parsed = self
            .lines()
            .into_iter()
            .filter_map(|line| serde_json::from_str(&line).ok());
        parsed
            .filter(|value: &Value| value["event"]["action"].is_string())
            .collect()
    }

    /// Waits for a line of text.
    ///
    /// # Panics
    /// When none comes in time.
    #[track_caller]
    pub fn await_line(&self, what: &str, limit: Duration, wanted: impl Fn(&str) -> bool) -> String {
        wait::within(limit, || self.lines().into_iter().find(|line| wanted(line)))
            .unwrap_or_else(|| panic!("no line within {limit:?}: {what}; got {:#?}", self.lines()))
    }

    /// Waits for an event.
    ///
    /// # Panics
    /// When none comes in time; shows what came instead.
    #[track_caller]
    pub fn await_event(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        wait::within(limit, || {
            self.events().into_iter().find(|event| wanted(event))
        })
        .unwrap_or_else(|| panic!("no event within {limit:?}: {what}; got {:#?}", self.lines()))
    }

    /// SIGKILLs the child and waits for its end.
    ///
    /// # Panics
    /// When it cannot be reaped.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        self.child
            .wait()
            .unwrap_or_else(|e| panic!("cannot reap airgap: {e}"));
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
