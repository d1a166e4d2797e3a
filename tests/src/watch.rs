//! `airgap watch` as a service: told from here what systemd would hear.

use crate::airgap::{airgap, command};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// Ends the thread that listens.
const END: &str = "END";

/// Killed by pid on drop; the quarantine ends with it.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    told: Receiver<String>,
    path: PathBuf,
}

impl Watch {
    /// Starts it and waits until it has judged what there is.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start(args: &[&str]) -> Self {
        Self::begin(command().arg("watch").args(args))
    }

    /// The same, with its messages in a file.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn logged(args: &[&str], log: &Path) -> Self {
        let log = fs::File::create(log).expect("a file for the log");
        Self::begin(command().arg("watch").args(args).stderr(log))
    }

    /// Starts `airgap nri` in its place, with its messages behind those that are in a file.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn asked(socket: &str, args: &[&str], log: &Path) -> Self {
        Self::begin(&mut nri(socket, args, log))
    }

    /// Starts that again after a [`Self::kill`]: quarantine is as it was.
    ///
    /// # Panics
    /// When it does not become ready.
    #[track_caller]
    pub fn again(&mut self, socket: &str, args: &[&str], log: &Path) {
        self.child = nri(socket, args, log)
            .env("NOTIFY_SOCKET", &self.path)
            .spawn()
            .expect("start airgap nri");
        self.hear("READY=1");
    }

    /// Starts `airgap keep` in its place.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn keeping() -> Self {
        Self::begin(command().arg("keep"))
    }

    #[track_caller]
    fn begin(command: &mut Command) -> Self {
        let path = PathBuf::from(format!("/run/airgap-test-notify-{}", std::process::id()));
        drop(fs::remove_file(&path));
        let notify = UnixDatagram::bind(&path).expect("bind");
        let (tell, told) = mpsc::channel();
        // As systemd does, always: what it tells stands still where nobody reads.
        thread::spawn(move || {
            let mut buffer = [0; 256];
            while let Ok(len) = notify.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
                if text == END || tell.send(text).is_err() {
                    return;
                }
            }
        });
        let child = command
            .env("NOTIFY_SOCKET", &path)
            .stdin(Stdio::null())
            .spawn()
            .expect("start airgap watch");
        let watch = Self { child, told, path };
        watch.hear("READY=1");
        watch
    }

    /// Waits until it tells systemd something.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn hear(&self, what: &str) {
        loop {
            let said = self.told.recv_timeout(PATIENCE);
            let said = said.unwrap_or_else(|e| panic!("airgap watch never said {what}: {e}"));
            if said.contains(what) {
                return;
            }
        }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it where it is: what happens now, it is not there to hear.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Ends a [`Self::pause`].
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: kill takes no pointers; the child was not waited for.
        unsafe { libc::kill(pid, signal) };
    }

    /// SIGKILLs it.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.kill();
        let end = UnixDatagram::unbound().and_then(|s| s.send_to(END.as_bytes(), &self.path));
        drop(end);
        drop(fs::remove_file(&self.path));
        airgap(&["quarantine", "off"]);
    }
}

fn nri(socket: &str, args: &[&str], log: &Path) -> Command {
    let log = fs::File::options().create(true).append(true).open(log);
    let mut command = command();
    command.args(["nri", "--socket", socket]).args(args);
    command.stdin(Stdio::null());
    command.stderr(log.expect("a file for the log"));
    command
}
