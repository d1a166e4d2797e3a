//! The engine of this machine, by its own command line, and airgap on it.

use airgap_tests::cmd::{self, Output};
use airgap_tests::drill::place::OUTSIDE4;
use std::cell::Cell;
use std::fs;
use std::process::{Command, Stdio};

/// Has the probe in it, and nothing else.
pub(crate) const IMAGE: &str = "drill";

/// Docker or Podman, which have nearly the same command line.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    /// Its command line, and before it whatever runs it as somebody else.
    words: String,
    /// Its socket, where airgap does not find it by itself.
    host: Option<String>,
    /// The port that the next container sends to.
    next: Cell<u16>,
}

impl Engine {
    /// Containers send to ports from `first` on.
    pub(crate) fn new(first: u16) -> Self {
        let name = match std::env::var("AIRGAP_ENGINE").as_deref() {
            Ok("docker") => "docker",
            Ok("podman") => "podman",
            other => panic!("AIRGAP_ENGINE={other:?} is no engine"),
        };
        Self {
            name,
            words: name.to_owned(),
            host: None,
            next: Cell::new(first),
        }
    }

    /// The same engine as another user's.
    pub(crate) fn of_user(&self, before: &str, host: &str) -> Self {
        Self {
            name: self.name,
            words: format!("{before} {}", self.name),
            host: Some(host.to_owned()),
            next: Cell::new(self.next.get()),
        }
    }

    pub(crate) fn is_podman(&self) -> bool {
        self.name == "podman"
    }

    /// A port that no other container sends to.
    pub(crate) fn port(&self) -> u16 {
        let port = self.next.get();
        self.next.set(port + 1);
        port
    }

    /// Waits for the engine, and gives it the image.
    pub(crate) fn prepare(&self) {
        // The disk has none, and resolvers of engines want one.
        fs::write("/etc/resolv.conf", format!("nameserver {OUTSIDE4}\n")).expect("write it");
        if self.is_podman() {
            cmd::ok("systemctl enable --now podman.socket");
        }
        self.import();
    }

    /// Gives it the image.
    pub(crate) fn import(&self) {
        let mut tar = Command::new("tar")
            .args(["--directory", "/opt", "--create", "airgap-probe"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("start tar");
        let mut words = self.words.split(' ');
        let mut import = Command::new(words.next().unwrap_or_default());
        import
            .args(words)
            .args(["import", "-", IMAGE])
            .stdin(tar.stdout.take().expect("tar was given a pipe"));
        assert!(import.status().expect("start it").success(), "import");
        assert!(tar.wait().expect("tar").success(), "tar");
    }

    /// Runs a line of its command line, split at white space.
    pub(crate) fn attempt(&self, line: &str) -> Output {
        cmd::attempt(&format!("{} {line}", self.words))
    }

    /// The same; its failure is the scenario's.
    pub(crate) fn run(&self, line: &str) -> Result<String, String> {
        let out = self.attempt(line);
        if out.code == 0 {
            return Ok(out.stdout.trim().to_owned());
        }
        let mut lines = out.stderr.lines().rev();
        let last = lines.find(|line| !line.trim().is_empty());
        let last = last.unwrap_or_default();
        Err(format!("{} {line}: exit {}: {last}", self.name, out.code))
    }

    /// `airgap ARGS…`, split at white space, as its users run it.
    pub(crate) fn airgap(&self, line: &str) -> Output {
        let out = cmd::run_command(&mut self.command(line));
        // For whoever looks into a failure.
        println!("{}", out.describe());
        out
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new("airgap");
        if let Some(host) = &self.host {
            command.args(["--host", host]);
        }
        command.args(line.split_whitespace());
        command
    }

    /// Versions of what takes part, each a word.
    pub(crate) fn versions(&self) -> String {
        let mut packages = match self.name {
            "docker" => vec!["docker.io", "containerd", "runc", "docker-compose"],
            _ => vec!["podman", "crun", "conmon", "netavark"],
        };
        packages.push("systemd");
        let versions = packages.iter().map(|package| {
            let line = format!("dpkg-query --show --showformat=${{Version}} {package}");
            let out = cmd::attempt(&line);
            format!("{package} {}", out.stdout.trim())
        });
        versions.collect::<Vec<_>>().join(", ")
    }
}
