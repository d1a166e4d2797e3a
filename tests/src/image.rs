//! The image under test: busybox and the static probe, imported once per content.

use crate::{LABEL, cmd};
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

const NAME: &str = "airgap-test";
const APPLETS: [&str; 7] = ["sh", "cat", "cp", "ls", "mkdir", "printf", "sleep"];

/// The image's reference, building it when its content is new.
///
/// # Panics
/// When `$AIRGAP_PROBE` or a static busybox is missing, or the import fails.
#[must_use]
#[track_caller]
pub fn ensure() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(build)
}

#[track_caller]
fn build() -> String {
    let probe = probe_path();
    let busybox = Path::new("/bin/busybox");
    let mut hasher = DefaultHasher::new();
    for file in [probe.as_path(), busybox] {
        let bytes =
            fs::read(file).unwrap_or_else(|e| panic!("cannot read {}: {e}", file.display()));
        hasher.write(&bytes);
    }
    let image = format!("{NAME}:{:016x}", hasher.finish());
    if cmd::attempt(&format!("docker image inspect -f {{{{.Id}}}} {image}")).code == 0 {
        return image;
    }
    for stale in cmd::ok(&format!("docker images -q {NAME}")).lines() {
        cmd::attempt(&format!("docker rmi -f {stale}"));
    }
    let root = env::temp_dir().join(format!("{NAME}-image-{}", process::id()));
    lay_out(&root, &probe, busybox);
    import(&root, &image);
    fs::remove_dir_all(&root).unwrap_or_else(|e| panic!("cannot remove {}: {e}", root.display()));
    image
}

/// Puts the image into another engine, the one at `host`.
///
/// # Panics
/// When it is not taken.
#[track_caller]
pub(crate) fn give_to(host: &str) {
    let mut save = Command::new("docker")
        .args(["save", ensure()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker save");
    let stream = save.stdout.take().expect("a pipe");
    let mut load = Command::new("docker");
    load.args(["--host", host, "load"]).stdin(stream);
    let load = load.output().expect("docker load");
    assert!(
        load.status.success() && save.wait().is_ok_and(|s| s.success()),
        "{load:?}"
    );
}

/// The image under test with labels of its own; removed on drop.
#[derive(Debug)]
pub struct Labelled {
    pub reference: String,
}

impl Labelled {
    /// Each label is `NAME=VALUE`.
    ///
    /// # Panics
    /// When Docker does not make it.
    #[must_use]
    #[track_caller]
    pub fn new(labels: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let reference = format!("{NAME}-labelled:{}-{number}", process::id());
        let container = cmd::ok(&format!("docker create {} airgap-probe", ensure()));
        let mut commit = Command::new("docker");
        commit.arg("commit");
        for label in labels {
            commit.args(["--change", &format!("LABEL {label}")]);
        }
        let made = cmd::run_command(commit.args([&container, &reference]));
        cmd::ok(&format!("docker rm {container}"));
        made.expect_code(0);
        Self { reference }
    }
}

impl Drop for Labelled {
    fn drop(&mut self) {
        cmd::attempt(&format!("docker rmi -f {}", self.reference));
    }
}

/// Where the static probe is, from `$AIRGAP_PROBE`.
///
/// # Panics
/// When the variable is not set.
#[must_use]
#[track_caller]
pub fn probe_path() -> PathBuf {
    PathBuf::from(
        env::var_os("AIRGAP_PROBE")
            .expect("AIRGAP_PROBE must name the static airgap-probe; run `cargo xtask test`"),
    )
}

fn lay_out(root: &Path, probe: &Path, busybox: &Path) {
    let bin = root.join("bin");
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(dir)).unwrap_or_else(|e| panic!("mkdir {dir}: {e}"));
    }
    for (from, to) in [(probe, "airgap-probe"), (busybox, "busybox")] {
        fs::copy(from, bin.join(to)).unwrap_or_else(|e| panic!("copy {}: {e}", from.display()));
    }
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", bin.join(applet))
            .unwrap_or_else(|e| panic!("link {applet}: {e}"));
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    )
    .unwrap_or_else(|e| panic!("etc/passwd: {e}"));
}

fn import(root: &Path, image: &str) {
    let mut tar = Command::new("tar")
        .args(["-C", &root.to_string_lossy(), "-c", "."])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start tar: {e}"));
    let stream = tar.stdout.take().expect("tar was given a pipe");
    let done = Command::new("docker")
        .args(["import", "--change", "ENV PATH=/bin", "--change"])
        .args([&format!("LABEL {LABEL}=image"), "-", image])
        .stdin(stream)
        .output()
        .unwrap_or_else(|e| panic!("cannot start docker: {e}"));
    let packed = tar.wait().unwrap_or_else(|e| panic!("tar: {e}"));
    assert!(
        done.status.success() && packed.success(),
        "docker import failed: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
