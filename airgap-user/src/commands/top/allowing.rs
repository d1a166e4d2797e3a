//! The key of `airgap top` that lets one destination be reached for a while.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use crate::{container::Hosts, failure::exit, state::State, top::Ask};

/// As `airgap allow` would, in a process of its own: what it says is not for the screen.
pub(super) struct Allowing {
    hosts: Hosts,
    state: PathBuf,
    /// The ceiling beside it counts, too.
    config: Option<PathBuf>,
    to: Sender<String>,
    /// What became of it.
    pub(super) said: Receiver<String>,
}

impl Allowing {
    pub(super) fn new(hosts: &Hosts, state: &State, config: Option<PathBuf>) -> Self {
        let (to, said) = channel();
        Self {
            hosts: hosts.clone(),
            state: state.dir().to_owned(),
            config,
            to,
            said,
        }
    }

    /// Begins; the display goes on meanwhile.
    pub(super) fn start(&self, ask: Ask) {
        let mut command = Command::new("/proc/self/exe");
        for host in self.hosts.named() {
            command.args(["--host", host]);
        }
        command.arg("--state-dir").arg(&self.state);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        // By its id: a name may be another's by now.
        command.args(["allow", &ask.id, "--to", &ask.to, "--for", "15m"]);
        command.args(["--reason", "allowed in airgap top"]);
        command.stdin(Stdio::null());
        let to = self.to.clone();
        let begun = thread::Builder::new().name("allow".into()).spawn(move || {
            let said = match command.output() {
                Ok(out) => said(&ask, &out),
                Err(error) => format!("airgap allow cannot be run: {error}"),
            };
            // Nobody may be there to read it any more.
            let _ = to.send(said);
        });
        if let Err(error) = begun {
            let _ = self.to.send(format!("a thread cannot be started: {error}"));
        }
    }
}

/// One line of what it came to. Pure.
fn said(ask: &Ask, out: &Output) -> String {
    let Ask { name, to, .. } = ask;
    let code = out.status.code().unwrap_or(-1);
    if code == i32::from(exit::OK) || code == i32::from(exit::OPENED) {
        return format!("{name} reaches {to} for 15 minutes; airgap disallow {name} --to {to}");
    }
    let text = String::from_utf8_lossy(&out.stderr);
    let why = text.lines().find_map(|line| line.strip_prefix("error: "));
    format!("not allowed: {}", why.unwrap_or("airgap allow failed"))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

    use super::*;

    #[test]
    fn what_it_came_to_is_one_line() {
        let ask = Ask {
            id: "a".repeat(64),
            name: "web".into(),
            to: "198.51.100.7:443/tcp".into(),
        };
        let ended = |code: i32, stderr: &str| {
            let status = ExitStatus::from_raw(code << 8);
            let (stdout, stderr) = (Vec::new(), stderr.as_bytes().to_vec());
            said(
                &ask,
                &Output {
                    status,
                    stdout,
                    stderr,
                },
            )
        };
        assert!(ended(0, "").starts_with("web reaches 198.51.100.7:443/tcp for 15 minutes"));
        assert!(ended(4, "").starts_with("web reaches"));
        assert_eq!(ended(2, "error: no\nhint: x\n"), "not allowed: no");
        assert_eq!(ended(1, ""), "not allowed: airgap allow failed");
    }
}
