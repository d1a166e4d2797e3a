//! `airgap exec` on kernels that run security hooks, which then refuse it unix sockets of
//! others, and on those that do not, where its filter does. `AIRGAP_HOOKS` as in `hooks.rs`.

use airgap_tests::airgap::expected_mechanism;
use airgap_tests::cmd::{self, Output};
use airgap_tests::{preempt, wait};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const USER: u32 = 65_534;
const SOCKET: &str = "/tmp/airgap-test-commands";

fn path(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"))
}

fn exec(options: &[&str], words: &[&str]) -> Command {
    let mut run = Command::new(path("AIRGAP_BIN"));
    run.args(["exec", "--user", "65534"])
        .args(options)
        .arg("--");
    run.arg(path("AIRGAP_PROBE")).args(words).current_dir("/");
    run
}

fn free(words: &[&str]) -> Command {
    let mut run = Command::new(path("AIRGAP_PROBE"));
    run.args(words).current_dir("/").uid(USER).gid(USER);
    run
}

fn airgap(words: &[&str]) -> Output {
    cmd::run_command(Command::new(path("AIRGAP_BIN")).args(words))
}

#[test]
fn a_command_is_sealed_on_this_kernel() {
    if std::env::var_os("AIRGAP_HOOKS").is_none() {
        eprintln!("SKIPPED: this needs a machine of its own, see cargo xtask kernels");
        return;
    }
    let hooked = expected_mechanism() == Some("BPF LSM")
        || expected_mechanism().is_some() && !preempt::preempts();
    let words = ["get", "198.51.100.7:80", "/"];
    let control = cmd::run_command(&mut free(&words));
    assert!(
        control.stderr.contains("unreachable"),
        "{}",
        control.describe()
    );
    // Without that it fails as the control does.
    let sealed = cmd::run_command(&mut exec(&["--errno", "eperm"], &words)).expect_code(1);
    for said in ["not permitted", "tcp → 198.51.100.7:80 (egress)"] {
        assert!(sealed.stderr.contains(said), "{}", sealed.describe());
    }

    let listener = UnixListener::bind(SOCKET).expect("bind");
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o777)).expect("chmod");
    listener.set_nonblocking(true).expect("fcntl");
    let words = ["stay", SOCKET];
    let mut control = free(&words).spawn().expect("start the control");
    wait::until("the control is connected", wait::SOON, || {
        listener.accept().ok()
    });
    let _ = control.kill();
    let _ = control.wait();
    let sealed = cmd::run_command(&mut exec(&[], &words)).expect_code(1);
    assert!(listener.accept().is_err(), "{}", sealed.describe());
    let told = sealed.stderr.contains("(unix-peer)");
    assert_eq!(told, hooked, "{}", sealed.describe());
    fs::remove_file(SOCKET).expect("remove");

    let mut serving = exec(&["-p", "18080"], &["serve", "--port", "18080"]);
    let mut serving = serving.stdin(Stdio::null()).spawn().expect("start");
    let report: Value = wait::until("it is listed", wait::SOON, || {
        let list: Value = serde_json::from_str(&airgap(&["list", "--json"]).stdout).ok()?;
        let first = list["containers"].get(0)?.clone();
        (first["running"] == true).then_some(first)
    });
    // Its signals are its own once it listens, and not before.
    wait::until("it listens", Duration::from_secs(60), || {
        let table = fs::read_to_string("/proc/net/tcp6").ok()?;
        let listens = |line: &str| line.contains(":46A0 ") && line.contains(" 0A ");
        table.lines().any(listens).then_some(())
    });
    let vectors = report["coverage"].as_array().into_iter().flatten();
    let open: Vec<_> = vectors
        .filter(|vector| vector["covered"] == false)
        .filter_map(|vector| vector["vector"].as_str())
        .collect();
    let mut expected = vec!["answers to probes (echo replies, RSTs)"];
    expected.extend(hooked.then_some("unix sockets that others connect to"));
    expected.push("files that others run or send");
    assert_eq!(open, expected, "{report:#}");
    assert_eq!(report["problems"], serde_json::json!([]), "{report:#}");
    // SAFETY: takes numbers; it is not waited for yet.
    unsafe { libc::kill(serving.id() as i32, libc::SIGTERM) };
    let code = serving.wait().expect("wait").code();
    assert_eq!(code, Some(128 + libc::SIGTERM));
    assert!(!Path::new("/sys/fs/cgroup/airgap").exists());
    assert!(!Path::new("/sys/fs/bpf/airgap").exists());
}
