//! Child processes whose failures show the whole command and both streams.

use std::process::{Command, Stdio};

/// What a finished command left behind.
#[derive(Debug, Clone)]
pub struct Output {
    pub command: String,
    /// Exit status, or 128 + signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Both streams and the exit status, for assertion messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self {
            command,
            code,
            stdout,
            stderr,
        } = self;
        format!("$ {command}\nexit {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }

    /// # Panics
    /// When the exit status is another one.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "wrong exit status\n{}", self.describe());
        self
    }
}

/// Runs a command to its end without stdin.
///
/// # Panics
/// When the program cannot be started.
#[track_caller]
pub fn run_command(command: &mut Command) -> Output {
    run_with(command, Stdio::null())
}

/// The same with this stdin.
///
/// # Panics
/// As there.
#[track_caller]
pub fn run_with(command: &mut Command, stdin: Stdio) -> Output {
    use std::os::unix::process::ExitStatusExt as _;
    let shown = show(command);
    let out = command
        .stdin(stdin)
        .output()
        .unwrap_or_else(|e| panic!("cannot start `{shown}`: {e}"));
    Output {
        command: shown,
        code: out
            .status
            .code()
            .unwrap_or_else(|| 128 + out.status.signal().unwrap_or(0)),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// The command as one would type it.
#[must_use]
pub fn show(command: &Command) -> String {
    let mut shown = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        shown.push(' ');
        shown.push_str(&arg.to_string_lossy());
    }
    shown
}

/// Runs `program` with `args`, whatever the exit status.
#[track_caller]
pub fn run<S: AsRef<std::ffi::OsStr>>(program: &str, args: &[S]) -> Output {
    run_command(Command::new(program).args(args))
}

/// Runs a line split at white space and wants success; returns stdout without the last newline.
///
/// # Panics
/// When the command fails.
#[track_caller]
pub fn ok(line: &str) -> String {
    let out = attempt(line);
    assert_eq!(out.code, 0, "command failed\n{}", out.describe());
    out.stdout.trim_end().to_owned()
}

/// Runs a line split at white space, whatever the exit status.
///
/// # Panics
/// When the line is empty or the program cannot be started.
#[track_caller]
pub fn attempt(line: &str) -> Output {
    let mut words = line.split_whitespace();
    let program = words.next().expect("an empty command line");
    run_command(Command::new(program).args(words))
}
