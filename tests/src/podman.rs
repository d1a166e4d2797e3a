//! A Podman of one test's own behind its Docker-compatible socket: storage, locks and settings
//! that nobody else has, and no packet filter rules.

use crate::cmd::{self, Output};
use crate::outside::Outside;
use crate::reach::Reach;
use crate::{airgap, image, private, wait};
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Above what Docker gives to the few containers of a test on the same bridge.
const FIRST_ADDRESS: u8 = 16;

/// Ends with its containers and files on drop. Its containers are on the outside's own bridge, in
/// the network [`Podman::NETWORK`].
#[derive(Debug)]
pub struct Podman {
    dir: PathBuf,
    child: Option<Child>,
}

impl Podman {
    pub const NETWORK: &str = "outside";

    /// Starts it with the image under test in it.
    ///
    /// # Panics
    /// When it does not start or take the image.
    #[must_use]
    #[track_caller]
    pub fn start(outside: &Outside) -> Self {
        // Not below /run, which may hold little, nor where others may write: hosts files are
        // written into root's folders alone.
        let dir = PathBuf::from(format!(
            "/var/lib/airgap-test-podman-{}",
            std::process::id()
        ));
        fs::create_dir_all(dir.join("networks")).expect("mkdir");
        fs::create_dir_all(dir.join("hooks")).expect("mkdir");
        let mut podman = Self { dir, child: None };
        podman.configure(outside);
        podman.serve();
        image::give_to(&podman.host());
        podman
    }

    /// For `--host`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("podman.sock"))
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// What it has runtimes run for which containers, as `airgap install` writes it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn hook(&self, json: &Value) {
        fs::write(self.dir.join("hooks/50-airgap.json"), json.to_string()).expect("a hook");
    }

    /// Runs `docker ARGS…` against it.
    #[track_caller]
    pub fn docker<S: AsRef<str>>(&self, args: &[S]) -> Output {
        let mut command = Command::new("docker");
        command.args(["--host", &self.host()]);
        cmd::run_command(command.args(args.iter().map(AsRef::as_ref)))
    }

    /// Runs `podman ARGS…` on what it serves: pods are nothing that Docker's client knows.
    #[track_caller]
    pub fn podman<S: AsRef<str>>(&self, args: &[S]) -> Output {
        cmd::run_command(self.command().args(args.iter().map(AsRef::as_ref)))
    }

    /// Runs `airgap --host … ARGS…` for it.
    #[track_caller]
    pub fn airgap(&self, args: &[&str]) -> Output {
        airgap(&[&["--host", self.host().as_str()], args].concat())
    }

    /// A probe in one of its containers.
    #[must_use]
    #[track_caller]
    pub fn reach(&self, name: &str) -> Reach {
        let mut client = Command::new("docker");
        client.args(["--host", &self.host()]);
        Reach::of(client, name)
    }

    /// What a container has said.
    #[track_caller]
    pub fn log(&self, name: &str) -> String {
        self.docker(&["logs", name]).stdout
    }

    /// Ends a container, and removes it.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        self.podman(&["rm", "-f", "-t", "0", name]).expect_code(0);
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command
            .env("CONTAINERS_CONF", self.path("containers.conf"))
            .args(["--root", &self.path("root"), "--runroot", &self.path("run")])
            .args(["--tmpdir", &self.path("tmp")]);
        command
    }

    fn configure(&self, outside: &Outside) {
        let (networks, hooks) = (self.path("networks"), self.path("hooks"));
        // The usual limits are above what this process may hand on. Locks in files: the other
        // kind is one for all Podmans of the machine.
        let settings = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             log_driver = \"k8s-file\"\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
             lock_type = \"file\"\nruntime = \"runc\"\nhooks_dir = [\"{hooks}\"]\n\
             [network]\nnetwork_backend = \"cni\"\nnetwork_config_dir = \"{networks}\"\n"
        );
        fs::write(self.dir.join("containers.conf"), settings).expect("containers.conf");
        let plan = &outside.plan;
        let [a, b, c, d] = plan.gateway4.octets();
        let first = format!("{a}.{b}.{c}.{}", d - 1 + FIRST_ADDRESS);
        let network = serde_json::json!({
            "cniVersion": "0.4.0",
            "name": Self::NETWORK,
            "plugins": [{
                "type": "bridge",
                "bridge": plan.bridge,
                "isGateway": false,
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": self.path("addresses"),
                    "ranges": [
                        [{ "subnet": plan.net4, "rangeStart": first, "gateway": plan.gateway4 }],
                        [{ "subnet": plan.net6, "rangeStart": format!("{}00", plan.gateway6), "gateway": plan.gateway6 }],
                    ],
                    "routes": [
                        { "dst": "0.0.0.0/0", "gw": plan.gateway4 },
                        { "dst": "::/0", "gw": plan.gateway6 },
                    ],
                },
            }],
        });
        let file = self.dir.join("networks/outside.conflist");
        fs::write(file, network.to_string()).expect("a network");
    }

    fn serve(&mut self) {
        let log = File::create(self.dir.join("log")).expect("its log");
        let child = self
            .command()
            .args(["system", "service"])
            .args(["--time", "0", &self.host()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start podman");
        self.child = Some(child);
        let answers = || (self.docker(&["version"]).code == 0).then_some(());
        if wait::within(PATIENCE, answers).is_none() {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            panic!("no podman within {PATIENCE:?}:\n{log}");
        }
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.podman(&["pod", "rm", "-f", "-a"]);
        for id in self.docker(&["ps", "-aq"]).stdout.lines() {
            self.docker(&["rm", "-f", id]);
        }
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        // Those of each exec stay for five minutes.
        private::end("conmon", &self.dir);
        private::remove(&self.dir);
        for folder in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            let parent = folder.path().join("libpod_parent");
            // Of conmon, and of pods; none is empty while another Podman uses it.
            for below in fs::read_dir(&parent).into_iter().flatten().flatten() {
                drop(fs::remove_dir(below.path()));
            }
            drop(fs::remove_dir(parent));
        }
    }
}
