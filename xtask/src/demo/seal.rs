//! `airgap` at work: attach with its live tail, status, detach.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::wait;
use crate::command;
use crate::undo::Undo;

/// Exit codes of `airgap status` for a container that is sealed: SEALED and LIMITED, or OPENED.
const SEALED: [Option<i32>; 2] = [Some(0), Some(4)];

/// A sealed container, and the denials that `airgap attach` prints.
pub(super) struct Seal {
    airgap: PathBuf,
    /// Where it records seals: not where the machine's own are.
    state: PathBuf,
    container: String,
    attach: Child,
    lines: Receiver<String>,
}

impl Seal {
    /// Runs `airgap attach` in the background and waits until `airgap status` confirms the seal.
    ///
    /// # Errors
    /// When attach ends, or the container is not sealed after half a minute.
    pub(super) fn attach(
        airgap: &Path,
        state: &Path,
        container: &str,
        undo: &mut Undo,
    ) -> Result<Self> {
        let path = airgap.display();
        let run = format!("AIRGAP_STATE={} {path}", state.display());
        undo.later(&format!(
            "{run} status {container} >/dev/null 2>&1; \
             case $? in 0|4) {run} detach {container};; esac"
        ))?;
        let mut attach = Command::new(airgap);
        attach
            .env("AIRGAP_STATE", state)
            .args(["attach", container])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        println!("      $ {}", command::line(&attach));
        let mut child = attach
            .spawn()
            .with_context(|| format!("cannot start `{}`", command::line(&attach)))?;
        undo.later(&format!(
            "[ /proc/{pid}/exe -ef {path} ] && kill -INT {pid}",
            pid = child.id()
        ))?;
        let stdout = child.stdout.take().context("no pipe from airgap")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut seal = Self {
            airgap: airgap.to_path_buf(),
            state: state.to_path_buf(),
            container: container.to_owned(),
            attach: child,
            lines,
        };
        wait::until("the seal", Duration::from_secs(30), || {
            if let Some(status) = seal.attach.try_wait().context("cannot look at airgap")? {
                bail!("`{}` ended: {status}", command::line(&attach));
            }
            Ok(seal.is_sealed()?.then_some(()))
        })?;
        Ok(seal)
    }

    fn is_sealed(&self) -> Result<bool> {
        let status = Command::new(&self.airgap)
            .args(["status", &self.container])
            .env("AIRGAP_STATE", &self.state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("cannot start `{} status`", self.airgap.display()))?;
        Ok(SEALED.contains(&status.code()))
    }

    /// What attach has printed since the last call.
    pub(super) fn printed(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Ends the tail as Ctrl-C would, checks that the seal stays, and lifts it.
    ///
    /// # Errors
    /// When the seal fell with the tail, or detach fails.
    pub(super) fn detach(mut self) -> Result<()> {
        let pid = self.attach.id().to_string();
        command::run(Command::new("kill").args(["-INT", &pid]))?;
        wait::until("airgap's tail to end", Duration::from_secs(10), || {
            self.attach.try_wait().context("cannot look at airgap")
        })?;
        if !self.is_sealed()? {
            bail!("ending the tail has lifted the seal of {}", self.container);
        }
        let mut detach = Command::new(&self.airgap);
        detach
            .args(["detach", &self.container])
            .env("AIRGAP_STATE", &self.state);
        println!("      $ {}", command::line(&detach));
        command::run(&mut detach)
    }
}
