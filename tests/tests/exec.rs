//! Promise: what `airgap exec` runs sends nothing from its first instruction to the end of
//! its last process, and leaves nothing behind.

#[path = "exec/ways.rs"]
mod ways;

use airgap_tests::airgap::{binary, command};
use airgap_tests::cmd::{self, Output};
use airgap_tests::kernel::assert_comes_back;
use airgap_tests::{Outside, Seen, Terminal, kernel_state, sweep, wait};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
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

#[test]
fn exit_codes_are_the_command_s() {
    let _turn = sweep::take_turn();
    for (words, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["airgap-test-no-such-program"], 127),
        (&["/airgap/no/such/program"], 127),
        (&["/etc/passwd"], 126),
        (&["/"], 126),
    ] {
        let out = sealed(&[], words).expect_code(code);
        assert!(!out.stderr.contains(REFUSED), "{}", out.describe());
    }
    // Nobody may go there, which only the command's own user is told.
    let out = sealed(&[], &["/root/.profile"]);
    assert_eq!(out.code, 126, "{}", out.describe());
    assert_nothing_left("after the codes");
}

#[test]
fn a_denial_fails_a_run_that_asks_for_it() {
    let outside = Outside::new();
    let line = format!(
        "curl -s -m 3 http://{}:20001/; exit $0",
        outside.plan.outside4
    );
    let run = |options: &[&str], code: &str| sealed(options, &["sh", "-c", &line, code]);
    run(&[], "0").expect_code(0);
    run(&["--fail-on-denial"], "0").expect_code(4);
    run(&["--fail-on-denial"], "9").expect_code(9);
    sealed(&["--fail-on-denial"], &["true"]).expect_code(0);
}

#[test]
fn signals_reach_the_command() {
    let _turn = sweep::take_turn();
    let script = "trap 'exit 41' TERM; trap 'exit 42' USR1; sleep 60 & wait";
    for (signal, code) in [(libc::SIGTERM, 41), (libc::SIGUSR1, 42)] {
        let mut run = Running::start(&mut exec(&[], &["sh", "-c", script]));
        await_program("sleep");
        run.signal(signal);
        // The sleep is left and waited for: end that, too.
        let left = await_program("sleep");
        // SAFETY: takes numbers.
        unsafe { libc::kill(left as i32, libc::SIGKILL) };
        assert_eq!(run.code(), code);
    }
    let mut run = Running::start(&mut exec(&[], &["sleep", "60"]));
    await_program("sleep");
    run.signal(libc::SIGTERM);
    assert_eq!(run.code(), 128 + libc::SIGTERM);
    // One that ends both is no wish to leave what runs on, however late it is seen.
    let mut run = Running::start(&mut exec(&[], &["sleep", "60"]));
    let left = await_program("sleep");
    run.signal(libc::SIGSTOP);
    run.signal(libc::SIGINT);
    // SAFETY: takes numbers.
    unsafe { libc::kill(left as i32, libc::SIGINT) };
    wait::until("the command's end", wait::SOON, || {
        (!inside().contains(&left)).then_some(())
    });
    run.signal(libc::SIGCONT);
    assert_eq!(run.code(), 128 + libc::SIGINT);
    assert_nothing_left("after the signals");
}

const SCRIPT: &str = "/tmp/airgap-test-exec.sh";

#[test]
fn the_terminal_is_the_command_s() {
    let _turn = sweep::take_turn();
    let terminal = Terminal::new(120, 30, &[]);
    let run = format!("{} exec --user nobody -- ", binary().display());
    // The terminal's own signal, once, and its input.
    let script = "n=0; trap 'n=$((n+1))' INT; echo rea''dy; read a; read b; echo n=$n b=$b; exit 5";
    fs::write(SCRIPT, script).unwrap();
    terminal.line(&format!("{run} sh {SCRIPT}; echo code=$?"));
    terminal.await_screen("the command", |screen| screen.contains("\nready"));
    terminal.key("C-c");
    terminal.line("typed");
    let screen = terminal.await_screen("the end", |screen| screen.contains("code=5"));
    assert!(screen.contains("n=1 b=typed"), "{screen}");
    fs::remove_file(SCRIPT).unwrap();
    // Stopped and gone on with.
    terminal.line(&format!("clear; {run} sleep 60; echo code=$?"));
    await_program("sleep");
    terminal.key("C-z");
    terminal.await_screen("stopped", |screen| screen.contains("Stopped"));
    // The line of the shell that says so has the command's words, too.
    terminal.line("clear; echo cle''ar");
    terminal.await_screen("cleared", |screen| {
        screen.lines().any(|line| line == "clear")
    });
    terminal.line("fg; echo code=$?");
    terminal.await_screen("gone on", |screen| screen.contains("exec --user nobody"));
    terminal.key("C-c");
    terminal.await_screen("ended", |screen| screen.contains("code=130"));
    assert_nothing_left("after the terminal");
}

#[test]
fn what_outlives_its_airgap_stays_sealed_and_is_cleared_away() {
    let outside = Outside::new();
    let target = outside.plan.outside4;
    let script = format!("while :; do curl -s -m 2 http://{target}:20001/; sleep 0.05; done");
    let mut run = Running::start(&mut exec(&[], &["sh", "-c", &script]));
    await_program("curl");
    run.signal(libc::SIGKILL);
    assert_eq!(run.code(), -1);
    let list = airgap_tests::airgap(&["list"]);
    let line = list.stdout.lines().find(|line| line.contains("exec:sh-"));
    let line = line.unwrap_or_else(|| panic!("{}", list.describe()));
    let name = line.split_whitespace().next().unwrap();
    let denials = || -> u64 {
        let status = airgap_tests::airgap(&["status", "--json", name]);
        let json: serde_json::Value = serde_json::from_str(&status.stdout)
            .unwrap_or_else(|e| panic!("{e}\n{}", status.describe()));
        assert_eq!(json["running"], true, "{}", status.describe());
        json["denials"]["total"].as_u64().unwrap()
    };
    for words in [
        &["attach", "-d", name][..],
        &["allow", name, "--to", "198.51.100.9:443"],
        &["disallow", name, "--all"],
        &["verify", name],
    ] {
        let out = airgap_tests::airgap(words);
        assert_eq!(out.code, 1, "{}", out.describe());
        assert!(out.stderr.contains("is a command"), "{}", out.describe());
    }
    let before = denials();
    wait::until("it is refused still", wait::SOON, || {
        (denials() > before).then_some(())
    });
    for words in [&["tail", "--no-follow", name][..], &["report", name]] {
        let out = airgap_tests::airgap(words);
        assert!(out.stdout.contains(":20001"), "{}", out.describe());
    }
    assert!(outside.seen().is_empty(), "{:?}", outside.seen());
    for pid in inside() {
        // SAFETY: takes numbers.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    }
    wait::until("it has ended", wait::SOON, || {
        inside().is_empty().then_some(())
    });
    // Whoever looks next clears away.
    airgap_tests::airgap_ok(&["list"]);
    assert_nothing_left("after its end");
}

#[test]
fn what_is_detached_is_open_and_said_to_be() {
    let outside = Outside::new();
    let script = format!(
        "while curl -s -m 2 http://{}:20001/; [ $? = 7 ]; do sleep 0.05; done",
        outside.plan.outside4
    );
    let mut run = Running::start(&mut exec(
        // In the host's network: its own leads nowhere, sealed or not.
        &["--fail-on-denial", "-p", "18082"],
        &["sh", "-c", &script],
    ));
    await_program("curl");
    assert!(outside.seen().is_empty(), "{:?}", outside.seen());
    let list = airgap_tests::airgap(&["list"]).stdout;
    let name = list
        .split_whitespace()
        .find(|word| word.starts_with("exec:"));
    airgap_tests::airgap_ok(&["detach", name.unwrap()]);
    wait::until("it gets out", wait::SOON, || {
        (!outside.seen().is_empty()).then_some(())
    });
    assert_eq!(run.code(), 3);
    assert_nothing_left("after the detach");
}

#[test]
fn services_and_exceptions_are_what_was_named() {
    let outside = Outside::new();
    let plan = &outside.plan;
    let serve = "import socket,threading
def serve(port):
    l=socket.create_server(('',port))
    while 1:
        c,_=l.accept(); c.recv(9999); c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nhello'); c.close()
threading.Thread(target=serve,args=(18081,)).start()
serve(18080)";
    let client = format!("{}/32", plan.outside4);
    let options = ["-p", "18080", "--from", &client];
    let mut run = Running::start(&mut exec(&options, &["python3", "-c", serve]));
    wait::until("the service answers", wait::SOON, || {
        outside.get(plan.host4, 18_080, "/").ok()
    });
    assert!(
        outside.get(plan.host4, 18_081, "/").is_err(),
        "no service port"
    );
    run.signal(libc::SIGTERM);
    assert_eq!(run.code(), 143);
    // The control of the second port.
    let mut free = Command::new("python3");
    free.args(["-c", serve]).uid(NOBODY).gid(NOBODY);
    let free = Running::start(&mut free);
    wait::until("it answers unsealed", wait::SOON, || {
        outside.get(plan.host4, 18_081, "/").ok()
    });
    drop(free);
    outside.clear();
    let to = format!("{}:20001", plan.outside4);
    let line = format!(
        "for p in 20001 20002; do curl -s -m 2 http://{}:$p/; done",
        plan.outside4
    );
    let out = sealed(&["--to", &to], &["sh", "-c", &line]);
    let reached = |wanted: u16| {
        let seen = outside.seen();
        seen.iter()
            .any(|seen| matches!(seen, Seen::Connection { port, .. } if *port == wanted))
    };
    assert!(reached(20_001) && !reached(20_002), "{:?}", outside.seen());
    assert!(
        out.stderr.contains(":20002 (exit-port)"),
        "{}",
        out.describe()
    );
}

#[test]
fn others_on_loopback_are_a_way_out() {
    let _turn = sweep::take_turn();
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    udp.set_nonblocking(true).unwrap();
    let port = |address: SocketAddr| address.port().to_string();
    let (t, u) = (
        port(tcp.local_addr().unwrap()),
        port(udp.local_addr().unwrap()),
    );
    let script = "import socket,sys
try:
    socket.create_connection(('127.0.0.1',int(sys.argv[1])),2); print('connected')
except OSError: print('no')
socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b'out',('127.0.0.1',int(sys.argv[2])))";
    let words = ["python3", "-c", script, &t, &u];
    let got = || udp.recv(&mut [0; 8]).is_ok();
    let open = free(&words);
    assert_eq!(open.stdout, "connected\n", "{}", open.describe());
    wait::until("the datagram", wait::SOON, || got().then_some(()));
    // In a network of its own there is nobody; in the host's they are told from its own.
    for options in [&[][..], &["-p", "18082"]] {
        let shut = sealed(options, &words);
        assert_eq!(shut.stdout, "no\n", "{}", shut.describe());
        assert!(!got(), "a datagram got to a process outside");
        let told = shut.stderr.contains(&format!(":{t} (loopback)"));
        assert_eq!(told, !options.is_empty(), "{}", shut.describe());
    }
    // A resolver of the host's on loopback, as systemd's: the name is told.
    let _resolver = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 53), 53)).unwrap();
    let out = sealed(&["-p", "18082"], &["python3", "-c", QUESTION, "127.0.0.53"]);
    let told = "udp → 127.0.0.53:53 \"telemetry.example\" A (loopback)";
    assert!(out.stderr.contains(told), "{}", out.describe());
    // What is its own it reaches.
    let own = "import socket
l=socket.create_server(('127.0.0.1',0)); socket.create_connection(l.getsockname(),2)";
    for options in [
        &["--fail-on-denial"][..],
        &["--fail-on-denial", "-p", "18082"],
    ] {
        let out = sealed(options, &["python3", "-c", own]);
        assert_eq!(out.code, 0, "{}", out.describe());
    }
}

/// By name, with the risk, and no further: not the port beside it, nor the other protocol.
#[test]
fn an_exception_on_loopback_reaches_its_service_alone() {
    let _turn = sweep::take_turn();
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let beside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for listener in [&tcp, &beside] {
        listener.set_nonblocking(true).unwrap();
    }
    udp.set_nonblocking(true).unwrap();
    let port = |at: std::io::Result<SocketAddr>| at.unwrap().port();
    let (t, u, b) = (
        port(tcp.local_addr()),
        port(udp.local_addr()),
        port(beside.local_addr()),
    );
    // The same number, by the other protocol.
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, t)).unwrap();
    other.set_nonblocking(true).unwrap();
    let (tcp_to, udp_to) = (format!("127.0.0.1:{t}"), format!("127.0.0.1:{u}/udp"));
    let out = sealed(&["--to", &tcp_to], &["true"]).expect_code(1);
    let who = format!("({}) of the cgroup /", std::process::id());
    for said in ["host-exit", &who] {
        assert!(out.stderr.contains(said), "{said}: {}", out.describe());
    }
    let dns = sealed(&["--to", "127.0.0.53:53/udp"], &["true"]).expect_code(1);
    assert!(dns.stderr.contains("a DNS exit"), "{}", dns.describe());
    sealed(&["--to", "127.0.0.0/8:80"], &["true"]).expect_code(2);
    let script = "import sys
from socket import *
said=''
for a,k in zip(sys.argv[1:],(SOCK_STREAM,SOCK_DGRAM,SOCK_STREAM,SOCK_DGRAM)):
  s=socket(AF_INET,k); s.settimeout(1)
  try: s.connect(('127.0.0.1',int(a))); s.send(b'word'); said+='y'
  except OSError: said+='n'
print(said)";
    let [t, u, b] = [t, u, b].map(|port| port.to_string());
    let words = ["python3", "-c", script, &t, &u, &b, &t];
    let options = ["--to", &tcp_to, "--to", &udp_to, "--accept", "host-exit"];
    let out = sealed(&options, &words);
    assert_eq!(out.stdout, "yynn\n", "{}", out.describe());
    let mut got = [0; 9];
    assert_eq!(udp.recv(&mut got).unwrap(), 4);
    let (mut stream, _) = tcp.accept().unwrap();
    stream.set_nonblocking(false).unwrap();
    assert_eq!(std::io::Read::read(&mut stream, &mut got).unwrap(), 4);
    let quiet = |got: &mut [u8]| udp.recv(got).is_err() && other.recv(got).is_err();
    assert!(beside.accept().is_err() && quiet(&mut got));
    let shut = sealed(&["-p", "18082"], &words);
    assert_eq!(shut.stdout, "nnnn\n", "{}", shut.describe());
    assert!(tcp.accept().is_err() && quiet(&mut got));
    assert_eq!(free(&words).stdout, "yyyy\n", "the control");
    assert_nothing_left("after exceptions");
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
fn many_at_once_do_not_disturb_each_other() {
    let outside = Outside::new();
    let line = format!(
        "curl -s -m 3 http://{}:20001/; exit $0",
        outside.plan.outside4
    );
    let runs: Vec<_> = (0..8)
        .map(|code: i32| {
            let run = exec(&[], &["sh", "-c", &line, &code.to_string()]);
            std::thread::spawn(move || cmd::run_command(&mut { run }))
        })
        .collect();
    for (code, run) in runs.into_iter().enumerate() {
        let out = run.join().unwrap();
        assert_eq!(out.code, code as i32, "{}", out.describe());
        assert!(
            out.stderr.contains("refused 1 attempt:"),
            "{}",
            out.describe()
        );
    }
    assert!(outside.seen().is_empty(), "{:?}", outside.seen());
    assert_nothing_left("after all of them");
}

/// No look-up finds a listener that is bound to an interface; it is not in the command's own
/// network.
#[test]
fn the_host_s_own_addresses_lead_to_nobody() {
    let outside = Outside::new();
    let host = outside.plan.host4;
    let script = "import socket,sys
l=socket.socket(); l.setsockopt(1,25,sys.argv[2].encode()); l.bind((sys.argv[1],18083)); l.listen()
while 1: l.accept()";
    let mut listen = Command::new("python3");
    listen.args(["-c", script, &host.to_string(), &outside.plan.uplink]);
    let _listener = Running::start(&mut listen);
    let script = "import socket,sys
socket.create_connection((sys.argv[1],18083),3)";
    let host = host.to_string();
    let words = ["python3", "-c", script, &host];
    wait::until("the control connects", wait::SOON, || {
        (free(&words).code == 0).then_some(())
    });
    let shut = sealed(&[], &words);
    assert_ne!(shut.code, 0, "{}", shut.describe());
    assert!(
        shut.stderr.contains(":18083 (egress)"),
        "{}",
        shut.describe()
    );
}

/// In the host's network the kernel finds such a listener, and no look-up of the gate does:
/// neither for TCP nor for UDP, of both IP versions, and not behind a decoy on lo.
#[test]
fn a_listener_that_is_bound_to_an_interface_is_not_reached() {
    let outside = Outside::new();
    let plan = &outside.plan;
    let log = Path::new("/tmp/airgap-test-bound");
    drop(fs::remove_dir_all(log));
    fs::create_dir(log).unwrap();
    let script = "import select,socket,sys
from socket import *
all=[]
for f,a in ((AF_INET,sys.argv[1]),(AF_INET6,sys.argv[2])):
  for k in (SOCK_STREAM,SOCK_DGRAM):
    s=socket(f,k); s.setsockopt(1,2,1); s.setsockopt(1,25,sys.argv[3].encode()); s.bind((a,18084))
    if k==SOCK_STREAM: s.listen()
    all.append(s)
while 1:
  for s in select.select(all,[],[])[0]:
    d=s.accept()[0].recv(99) if s.type==SOCK_STREAM else s.recv(99)
    open(sys.argv[4]+'/'+d.decode(),'w').close()";
    let mut listen = Command::new("python3");
    listen.args(["-c", script, &plan.host4.to_string()]);
    listen
        .args([&plan.host6.to_string(), &plan.uplink])
        .arg(log);
    let _listener = Running::start(&mut listen);
    // Each way by itself; connected and not, and with a decoy of its own that lo finds.
    let script = "import sys
from socket import *
way,addr,word=sys.argv[1:4]
f=AF_INET6 if ':' in addr else AF_INET
if way=='decoy':
  for k in (SOCK_STREAM,SOCK_DGRAM):
    d=socket(f,k); d.setsockopt(1,2,1); d.setsockopt(1,25,b'lo'); d.bind(('',18084))
    if k==SOCK_STREAM: d.listen(); t=d
    else: u=d
if way in('tcp','decoy'):
  s=create_connection((addr,18084),2); s.send(word.encode())
if way=='udp': socket(f,SOCK_DGRAM).sendto(word.encode(),(addr,18084))
if way in('connected','decoy'):
  s=socket(f,SOCK_DGRAM); s.connect((addr,18084)); s.send(word.encode())";
    let heard = |word: &str| log.join(word).exists();
    for (family, addr) in [("4", plan.host4.to_string()), ("6", plan.host6.to_string())] {
        for way in ["tcp", "udp", "connected", "decoy"] {
            let word = format!("free-{way}-{family}");
            wait::until("the control is heard", wait::SOON, || {
                let words = ["python3", "-c", script, way, &addr, &word];
                free(&words);
                heard(&word).then_some(())
            });
            let word = format!("sealed-{way}-{family}");
            let words = ["python3", "-c", script, way, &addr, &word];
            let shut = sealed(&["-p", "18999"], &words);
            assert_ne!(shut.code, 0, "{way}{family}: {}", shut.describe());
            assert!(
                shut.stderr.contains(":18084 (loopback)") || way == "udp",
                "{way}{family}: {}",
                shut.describe()
            );
        }
    }
    // Its own sockets reach each other there.
    let script = "import sys
from socket import *
l=create_server((sys.argv[1],18085)); c=create_connection((sys.argv[1],18085),3); a=l.accept()[0]
c.send(b'x'*99999)
n=0
while n<99999: n+=len(a.recv(99999))
a.close(); assert c.recv(9)==b''";
    let host = plan.host4.to_string();
    let own = sealed(&["-p", "18999"], &["python3", "-c", script, &host]);
    assert_eq!(own.code, 0, "{}", own.describe());
    assert!(!own.stderr.contains(REFUSED), "{}", own.describe());
    // All that came before its word has been taken by then.
    let words = [
        "python3",
        "-c",
        "import sys
from socket import *
socket(AF_INET,SOCK_DGRAM).sendto(b'last',(sys.argv[1],18084))",
        &host,
    ];
    wait::until("the last word", wait::SOON, || {
        free(&words);
        heard("last").then_some(())
    });
    let names = fs::read_dir(log).unwrap().flatten();
    let names: Vec<_> = names
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|n| n.starts_with("sealed")), "{names:?}");
    assert_eq!(names.len(), 9, "{names:?}");
    fs::remove_dir_all(log).unwrap();
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
