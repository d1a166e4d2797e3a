//! A containerd of one test's own, with its CRI and its NRI: sockets, storage and settings that
//! nobody else has. Its pods are on the outside's own bridge.

use crate::cmd;
use crate::cri::{call, message::Nothing, pods};
use crate::outside::Outside;
use crate::{LABEL, image, private, wait};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Above what Docker gives to the few containers of a test on the same bridge.
const FIRST_ADDRESS: u8 = 12;
/// Where `cargo xtask setup` has put it: Debian 12 has an older one.
const PROGRAMS: &str = "/usr/local/lib/airgap-tests/containerd/usr/bin";
/// Where Debian has network plugins.
const NETWORK_PLUGINS: &str = "/usr/lib/cni";

/// Ends with its pods and files on drop.
#[derive(Debug)]
pub struct Containerd {
    dir: PathBuf,
    pause: String,
    /// In a mount namespace of its own, in which mounts spread as on a node with systemd.
    spreads: bool,
    child: Option<Child>,
}

impl Containerd {
    /// Where its pods' cgroups are, from the root of the hierarchy.
    pub const CGROUPS: &str = "/airgap-test-kubepods/besteffort";

    /// Starts it with the image under test in it.
    ///
    /// # Panics
    /// When it is not there, does not start, or does not take the image.
    #[must_use]
    #[track_caller]
    pub fn start(outside: &Outside) -> Self {
        Self::start_in(outside, false)
    }

    /// One that gives containers what is mounted on the node later, too, as most nodes can: it is
    /// not to be started again, for what it has mounted goes with it.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    #[track_caller]
    pub fn start_spreading(outside: &Outside) -> Self {
        Self::start_in(outside, true)
    }

    #[track_caller]
    fn start_in(outside: &Outside, spreads: bool) -> Self {
        let program = Path::new(PROGRAMS).join("containerd");
        assert!(
            program.exists(),
            "{} is missing: cargo xtask setup",
            program.display()
        );
        let dir = PathBuf::from(format!(
            "/var/tmp/airgap-test-containerd-{}",
            std::process::id()
        ));
        fs::create_dir_all(dir.join("networks")).expect("mkdir");
        let mut containerd = Self {
            dir,
            pause: format!("airgap-test-pause:{}", std::process::id()),
            spreads,
            child: None,
        };
        containerd.configure(outside);
        containerd.run();
        containerd.take_images();
        containerd
    }

    /// Of its CRI.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    /// Where it listens for plugins: below /run, as on any node.
    #[must_use]
    pub fn nri(&self) -> String {
        format!("/run/airgap-test-nri-{}.sock", std::process::id())
    }

    /// Its client, for what a kubelet sees.
    #[must_use]
    pub fn ctr(&self) -> Command {
        let mut ctr = Command::new(Path::new(PROGRAMS).join("ctr"));
        ctr.args(["--address", &self.path("containerd.sock")])
            .args(["--namespace", "k8s.io"]);
        ctr
    }

    /// Where the containers of a pod log.
    #[must_use]
    pub fn logs(&self, uid: &str) -> PathBuf {
        self.dir.join("logs").join(uid)
    }

    /// The image under test, as it knows it.
    #[must_use]
    pub fn image(&self) -> String {
        format!("docker.io/library/{}", image::ensure())
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn configure(&self, outside: &Outside) {
        let (cri, runtime) = ("io.containerd.cri.v1", "io.containerd.runc.v2");
        let pause = &self.pause;
        let [root, state, socket, networks, none] =
            ["root", "state", "containerd.sock", "networks", "none"].map(|name| self.path(name));
        let nri = self.nri();
        // AppArmor's profile would have to be loaded by a program that is not here, and not
        // everybody who may run tests may protect a process from running out of memory.
        let settings = format!(
            "version = 3\nroot = '{root}'\nstate = '{state}'\n\
             [grpc]\naddress = '{socket}'\n\
             [plugins.'{cri}.images']\nsnapshotter = 'native'\n\
             [plugins.'{cri}.images'.pinned_images]\nsandbox = 'docker.io/library/{pause}'\n\
             [plugins.'{cri}.runtime']\ndisable_apparmor = true\nrestrict_oom_score_adj = true\n\
             [plugins.'{cri}.runtime'.containerd.runtimes.runc]\nruntime_type = '{runtime}'\n\
             [plugins.'{cri}.runtime'.containerd.runtimes.runc.options]\n\
             BinaryName = '/usr/sbin/runc'\nSystemdCgroup = false\n\
             [plugins.'{cri}.runtime'.cni]\nbin_dirs = ['{NETWORK_PLUGINS}']\n\
             conf_dir = '{networks}'\n\
             [plugins.'io.containerd.nri.v1.nri']\ndisable = false\nsocket_path = '{nri}'\n\
             plugin_path = '{none}'\nplugin_config_path = '{none}'\n"
        );
        fs::write(self.dir.join("config.toml"), settings).expect("config.toml");
        let plan = &outside.plan;
        let [a, b, c, d] = plan.gateway4.octets();
        let first = format!("{a}.{b}.{c}.{}", d - 1 + FIRST_ADDRESS);
        let network = serde_json::json!({
            "cniVersion": "1.0.0",
            "name": "outside",
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

    /// Starts it, again after a [`Self::kill`].
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn run(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"));
        // Its shims are found beside it.
        let path = std::env::var("PATH").unwrap_or_default();
        let program = Path::new(PROGRAMS).join("containerd");
        let mut command = match self.spreads {
            true => Command::new("unshare"),
            false => Command::new(&program),
        };
        if self.spreads {
            let shared = ["--mount", "--propagation", "shared"];
            command.args(shared).arg(program);
        }
        let child = command
            .args(["--config", &self.path("config.toml")])
            .env("PATH", format!("{PROGRAMS}:{path}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("its log"))
            .spawn()
            .expect("start containerd");
        self.child = Some(child);
        let answers = || call::<Nothing>(&self.socket(), "Status", &Nothing {}).ok();
        if wait::within(PATIENCE, answers).is_none() {
            panic!("no containerd within {PATIENCE:?}:\n{}", self.log());
        }
    }

    /// SIGKILLs it; pods live on.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// The image under test, and the same as what holds a pod's network.
    #[track_caller]
    fn take_images(&self) {
        let pause = &self.pause;
        let made = cmd::ok(&format!(
            "docker create --label {LABEL}=image {} sleep",
            image::ensure()
        ));
        let mut commit = Command::new("docker");
        commit.args(["commit", "--change", "CMD [\"sleep\", \"1000000\"]"]);
        let commit = cmd::run_command(commit.args([&made, pause]));
        cmd::ok(&format!("docker rm {made}"));
        commit.expect_code(0);
        for image in [image::ensure(), pause] {
            let mut save = Command::new("docker")
                .args(["save", image])
                .stdout(Stdio::piped())
                .spawn()
                .expect("docker save");
            let stream = save.stdout.take().expect("a pipe");
            let mut import = self.ctr();
            import
                .args(["images", "import"])
                .args(["--snapshotter", "native", "--local", "-"]);
            let import = import.stdin(stream).output().expect("ctr");
            assert!(
                import.status.success() && save.wait().is_ok_and(|s| s.success()),
                "{import:?}"
            );
        }
        cmd::attempt(&format!("docker rmi -f {pause}"));
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let socket = self.socket();
        if std::thread::panicking() {
            eprintln!("--- log of containerd\n{}\n---", self.log());
        }
        if self.child.is_some() {
            for id in pods(&socket) {
                let id = crate::cri::message::Id { id };
                drop(call::<Nothing>(&socket, "StopPodSandbox", &id));
                drop(call::<Nothing>(&socket, "RemovePodSandbox", &id));
            }
        }
        self.kill();
        private::end("containerd-shim", &self.dir);
        private::remove(&self.dir);
        drop(fs::remove_file(self.nri()));
        let top = Self::CGROUPS.trim_start_matches('/').split('/').next();
        let top = top.unwrap_or_default();
        for hierarchy in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            let dir = hierarchy.path().join(top);
            // Of a sandbox that a plugin has refused containerd 2.1 leaves the process behind.
            wait::within(wait::SOON, || {
                remove_empty(&dir);
                (!dir.exists()).then_some(())
            });
        }
    }
}

/// Ends what is in cgroups of the tests' own, and removes them, the innermost first.
fn remove_empty(dir: &Path) {
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in procs.lines().filter_map(|line| line.parse::<i32>().ok()) {
        // SAFETY: kill takes no pointers; the process is of a pod of this containerd's.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    drop(fs::remove_dir(dir));
}
