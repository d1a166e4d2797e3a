//! Promise: what `airgap exec` runs sends nothing from its first instruction to the end of
//! its last process, and leaves nothing behind.

#[path = "exec/ends.rs"]
mod ends;
#[path = "exec/shared.rs"]
mod shared;
#[path = "exec/ways.rs"]
mod ways;

use airgap_tests::airgap::{binary, command};
use airgap_tests::cmd::{self, Output};
use airgap_tests::kernel::assert_comes_back;
use airgap_tests::{Outside, kernel_state, sweep, wait};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The user of all commands here, by its number.
const NOBODY: u32 = 65_534;

/// A question as a resolver asks it: telemetry.example, A.
const QUESTION: &str = "import socket,sys
q=bytes.fromhex('abcd01000001000000000000')+b'\\x09telemetry\\x07example\\0\\0\\1\\0\\1'
socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(q,(sys.argv[1],53))";

/// The list of what was refused begins so.
const REFUSED: &str = "airgap: refused ";

fn exec(options: &[&str], words: &[&str]) -> Command {
    let mut run = command();
    run.arg("exec").args(options);
    if !options.contains(&"--user") {
        run.args(["--user", "nobody"]);
    }
    run.arg("--").args(words).current_dir("/");
    let usual = || {
        // SAFETY: takes numbers. Shells have what they start aside ignore it, and that is
        // inherited.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        Ok(())
    };
    // SAFETY: one system call, and no memory touched.
    unsafe { run.pre_exec(usual) };
    run
}

fn sealed(options: &[&str], words: &[&str]) -> Output {
    cmd::run_command(&mut exec(options, words))
}

/// The same without a seal, as the same user: the control.
fn free(words: &[&str]) -> Output {
    let mut run = Command::new(words[0]);
    run.args(&words[1..])
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY);
    cmd::run_command(&mut run)
}

fn nest() -> PathBuf {
    airgap::gate::cgroup_mount()
        .expect("cgroup v2")
        .join("airgap")
}

#[track_caller]
fn assert_nothing_left(when: &str) {
    assert!(!nest().exists(), "{when}: a cgroup is left");
    let list = airgap_tests::airgap_ok(&["list"]);
    assert!(!list.stdout.contains("exec:"), "{}", list.describe());
}

/// Ended with the test.
struct Running(Child);

impl Running {
    fn start(run: &mut Command) -> Self {
        let run = run.stdin(Stdio::null()).stdout(Stdio::null());
        Self(
            run.stderr(Stdio::piped())
                .spawn()
                .expect("cannot start airgap"),
        )
    }

    fn signal(&self, signal: i32) {
        // SAFETY: takes numbers; the child is not waited for yet.
        assert_eq!(unsafe { libc::kill(self.0.id() as i32, signal) }, 0);
    }

    #[track_caller]
    fn code(&mut self) -> i32 {
        let ended = wait::until("the end", wait::SOON, || self.0.try_wait().expect("wait"));
        ended.code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
        // What it left, if the test has failed.
        for pid in inside() {
            // SAFETY: takes numbers.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        }
    }
}

/// Processes of commands that are inside, by the kernel's numbers.
fn inside() -> Vec<u32> {
    let entries = fs::read_dir(nest()).into_iter().flatten().flatten();
    let procs = entries.filter_map(|e| fs::read_to_string(e.path().join("cgroup.procs")).ok());
    let procs: String = procs.collect();
    procs.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Until the command itself runs, and not only its init.
#[track_caller]
fn await_program(name: &str) -> u32 {
    wait::until("the command runs", wait::SOON, || {
        inside().into_iter().find(|pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comm.trim() == name)
        })
    })
}

#[test]
fn nothing_of_common_programs_gets_out_and_each_is_told() {
    let outside = Outside::new();
    let (v4, v6) = (outside.plan.outside4, outside.plan.outside6);
    let before = kernel_state();
    let curl = format!("curl -s -m 3 http://{v4}:20001/");
    let curl6 = format!("curl -s -g -m 3 http://[{v6}]:20002/");
    let fork = format!("for i in 1 2 3; do (curl -s -m 3 http://{v4}:20003/ &) ; done; wait");
    let away = format!("(setsid sh -c 'sleep 0.3; curl -s -m 3 http://{v4}:20004/' &); exit 0");
    let udp = "import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
s.sendto(b'out',(sys.argv[1],20005))";
    let python = "import socket,sys
socket.create_connection((sys.argv[1],20006),3).sendall(b'out')";
    let v4 = v4.to_string();
    let rows: [(&str, Vec<&str>, &str); 7] = [
        ("curl", vec!["sh", "-c", &curl], ":20001 (egress)"),
        ("curl, IPv6", vec!["sh", "-c", &curl6], ":20002 (egress)"),
        (
            "a forking shell",
            vec!["sh", "-c", &fork],
            ":20003 (egress)",
        ),
        (
            "a shell that leaves",
            vec!["sh", "-c", &away],
            ":20004 (egress)",
        ),
        (
            "datagrams",
            vec!["python3", "-c", udp, &v4],
            ":20005 (egress)",
        ),
        (
            "python",
            vec!["python3", "-c", python, &v4],
            ":20006 (egress)",
        ),
        (
            "names",
            vec!["python3", "-c", QUESTION, &v4],
            "\"telemetry.example\" A (dns)",
        ),
    ];
    for (what, words, told) in &rows {
        let out = sealed(&[], words);
        assert!(out.stderr.contains(REFUSED), "{what}\n{}", out.describe());
        assert!(out.stderr.contains(told), "{what}\n{}", out.describe());
        assert_nothing_left(what);
    }
    let (seen, frames) = (outside.seen(), outside.arrivals());
    assert!(seen.is_empty() && frames.is_empty(), "{seen:?} {frames:?}");
    assert_comes_back(&before, "after all commands");
    // The control of each, after it: what it sends comes late, too.
    for (what, words, _) in &rows {
        outside.clear();
        free(words);
        wait::until(&format!("{what} gets out unsealed"), wait::SOON, || {
            (!outside.seen().is_empty()).then_some(())
        });
    }
}

#[test]
fn every_other_way_is_shut_by_construction() {
    let _turn = sweep::take_turn();
    ways::each_is_open_without_a_seal_and_shut_with_one();
    assert_nothing_left("after all ways");
}

/// Where the host's resolver is one on loopback, programs ask outside: the name is told.
#[test]
fn names_are_told_whatever_the_resolver_is() {
    let _turn = sweep::take_turn();
    let file = "/tmp/airgap-test-resolv.conf";
    fs::write(
        file,
        "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n",
    )
    .unwrap();
    let mut run = Command::new("unshare");
    run.args(["-m", "sh", "-c"]);
    run.arg("mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"");
    run.arg(file).arg(binary());
    run.args(["exec", "--user", "nobody", "--"]);
    run.args(["getent", "hosts", "telemetry.example"]);
    let out = cmd::run_command(&mut run);
    let told = "udp → 198.51.100.53:53 \"telemetry.example\" A (dns)";
    assert!(out.stderr.contains(told), "{}", out.describe());
    fs::remove_file(file).unwrap();
}

#[test]
fn bad_input_is_named_and_changes_nothing() {
    let _turn = sweep::take_turn();
    let before = kernel_state();
    let run = |args: &[&str]| {
        let mut run = command();
        run.arg("exec").args(args).env_remove("SUDO_UID");
        cmd::run_command(&mut run)
    };
    for (args, code, words) in [
        (&[][..], 2, "COMMAND"),
        (&["--"], 2, "COMMAND"),
        (&["--", "true"], 2, "--user"),
        (&["--user", "no such user", "--", "true"], 2, "no such user"),
        (&["--user", "root", "--", "true"], 1, "root-user"),
        (&["--user", "0", "--", "true"], 1, "root-user"),
        (&["--user", "nobody", "-p", "0", "--", "true"], 2, "0"),
        (
            &["--user", "nobody", "--to", "198.51.100.1", "--", "true"],
            2,
            "port",
        ),
        (
            &["--user", "nobody", "--to", "0.0.0.0/0:443", "--", "true"],
            1,
            "wide-exception",
        ),
        (
            &["--user", "nobody", "--", "no-such-program"],
            127,
            "no-such-program",
        ),
        (
            &["--user", "nobody", "--require", "full", "--", "true"],
            1,
            "files that others",
        ),
    ] {
        let out = run(args);
        assert_eq!(out.code, code, "{}", out.describe());
        assert!(out.stderr.contains(words), "{}", out.describe());
        assert!(out.stdout.is_empty(), "{}", out.describe());
    }
    let mut other = command();
    other
        .args(["exec", "--user", "nobody", "--", "true"])
        .uid(NOBODY);
    let out = cmd::run_command(&mut other).expect_code(1);
    assert!(
        out.stderr.contains("must run as root"),
        "{}",
        out.describe()
    );
    let mut v1 = Command::new("unshare");
    let mounted = airgap::gate::cgroup_mount().unwrap();
    v1.args(["-m", "sh", "-c", "umount \"$0\" && exec \"$@\""]);
    v1.arg(mounted).arg(binary());
    v1.args(["exec", "--user", "nobody", "--", "true"]);
    let out = cmd::run_command(&mut v1).expect_code(1);
    assert!(out.stderr.contains("no cgroup v2"), "{}", out.describe());
    let refused = |words: &[&str], said: &str| {
        let out = airgap_tests::airgap(words);
        assert!(
            out.code != 0 && out.stderr.contains(said),
            "{}",
            out.describe()
        );
    };
    refused(&["status", "exec:nobody-0000"], "exec:nobody-0000");
    assert!(!Path::new("/sys/fs/bpf/airgap").exists() || !nest().exists());
    assert_comes_back(&before, "after bad input");
}
