//! Airgap's side of a probe: starts it, tells it what to try, ends it.

use std::{
    io::{Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{inside::Said, subject::Subject};
use crate::{
    host::netns::Netns,
    technique::{Outcome, Report, Way},
};

/// Longer than any attempt that can give up by itself; io_uring cannot.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is asked whether the run is to end.
const STEP: Duration = Duration::from_millis(100);

/// What a probe has of the container.
pub(super) enum Place<'a> {
    /// All: its cgroup too, and what is tried from.
    Inside(&'a Netns),
    /// All but the cgroup.
    Unsealed(&'a Netns),
    /// The same in another network namespace.
    Aside(&'a Netns),
}

/// A running probe; killed when dropped.
pub(super) struct Probe {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    unread: Vec<u8>,
    args: Vec<String>,
}

impl Probe {
    /// Starts one and waits until it is in place. From the main thread: it
    /// dies with the thread that started it.
    pub(super) fn start(subject: &Subject, place: &Place<'_>) -> Result<Self> {
        let mut args = vec!["probe".to_owned()];
        args.extend(subject.words());
        let (Place::Inside(netns) | Place::Unsealed(netns) | Place::Aside(netns)) = place;
        let path = format!("/proc/{}/fd/{}", std::process::id(), netns.fd());
        args.extend(["--netns".to_owned(), path]);
        if let Place::Inside(_) = place {
            args.push("--sealed".to_owned());
        }
        Self::launch(args)
    }

    fn launch(args: Vec<String>) -> Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .args(&args)
            .env_clear()
            // Ctrl-C on a terminal is for airgap, which then tidies up.
            .process_group(0)
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
            args,
        };
        match probe.hear()? {
            Some(Said::Ready) => Ok(probe),
            Some(Said::Failed(why)) => bail!("the probe cannot go into the container: {why}"),
            Some(Said::Tried(_)) => bail!("the probe answers what was not asked"),
            None => bail!("the probe does not answer: is the container paused?"),
        }
    }

    /// Process id on the host.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it try one way out. An attempt that hangs ends with its process, and
    /// another takes over.
    pub(super) fn attempt(&mut self, way: &Way, line: &str) -> Result<Report> {
        writeln!(self.to, "{line}").context("the probe has ended")?;
        match self.hear()? {
            Some(Said::Tried(report)) => Ok(report),
            Some(Said::Failed(why)) => bail!("the probe failed: {why}"),
            Some(Said::Ready) => bail!("the probe answers what was not asked"),
            None => {
                *self = Self::launch(self.args.clone())?;
                Ok(Report {
                    technique: way.name.to_owned(),
                    outcome: Outcome::NoAnswer,
                    errno: 0,
                    micros: PATIENCE.as_micros() as u64,
                    detail: "it hung".to_owned(),
                })
            }
        }
    }

    /// What it says next; `None` if nothing in time.
    fn hear(&mut self) -> Result<Option<Said>> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=at).collect();
                let said = serde_json::from_slice(&line);
                return said.map(Some).context("the probe speaks another language");
            }
            super::interrupt::check()?;
            let left = end.saturating_duration_since(Instant::now());
            let step = left.min(STEP);
            let mut wait = libc::pollfd {
                fd: self.from.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one pollfd, which outlives the call.
            let ready = unsafe { libc::poll(&raw mut wait, 1, step.as_millis() as i32) };
            if ready < 0 {
                continue;
            }
            if ready == 0 {
                if left.is_zero() {
                    return Ok(None);
                }
                continue;
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
