//! Errors with a next step, and the exit codes by class.

use std::{error::Error, fmt, process::ExitCode};

/// Exit codes (README, "Exit codes").
pub mod exit {
    /// All is as asked.
    pub const OK: u8 = 0;
    /// Failed, or the environment lacks something.
    pub const FAILED: u8 = 1;
    /// Wrong usage; clap uses the same.
    pub const USAGE: u8 = 2;
    /// Not sealed, or something gets out.
    pub const NOT_SEALED: u8 = 3;
    /// Sealed, and a way out is open now; or not all of a proof is proven.
    pub const OPENED: u8 = 4;
}

/// An error the user can act upon: what failed on what, and what to do next.
#[derive(Debug)]
pub struct Failure {
    /// One of [`exit`].
    pub code: u8,
    /// What failed, on what; lower case, no final period.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of the environment, with a hint.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code: exit::FAILED,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// The same with another exit code.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// Renders `error:`, `caused by:` and `hint:` lines, and the exit code.
///
/// Control characters are escaped: names in messages may come from containers.
pub fn render(error: &anyhow::Error) -> (String, ExitCode) {
    let mut text = format!("error: {}\n", crate::notation::escape(&error.to_string()));
    for cause in error.chain().skip(1) {
        text += &format!(
            "caused by: {}\n",
            crate::notation::escape(&cause.to_string())
        );
    }
    // One that is the context of another error is none of the chain's own types.
    let context = error.downcast_ref::<Failure>();
    let failures = || {
        let causes = error.chain().filter_map(|e| e.downcast_ref::<Failure>());
        context.into_iter().chain(causes)
    };
    let mut hints: Vec<&String> = Vec::new();
    for hint in failures().filter_map(|f| f.hint.as_ref()) {
        if !hints.contains(&hint) {
            hints.push(hint);
            text += &format!("hint: {}\n", crate::notation::escape(hint));
        }
    }
    let code = failures().next().map_or(exit::FAILED, |f| f.code);
    (text, ExitCode::from(code))
}

#[cfg(test)]
mod tests {
    use super::{Failure, exit, render};

    #[test]
    fn prints_causes_and_hints() {
        let root = Failure::new("no such\nfile", "make one").with_code(exit::NOT_SEALED);
        let error = anyhow::Error::new(root).context("cannot read the policy");
        let (text, _) = render(&error);
        assert_eq!(
            text,
            "error: cannot read the policy\ncaused by: no such\\nfile\nhint: make one\n"
        );
    }

    #[test]
    fn a_failure_around_another_error_keeps_its_hint() {
        let cause = anyhow::anyhow!("refused");
        let error = cause.context(Failure::new("nobody answers", "start it"));
        let (text, _) = render(&error);
        assert_eq!(
            text,
            "error: nobody answers\ncaused by: refused\nhint: start it\n"
        );
    }
}
