//! Promise: no pretend. What a container shows of itself is no evidence: whatever its first
//! process hides, the seal holds, and nothing is called covered that is not.

use airgap_tests::airgap::{airgap, hooks_refuse, seal};
use airgap_tests::{Container, ContainerSpec, Outside, wait};
use serde_json::Value;
use std::time::Duration;

const PORT: u16 = 20_000;

/// What the child of the first process holds and sends on.
const KINDS: [&str; 2] = ["udp4", "packet"];

fn hiding(
    outside: &Outside,
    disguise: &str,
    configure: fn(ContainerSpec) -> ContainerSpec,
) -> Container {
    let path = format!("/sys/class/net/{}/address", outside.plan.bridge);
    let mac = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let (port, kinds) = (
        PORT.to_string(),
        KINDS.map(|kind| format!("{kind}?")).join(","),
    );
    let line = [
        "airgap-probe",
        "hide",
        disguise,
        "hold",
        &kinds,
        "--v4",
        &v4,
        "--v6",
        &v6,
        "--port",
        &port,
        "--gateway-mac",
        mac.trim(),
    ];
    let container = configure(
        outside
            .container(&format!("hide-{disguise}"))
            .command(&line),
    )
    .run();
    for kind in KINDS {
        assert!(
            heard(outside, kind, wait::SOON),
            "the control: {disguise}: {kind} is not heard"
        );
    }
    container
}

fn heard(outside: &Outside, kind: &str, window: Duration) -> bool {
    let marker = format!("held-{kind}");
    let wanted = |frame: &airgap_tests::Frame| frame.contains(&marker);
    outside.tap.watch(window, wanted).is_some()
}

fn leaks(outside: &Outside) -> Vec<&'static str> {
    outside.tap.barrier();
    outside.clear();
    let window = Duration::from_millis(400);
    KINDS
        .into_iter()
        .filter(|kind| heard(outside, kind, window))
        .collect()
}

fn status(container: &Container) -> Value {
    let out = airgap(&["status", "--json", &container.id]);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
}

fn covered(report: &Value, vector: &str) -> bool {
    let rows = report["coverage"].as_array().expect("coverage");
    let row = rows.iter().find(|row| {
        row["vector"]
            .as_str()
            .is_some_and(|v| v.starts_with(vector))
    });
    row.unwrap_or_else(|| panic!("no {vector}: {report}"))["covered"] == true
}

/// One disguise, with `--accept` for what it needs: the seal holds, and after a restart the state
/// does not call covered what leaves.
fn holds(disguise: &str, accept: &[&str], configure: fn(ContainerSpec) -> ContainerSpec) {
    let outside = Outside::new();
    let container = hiding(&outside, disguise, configure);
    let options: Vec<&str> = accept.iter().flat_map(|risk| ["--accept", risk]).collect();
    let before = status_code(&container);
    assert_eq!(before, 3, "{disguise}: not sealed yet");
    seal(&container.name, &options);
    assert_eq!(
        leaks(&outside),
        Vec::<&str>::new(),
        "{disguise}: after the attach"
    );
    let report = status(&container);
    assert!(
        covered(&report, "raw frames after a restart") == hooks_refuse(),
        "{disguise}: it has CAP_NET_RAW: {report:#}"
    );
    let restarted = airgap_tests::cmd::attempt(&format!("docker restart -t 0 {}", container.id));
    if restarted.code != 0 && disguise == "thread" {
        // Docker 20.10 cannot end a process whose first thread has ended.
        eprintln!("no restart: {}", restarted.stderr.trim());
        return;
    }
    assert_eq!(restarted.code, 0, "{}", restarted.describe());
    // What it says and what is so, of one and the same start.
    let first = container.pid();
    wait::within(Duration::from_secs(3), || {
        heard(&outside, "packet", Duration::from_millis(100)).then_some(())
    });
    let leaks = leaks(&outside);
    let report = status(&container);
    assert_eq!(container.pid(), first, "{disguise}: it restarted meanwhile");
    assert!(
        !leaks.contains(&"udp4"),
        "{disguise}: after a restart: {leaks:?}"
    );
    if leaks.contains(&"packet") {
        assert!(
            !covered(&report, "raw frames (AF_PACKET"),
            "{disguise}: frames leave: {report:#}"
        );
    }
    // Attach again guards its new veth, whoever it shows.
    seal(&container.name, &options);
    assert_eq!(
        self::leaks(&outside),
        Vec::<&str>::new(),
        "{disguise}: after another attach"
    );
}

fn status_code(container: &Container) -> i32 {
    airgap(&["status", &container.id]).code
}

fn plain(spec: ContainerSpec) -> ContainerSpec {
    spec
}

fn unconfined(spec: ContainerSpec) -> ContainerSpec {
    spec.options(&[
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "apparmor=unconfined",
    ])
}

macro_rules! disguises {
    ($($test:ident: $disguise:literal;)+) => {
        $(#[test]
        fn $test() {
            holds($disguise, &[], plain);
        })+
    };
}

disguises! {
    the_control_without_a_disguise: "plain";
    a_first_process_that_drops_its_bounding_set: "bounding";
    a_first_process_without_capabilities: "capabilities";
    a_first_process_of_another_user: "user";
    a_first_process_whose_first_thread_has_ended: "thread";
    a_first_process_with_many_tables_of_descriptors: "tables";
    a_first_process_with_many_descriptors: "descriptors";
    a_first_process_that_is_stopped: "stopped";
    a_first_process_that_has_changed_its_root: "chroot";
    a_first_process_whose_name_is_no_text: "name";
    a_first_process_with_many_children: "many";
    a_first_process_with_zombies: "zombies";
    a_first_process_whose_children_are_ending: "ending";
}

/// Without a seccomp filter, a process may go into namespaces of its own.
#[test]
fn a_first_process_in_namespaces_of_its_own() {
    for disguise in ["namespaces", "mounts", "pids", "threads-apart"] {
        holds(disguise, &["seccomp"], unconfined);
    }
}

#[test]
fn a_container_that_is_paused_is_sealed() {
    let outside = Outside::new();
    let container = hiding(&outside, "bounding", plain);
    airgap_tests::cmd::ok(&format!("docker pause {}", container.id));
    seal(&container.name, &[]);
    airgap_tests::cmd::ok(&format!("docker unpause {}", container.id));
    assert_eq!(leaks(&outside), Vec::<&str>::new());
}

/// A capability that only a later process has, is the container's.
#[test]
fn a_capability_of_any_process_is_refused() {
    let outside = Outside::new();
    let container = outside.container("later").run();
    let join = |extra: &[&str]| {
        let pid = container.pid().to_string();
        let procs = container.cgroup().join("cgroup.procs");
        let mut command = std::process::Command::new("nsenter");
        command.args(["-t", &pid, "-m", "-u", "-i", "-n", "/bin/airgap-probe"]);
        command.args(extra);
        command.args(["serve", "--port", "7001"]);
        Joined(spawn_in(&procs, command))
    };
    // The control: without more than the container has, it is sealed.
    seal(&container.name, &[]);
    airgap(&["detach", &container.id]).expect_code(0);
    let joined = join(&[]);
    let refused = wait::within(wait::SOON, || {
        let out = airgap(&["attach", "-d", &container.id]);
        (out.code == 1).then_some(out)
    });
    let refused = refused.expect("a process with all capabilities is not seen");
    assert!(
        refused.stderr.contains("has CAP_SYS_ADMIN"),
        "{}",
        refused.describe()
    );
    assert_eq!(status_code(&container), 3, "the refusal changed nothing");
    drop(joined);
    seal(&container.name, &[]);
    airgap(&["detach", &container.id]).expect_code(0);
    // The names of its groups come before its capabilities in /proc.
    let crowded = join(&["crowded"]);
    let refused = wait::within(wait::SOON, || {
        let out = airgap(&["attach", "-d", &container.id]);
        (out.code == 1).then_some(out)
    });
    let refused = refused.expect("a process of many groups is not seen");
    assert!(
        refused.stderr.contains("has CAP_SYS_ADMIN"),
        "{}",
        refused.describe()
    );
    drop(crowded);
    seal(&container.name, &[]);
    // And one that comes later shows in the state.
    let _joined = join(&[]);
    wait::until("a later capability is shown", wait::SOON, || {
        (!covered(&status(&container), "configuration")).then_some(())
    });
}

/// Processes that come and go faster than they can be listed hide nothing, and a container
/// that has such is called no worse than one that has none.
#[test]
fn a_process_that_comes_and_goes_is_seen() {
    let outside = Outside::new();
    let still = outside.container("still").run();
    let container = outside
        .container("comes-and-goes")
        .command(&["airgap-probe", "hide", "hopping", "serve"])
        .run();
    // The control: a hopping process with nothing beyond the container.
    seal(&still.name, &[]);
    for _ in 0..3 {
        seal(&container.name, &[]);
        assert_eq!(status_code(&container), status_code(&still));
        airgap(&["detach", &container.id]).expect_code(0);
    }
    let pid = container.pid().to_string();
    let mut command = std::process::Command::new("nsenter");
    command.args(["-t", &pid, "-m", "-u", "-i", "-n", "-p"]);
    command.args(["/bin/airgap-probe", "hop"]);
    let _joined = Joined(spawn_in(&container.cgroup().join("cgroup.procs"), command));
    let refused =
        |out: &airgap_tests::cmd::Output| out.code == 1 && out.stderr.contains("has CAP_SYS_ADMIN");
    let attach = || airgap(&["attach", "-d", &container.id]);
    wait::until("it hops in the container", wait::SOON, || {
        refused(&attach()).then_some(())
    });
    for _ in 0..5 {
        let out = attach();
        assert!(refused(&out), "{}", out.describe());
        let frozen = std::fs::read_to_string(container.cgroup().join("cgroup.freeze"));
        assert_eq!(frozen.expect("cgroup.freeze").trim(), "0");
    }
}

/// What its runtime has put into its `/dev`, whatever root its first process has taken since.
#[test]
fn a_device_is_seen_from_any_root() {
    let outside = Outside::new();
    for disguise in ["plain", "chroot"] {
        let container = outside
            .container(&format!("device-{disguise}"))
            .options(&["--cap-drop", "MKNOD"])
            .command(&["airgap-probe", "hide", disguise, "serve"])
            .run();
        // The control: without the node it is sealed.
        seal(&container.name, &[]);
        airgap(&["detach", &container.id]).expect_code(0);
        let procs = std::fs::read_to_string(container.cgroup().join("cgroup.procs"));
        let procs = procs.expect("cgroup.procs");
        let mut roots = procs.lines().map(|pid| format!("/proc/{pid}/root/dev"));
        let dev = roots.find(|dev| std::path::Path::new(dev).is_dir());
        let node = format!("{}/loopx", dev.expect("a process with a /dev"));
        let node = std::ffi::CString::new(node).expect("no NUL");
        // SAFETY: a string that ends with a zero byte.
        let made =
            unsafe { libc::mknod(node.as_ptr(), libc::S_IFBLK | 0o600, libc::makedev(7, 0)) };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        let out = airgap(&["attach", "-d", &container.id]);
        assert!(
            out.code == 1 && out.stderr.contains("the block device 7:0 at /dev/loopx"),
            "{disguise}: {}",
            out.describe()
        );
    }
}

/// Its first process may go into a cgroup whose name is no UTF-8.
#[test]
fn a_cgroup_whose_name_is_no_text_is_verified() {
    use std::os::unix::ffi::OsStrExt as _;
    let outside = Outside::new();
    let container = outside.container("cgroup-name").run();
    seal(&container.name, &[]);
    // The control: where it was.
    airgap(&["verify", &container.id]).expect_code(0);
    let within = Within::new(&container, std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    airgap(&["verify", &container.id]).expect_code(0);
    let told = airgap(&["status", &container.id]);
    assert!(matches!(told.code, 0 | 4), "{}", told.describe());
    drop(within);
}

/// A container's first process in a cgroup below its own; back on drop.
struct Within {
    cgroup: std::path::PathBuf,
    pid: String,
}

impl Within {
    fn new(container: &Container, name: &std::ffi::OsStr) -> Self {
        let cgroup = container.cgroup().join(name);
        std::fs::create_dir(&cgroup).expect("create a cgroup");
        let pid = container.pid().to_string();
        std::fs::write(cgroup.join("cgroup.procs"), &pid).expect("move the first process");
        Self { cgroup, pid }
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        if let Some(above) = self.cgroup.parent() {
            let _ = std::fs::write(above.join("cgroup.procs"), &self.pid);
        }
        let _ = std::fs::remove_dir(&self.cgroup);
    }
}

struct Joined(std::process::Child);

impl Drop for Joined {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command in a cgroup.
fn spawn_in(procs: &std::path::Path, mut command: std::process::Command) -> std::process::Child {
    use std::os::unix::process::CommandExt as _;
    let procs = std::ffi::CString::new(procs.to_str().expect("UTF-8")).expect("no NUL");
    // SAFETY: between fork and exec, only calls that are safe there.
    unsafe {
        command.pre_exec(move || {
            let fd = libc::open(procs.as_ptr(), libc::O_WRONLY);
            if fd < 0 || libc::write(fd, c"0".as_ptr().cast(), 1) != 1 {
                return Err(std::io::Error::last_os_error());
            }
            libc::close(fd);
            Ok(())
        });
    }
    command.spawn().expect("nsenter starts")
}
