//! A real terminal, by tmux on a socket of its own: keys go in, a screen of text comes out.

use crate::airgap::STATE;
use crate::{cmd, wait};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// What its shell shows when it waits for a line.
const PROMPT: &str = "shell-of-the-test>";

/// A terminal with a shell in it; the shell and what it started are hung up on drop.
#[derive(Debug)]
pub struct Terminal {
    socket: String,
}

impl Terminal {
    /// One with so many columns and lines, and `variables` in its environment.
    ///
    /// # Panics
    /// When tmux is missing or does not start.
    #[must_use]
    #[track_caller]
    pub fn new(columns: u16, lines: u16, variables: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let socket = format!(
            "/run/airgap-test-tmux-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let terminal = Self { socket };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let mut start = terminal.command(&["-f", "/dev/null", "-u", "new-session", "-d"]);
        start.args(["-x", &columns, "-y", &lines, "env"]);
        start.args(["AIRGAP_STATE=".to_owned() + STATE, format!("PS1={PROMPT}")]);
        start.args(variables).args(["sh", "-i"]);
        start.env_remove("NO_COLOR").env_remove("TMUX");
        cmd::run_command(&mut start).expect_code(0);
        terminal.await_prompt();
        terminal
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-S", &self.socket]).args(args);
        command
    }

    #[track_caller]
    fn tmux(&self, args: &[&str]) -> String {
        let out = cmd::run_command(&mut self.command(args)).expect_code(0);
        out.stdout
    }

    /// Types a line and Enter.
    #[track_caller]
    pub fn line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
        self.key("Enter");
    }

    /// Presses a key, as tmux names it: `q`, `Down`, `C-c`.
    #[track_caller]
    pub fn key(&self, name: &str) {
        self.tmux(&["send-keys", "--", name]);
    }

    /// What is on the screen, a line each.
    #[must_use]
    #[track_caller]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with its colours, as escape sequences.
    #[must_use]
    #[track_caller]
    pub fn coloured(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Another size.
    #[track_caller]
    pub fn resize(&self, columns: u16, lines: u16) {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &lines]);
    }

    /// Waits for a screen that is as wanted.
    ///
    /// # Panics
    /// When none is in time; shows the last one.
    #[track_caller]
    pub fn await_screen(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let probe = || Some(self.screen()).filter(|screen| wanted(screen));
        wait::within(wait::SOON, probe)
            .unwrap_or_else(|| panic!("not on the screen: {what}\n{}", self.screen()))
    }

    /// Waits until the shell waits for a line.
    #[track_caller]
    pub fn await_prompt(&self) -> String {
        self.await_screen("the shell's prompt", |screen| {
            screen.trim_end().ends_with(PROMPT)
        })
    }

    /// Settings of the terminal, while the shell waits for a line.
    ///
    /// # Panics
    /// When it does not print them.
    #[must_use]
    #[track_caller]
    pub fn settings(&self) -> String {
        self.line("clear; stty -g");
        let screen = self.await_screen("settings", |screen| {
            let settings = screen.lines().any(|line| line.matches(':').count() > 20);
            settings && screen.trim_end().ends_with(PROMPT)
        });
        screen.lines().next().unwrap_or_default().to_owned()
    }

    /// Whether the cursor is shown, and whether the second screen is in use.
    #[must_use]
    #[track_caller]
    pub fn modes(&self) -> (bool, bool) {
        let flags = "#{cursor_flag} #{alternate_on}";
        let text = self.tmux(&["display-message", "-p", flags]);
        let mut words = text.split_whitespace();
        (words.next() == Some("1"), words.next() == Some("1"))
    }

    /// Process ids of what the shell runs now.
    ///
    /// # Panics
    /// When tmux does not name the shell.
    #[must_use]
    #[track_caller]
    pub fn jobs(&self) -> Vec<i32> {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        let children = children.unwrap_or_default();
        let pids = children.split_whitespace().map(str::parse);
        pids.collect::<Result<_, _>>().expect("numbers")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.command(&["kill-server"]).output());
        drop(std::fs::remove_file(&self.socket));
    }
}
