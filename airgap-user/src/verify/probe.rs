//! Airgap's side of a probe: starts it, tells it what to try, ends it.

use std::{
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::inside::Said;
use crate::technique::Report;

/// Longer than any attempt; a container that is paused does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running probe; killed when dropped.
pub(super) struct Probe {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    unread: Vec<u8>,
}

impl Probe {
    /// Starts one and waits until it is in place. From the main thread: it
    /// dies with the thread that started it.
    pub(super) fn start(pid: u32, id: &str, sealed: bool) -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["probe", "--pid", &pid.to_string(), "--id", id]);
        if sealed {
            command.arg("--sealed");
        }
        let mut child = command
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the probe")?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let (Some(to), Some(from)) = (to, from) else {
            bail!("the probe has no pipes");
        };
        let mut probe = Self {
            child,
            to,
            from,
            unread: Vec::new(),
        };
        match probe.hear()? {
            Said::Ready => Ok(probe),
            Said::Failed(why) => bail!("the probe cannot go into the container: {why}"),
            Said::Tried(_) => bail!("the probe answers what was not asked"),
        }
    }

    /// Process id on the host.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it try one way out.
    pub(super) fn attempt(&mut self, line: &str) -> Result<Report> {
        writeln!(self.to, "{line}").context("the probe has ended")?;
        match self.hear()? {
            Said::Tried(report) => Ok(report),
            Said::Failed(why) => bail!("the probe failed: {why}"),
            Said::Ready => bail!("the probe answers what was not asked"),
        }
    }

    fn hear(&mut self) -> Result<Said> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=at).collect();
                return serde_json::from_slice(&line).context("the probe speaks another language");
            }
            let left = end.saturating_duration_since(Instant::now());
            let mut wait = libc::pollfd {
                fd: self.from.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one pollfd, which outlives the call.
            let ready = unsafe { libc::poll(&raw mut wait, 1, left.as_millis() as i32) };
            if ready == 0 {
                bail!("the probe does not answer: is the container paused?");
            }
            let mut bytes = [0; 4096];
            match self.from.read(&mut bytes) {
                Ok(0) => bail!("the probe has ended: did the container stop?"),
                Ok(len) => self.unread.extend(&bytes[..len]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot hear the probe"),
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
