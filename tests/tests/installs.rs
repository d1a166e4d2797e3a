//! `airgap install`: what systemd is told, shown before it is written, and undone.

use airgap_tests::airgap::binary;
use airgap_tests::cmd::{self, Output};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A root of its own with a copy of the binary in it; gone with it.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        let root = PathBuf::from(format!("/run/airgap-test-root-{}", std::process::id()));
        fs::create_dir_all(root.join("sbin")).expect("mkdir");
        fs::copy(binary(), root.join("sbin/airgap")).expect("copy the binary");
        Self(root)
    }

    /// One with a unit that starts an engine.
    fn with(unit: &str, command: &str) -> Self {
        let root = Self::new();
        let dir = root.0.join("usr/lib/systemd/system");
        fs::create_dir_all(&dir).expect("mkdir");
        let text = format!("[Service]\nExecStart={command}\n");
        fs::write(dir.join(unit), text).expect("write the unit");
        root
    }

    fn airgap(&self, args: &[&str]) -> Output {
        let mut command = Command::new(self.0.join("sbin/airgap"));
        command.args(args).arg("--root").arg(&self.0);
        cmd::run_command(command.env("AIRGAP_STATE", "/var/lib/airgap"))
    }

    fn units(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut queue = vec![self.0.join("etc")];
        while let Some(dir) = queue.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => queue.push(path),
                    path => found.push(path),
                }
            }
        }
        found
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn install_shows_asks_writes_and_uninstall_undoes() {
    let root = Root::with("docker.service", "/usr/bin/dockerd -H fd://");
    let shown = root.airgap(&["install", "--dry-run"]).expect_code(0);
    assert!(
        shown.stdout.contains("+Requires=airgap-restore.service"),
        "{}",
        shown.describe()
    );
    // Nobody is there to say yes.
    root.airgap(&["install"]).expect_code(1);
    assert!(root.units().is_empty());

    let written = root.airgap(&["install", "--yes"]).expect_code(0);
    assert_eq!(
        written.stdout, shown.stdout,
        "what was shown is what is done"
    );
    assert_eq!(root.units().len(), 9, "{:?}", root.units());
    let again = root.airgap(&["install", "--yes"]).expect_code(0);
    assert_eq!(again.stdout, "", "{}", again.describe());

    let drop_in = root
        .0
        .join("etc/systemd/system/docker.service.d/airgap.conf");
    fs::write(&drop_in, "[Unit]\n").expect("change it");
    fs::write(drop_in.with_file_name("mine.conf"), "[Unit]\n").expect("write");
    let mended = root.airgap(&["install", "--yes"]).expect_code(0);
    assert_eq!(
        mended.stdout.matches("--- ").count(),
        1,
        "{}",
        mended.describe()
    );

    root.airgap(&["uninstall", "--dry-run"]).expect_code(0);
    assert_eq!(root.units().len(), 10);
    root.airgap(&["uninstall", "--yes"]).expect_code(0);
    assert_eq!(root.units(), [drop_in.with_file_name("mine.conf")]);
    root.airgap(&["uninstall", "--yes"]).expect_code(0);
}

#[test]
fn systemd_understands_the_units() {
    let root = Root::with("docker.service", "/usr/bin/dockerd -H fd://");
    root.airgap(&["install", "--yes"]).expect_code(0);
    let dir = root.0.join("etc/systemd/system");
    for unit in [
        "airgap-restore.service",
        "airgap-watch.service",
        "airgap-keep.service",
        "airgap-nri.service",
    ] {
        let mut verify = Command::new("systemd-analyze");
        let out = cmd::run_command(
            verify
                .args(["verify", "--man=no"])
                .arg(dir.join(unit))
                .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display())),
        );
        // It also complains about units that this machine lacks or has wrong.
        let ours = |line: &&str| line.contains("airgap");
        let complaints: Vec<_> = out.stderr.lines().filter(ours).collect();
        assert!(complaints.is_empty(), "{unit}\n{}", out.describe());
    }
}

/// Whatever starts an engine here does not start before its seals are back; where nothing is known
/// that does, that is said.
#[test]
fn install_finds_what_starts_engines() {
    let own = Root::with(
        "snap.docker.dockerd.service",
        "/usr/bin/snap run docker.dockerd",
    );
    let out = own.airgap(&["install", "--yes"]).expect_code(0);
    assert!(
        out.stderr.contains("snap.docker.dockerd.service"),
        "{}",
        out.describe()
    );
    let drop_in = own
        .0
        .join("etc/systemd/system/snap.docker.dockerd.service.d/airgap.conf");
    let text = fs::read_to_string(&drop_in).expect("its drop-in");
    assert!(text.contains("Requires=airgap-restore.service"), "{text}");
    own.airgap(&["uninstall", "--yes"]).expect_code(0);
    assert!(own.units().is_empty(), "{:?}", own.units());
    drop(own);

    let podman = Root::with("podman-restart.service", "/usr/bin/podman start --all");
    podman.airgap(&["install", "--yes"]).expect_code(0);
    let watch = podman.0.join("etc/systemd/system/airgap-watch.service");
    let watch = fs::read_to_string(watch).expect("the unit");
    assert!(
        watch.contains("--host unix:///run/podman/podman.sock"),
        "{watch}"
    );
    drop(podman);

    let program = Root::new();
    fs::create_dir_all(program.0.join("usr/bin")).expect("a directory");
    fs::write(program.0.join("usr/bin/dockerd"), "").expect("write a program");
    let out = program.airgap(&["install", "--yes"]).expect_code(1);
    assert!(
        out.stderr.contains("no unit is known here") && out.stderr.contains("/usr/bin/dockerd"),
        "{}",
        out.describe()
    );
    assert!(!program.units().is_empty(), "it is installed all the same");
    drop(program);

    let nothing = Root::new();
    let out = nothing.airgap(&["install", "--yes"]).expect_code(0);
    assert!(
        out.stderr.contains("no container engine is here"),
        "{}",
        out.describe()
    );
    assert!(!nothing.units().is_empty(), "it is installed");
}

/// Who stops reading what is shown must not be left half uninstalled.
#[test]
fn an_uninstall_whose_reader_goes_away_changes_nothing_or_all() {
    let root = Root::with("docker.service", "/usr/bin/dockerd");
    root.airgap(&["install", "--yes"]).expect_code(0);
    let before = root.units();
    let binary = root.0.join("sbin/airgap");
    let line = format!(
        "set -o pipefail; {} uninstall --yes --root {} | true",
        binary.display(),
        root.0.display()
    );
    cmd::run("bash", &["-c", &line]);
    let after = root.units();
    assert!(after == before || after.is_empty(), "{after:?}");
}

#[test]
fn a_binary_that_others_can_change_is_refused() {
    let path = std::env::temp_dir().join(format!("airgap-test-bin-{}", std::process::id()));
    fs::copy(binary(), &path).expect("copy the binary");
    let out = cmd::run_command(Command::new(&path).args(["install", "--dry-run"]));
    fs::remove_file(&path).expect("remove it");
    assert_eq!(out.code, 1, "{}", out.describe());
    assert!(
        out.stderr.contains("anybody can make files"),
        "{}",
        out.describe()
    );
    assert!(!Path::new("/etc/systemd/system/airgap-restore.service").exists());
}
