//! Leaves nothing behind, however a command ends.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Collects undo lines on stdin and runs them backwards at its end. In a session of its own it
/// outlives Ctrl-C, a closed terminal and even `kill -9` of it: each ends its input.
const GUARD: &str = r#"trap "" INT TERM HUP
tac | while read -r line; do sh -c "$line" </dev/null; done"#;

/// What has to be undone, kept by a shell that waits for this process to end.
pub(crate) struct Undo {
    guard: Child,
    lines: ChildStdin,
}

impl Undo {
    /// Starts the waiting shell.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start() -> Result<Self> {
        let mut guard = Command::new("setsid")
            .args(["bash", "-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start `setsid bash`")?;
        let lines = guard
            .stdin
            .take()
            .context("no pipe to the clean-up shell")?;
        Ok(Self { guard, lines })
    }

    /// Registers a shell line; call it before the action, so the line must bear that nothing
    /// was done yet.
    ///
    /// # Errors
    /// When the shell is gone.
    pub(crate) fn later(&mut self, line: &str) -> Result<()> {
        writeln!(self.lines, "{line}").context("the clean-up shell is gone")
    }

    /// Undoes everything now, last action first.
    ///
    /// # Errors
    /// When the shell failed; single lines report on stderr.
    pub(crate) fn run(self) -> Result<()> {
        let Self { mut guard, lines } = self;
        drop(lines);
        let status = guard.wait().context("cannot wait for the clean-up shell")?;
        if !status.success() {
            bail!("cleaning up failed: {status}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoes_backwards() -> Result<()> {
        let path = std::env::temp_dir().join(format!("airgap-undo-{}", std::process::id()));
        let mut undo = Undo::start()?;
        for word in ["first", "second"] {
            undo.later(&format!("echo {word} >> {}", path.display()))?;
        }
        undo.run()?;
        let order = std::fs::read_to_string(&path)?;
        std::fs::remove_file(&path)?;
        assert_eq!(order, "second\nfirst\n");
        Ok(())
    }
}
