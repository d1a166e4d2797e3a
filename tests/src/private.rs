//! A Docker daemon of one test's own: data root, sockets and settings that nobody else has, no
//! network and no packet filter rules.

use crate::cmd::{self, Output};
use crate::{image, wait};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with its containers and files on drop; containers have no network but loopback.
#[derive(Debug)]
pub struct PrivateEngine {
    dir: PathBuf,
    live_restore: bool,
    /// In a pid namespace of its own: its numbers mean other processes here.
    apart: bool,
    child: Option<Child>,
}

impl PrivateEngine {
    /// Starts it with the image under test in it.
    ///
    /// # Panics
    /// When it does not start or take the image.
    #[must_use]
    pub fn start(live_restore: bool) -> Self {
        Self::start_in(live_restore, false)
    }

    /// One in a pid namespace of its own, as engines in containers have it.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_apart() -> Self {
        Self::start_in(false, true)
    }

    fn start_in(live_restore: bool, apart: bool) -> Self {
        // Not below /run, which may hold little, nor where others may write: hosts files are
        // written into root's folders alone.
        let dir = PathBuf::from(format!(
            "/var/lib/airgap-test-engine-{}",
            std::process::id()
        ));
        fs::create_dir_all(&dir).expect("mkdir");
        let mut engine = Self {
            dir,
            live_restore,
            apart,
            child: None,
        };
        engine.run();
        image::give_to(&engine.host());
        engine
    }

    /// For `--host`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.join("docker.sock").display())
    }

    /// Runs `docker ARGS…` against it.
    #[track_caller]
    pub fn docker<S: AsRef<str>>(&self, args: &[S]) -> Output {
        let mut command = Command::new("docker");
        command.args(["--host", &self.host()]);
        cmd::run_command(command.args(args.iter().map(AsRef::as_ref)))
    }

    /// Starts the daemon, again after a [`Self::kill`].
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn run(&mut self) {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"));
        // `--bridge none` removes a bridge docker0 that it finds: the host's, if it may.
        let apart = ["--pid", "--fork", "--mount-proc", "--kill-child"];
        let child = Command::new("unshare")
            .arg("--net")
            .args(apart.iter().filter(|_| self.apart))
            .arg("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid"), "--host", &self.host()])
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .arg(format!("--live-restore={}", self.live_restore))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("its log"))
            .spawn()
            .expect("start dockerd");
        self.child = Some(child);
        let answers = || (self.docker(&["version"]).code == 0).then_some(());
        if wait::within(PATIENCE, answers).is_none() {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            panic!("no dockerd within {PATIENCE:?}:\n{log}");
        }
    }

    /// SIGKILLs the daemon, and its containerd, which the kernel would end with it; the containers
    /// and their shims live on.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        let containerd = self.dir.join("exec/containerd/containerd.pid");
        signal(&containerd, libc::SIGKILL);
        // Of the dead, nobody may be taken for alive.
        for file in [containerd, self.dir.join("pid")] {
            drop(fs::remove_file(file));
        }
    }
}

/// Ends what an engine left beside its containers, by program and by the engine's directory.
pub(crate) fn end(program: &str, dir: &Path) {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains(program) && line.contains(&*dir.to_string_lossy())
    };
    for pid in pids.filter(ours) {
        // SAFETY: kill takes no pointers; the process is of this engine.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// Signals the process that a pid file names; it wrote its own.
pub(crate) fn signal(pid_file: &Path, signal: i32) -> Option<i32> {
    let text = fs::read_to_string(pid_file).ok()?;
    let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 1)?;
    // SAFETY: kill takes no pointers.
    let sent = unsafe { libc::kill(pid, signal) };
    (sent == 0).then_some(pid)
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if self.child.is_some() {
            let all = self.docker(&["ps", "-aq"]).stdout;
            for id in all.lines() {
                self.docker(&["rm", "-f", id]);
            }
        }
        if let Some(mut child) = self.child.take() {
            if self.apart {
                // All of its namespace ends with its first process.
                drop(child.kill());
            } else {
                signal(&self.dir.join("pid"), libc::SIGTERM);
            }
            drop(child.wait());
        }
        if !self.apart {
            signal(
                &self.dir.join("exec/containerd/containerd.pid"),
                libc::SIGKILL,
            );
        }
        end("containerd-shim", &self.dir);
        remove(&self.dir);
    }
}

/// Removes an engine's directory, and what the engine left mounted in it.
pub(crate) fn remove(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let shown = dir.display().to_string();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut points: Vec<_> = points.filter(|point| point.starts_with(&shown)).collect();
    // The inner ones were mounted last.
    points.reverse();
    for point in points {
        cmd::attempt(&format!("umount {point}"));
    }
    if let Err(error) = fs::remove_dir_all(dir) {
        eprintln!("cannot remove {shown}: {error}");
    }
}
