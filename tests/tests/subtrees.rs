//! Promise: a cgroup that is no container's, sealed by its path, sends nothing, answers its
//! clients, and is born sealed again whenever it is made again.

#[path = "subtrees/changes.rs"]
mod changes;
#[path = "subtrees/refused.rs"]
mod refused;

use airgap_tests::airgap::{STATE, binary};
use airgap_tests::cmd::{self, Output};
use airgap_tests::kernel::assert_comes_back;
use airgap_tests::{Outside, airgap, airgap_ok, kernel_state, sweep, wait};
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A user that nobody else is.
const USER: &str = "64123";
const TOP: &str = "airgap-test-subtree";

/// Cgroups made by hand, in the place of systemd; removed with the test.
struct Subtrees(PathBuf);

impl Subtrees {
    fn new() -> Self {
        let top = ::airgap::gate::cgroup_mount().expect("cgroup v2").join(TOP);
        fs::create_dir(&top).expect("mkdir");
        Self(top)
    }

    fn make(&self, name: &str) {
        fs::create_dir(self.0.join(name)).expect("mkdir");
    }

    fn remove(&self, name: &str) {
        wait::until("it is empty", wait::SOON, || {
            fs::remove_dir(self.0.join(name)).ok()
        });
    }

    /// `words` in a cgroup, as a user of its own without any right: what a hardened unit has.
    fn confined(&self, name: &str, words: &[&str]) -> Command {
        let mut run = self.plain(name, &["setpriv"]);
        run.arg(format!("--reuid={USER}"));
        run.arg(format!("--regid={USER}"));
        run.args(["--clear-groups", "--no-new-privs"]);
        run.args(["--bounding-set=-all", "--inh-caps=-all"]);
        run.args(words);
        run
    }

    /// The same as root, as an ordinary unit is.
    fn plain(&self, name: &str, words: &[&str]) -> Command {
        let mut run = Command::new("sh");
        run.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]);
        run.arg(self.0.join(name)).args(words);
        run.stdin(Stdio::null()).current_dir("/");
        run
    }
}

impl Drop for Subtrees {
    fn drop(&mut self) {
        // One by one: one that is not sealed keeps no other sealed.
        for name in ["web", "other"] {
            drop(airgap(&["detach", &path(name)]));
        }
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        for entry in entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())) {
            drop(fs::write(entry.path().join("cgroup.kill"), "1"));
            let _ = wait::within(wait::SOON, || {
                let gone = fs::remove_dir(entry.path()).is_ok() || !entry.path().exists();
                gone.then_some(())
            });
        }
        drop(fs::remove_dir(&self.0));
    }
}

/// Ended with the test.
struct Running(Child);

impl Running {
    fn start(mut run: Command) -> Self {
        Self(run.stdout(Stdio::null()).spawn().expect("start"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn path(name: &str) -> String {
    format!("cgroup:/{TOP}/{name}")
}

/// What a confined process of an ordinary host may still do: to be accepted by name.
const LEFT: [&str; 4] = ["user-namespaces", "unix-sockets", "device", "network-fs"];

fn attach(name: &str, options: &[&str]) -> Output {
    let place = format!("/{TOP}/{name}");
    let mut words = vec!["attach", "-d", "--cgroup", &place];
    words.extend(options);
    for risk in LEFT {
        words.extend(["--accept", risk]);
    }
    airgap(&words)
}

const SERVE: &str = "import socket
l=socket.create_server(('',18086))
while 1:
  c,_=l.accept(); d=b''
  while b'\\r\\n\\r\\n' not in d: d+=c.recv(999)
  c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nhello'); c.close()";

/// What a unit whose first action is to send does: `argv` is where to and where its log is.
const BEACON: &str = "import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
try: s.sendto(b'beacon',(sys.argv[1],20000)); said='sent'
except OSError as e: said=str(e.errno)
print(said,flush=True)";

#[test]
fn nothing_leaves_and_clients_are_answered() {
    let outside = Outside::new();
    let plan = &outside.plan;
    let subtrees = Subtrees::new();
    subtrees.make("web");
    subtrees.make("other");
    let (host, far) = (plan.host4, plan.outside4.to_string());
    let beacon = |name| subtrees.confined(name, &["/usr/bin/python3", "-c", BEACON, &far]);
    let free = cmd::run_command(&mut beacon("web"));
    assert_eq!(free.stdout, "sent\n", "the control: {}", free.describe());
    wait::until("it has arrived", wait::SOON, || {
        (!outside.seen().is_empty()).then_some(())
    });
    outside.clear();
    let serve = subtrees.confined("web", &["/usr/bin/python3", "-c", SERVE]);
    let _service = Running::start(serve);
    // A connection that is older than the seal, and that goes on sending.
    let stream = "import socket,sys,time
s=socket.create_connection((sys.argv[1],20001))
while 1: s.send(b'GET'); time.sleep(.01)";
    let mut old = subtrees.confined("web", &["/usr/bin/python3", "-c", stream, &far]);
    old.stderr(Stdio::null());
    let mut old = Running::start(old);
    wait::until("it sends", wait::SOON, || {
        (!outside.seen().is_empty()).then_some(())
    });
    wait::until("the service answers", wait::SOON, || {
        outside.get(host, 18_086, "/").ok()
    });
    let client = format!("{far}/32");
    let sealed = attach("web", &["-p", "18086", "--from", &client]).expect_code(4);
    assert!(sealed.stdout.contains("SEALED"), "{}", sealed.describe());
    wait::until("it hears of its end", wait::SOON, || {
        old.0.try_wait().expect("wait")
    });
    outside.clear();
    for _ in 0..100 {
        outside
            .get(host, 18_086, "/")
            .expect("a client is answered");
    }
    let shut = cmd::run_command(&mut beacon("web"));
    assert_eq!(
        shut.stdout,
        format!("{}\n", airgap_tests::kernel::refused()),
        "{}",
        shut.describe()
    );
    // Others on the host's loopback lead out, its own do not.
    let resolver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = resolver.local_addr().expect("bound").port().to_string();
    resolver.set_nonblocking(true).expect("fcntl");
    let ask = "import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.connect(('127.0.0.1',int(sys.argv[1])))
try: s.send(b'x'); print('sent')
except OSError: print('no')";
    let words = ["/usr/bin/python3", "-c", ask, &port];
    let near = cmd::run_command(&mut subtrees.confined("web", &words));
    assert_eq!(near.stdout, "no\n", "{}", near.describe());
    assert!(resolver.recv(&mut [0; 9]).is_err());
    let control = cmd::run_command(&mut subtrees.confined("other", &words));
    assert_eq!(control.stdout, "sent\n", "{}", control.describe());
    let own = "import socket
l=socket.create_server(('127.0.0.1',0)); socket.create_connection(l.getsockname(),2)";
    let own = cmd::run_command(&mut subtrees.confined("web", &["/usr/bin/python3", "-c", own]));
    assert_eq!(own.code, 0, "{}", own.describe());
    let mut arrived = outside.arrivals();
    arrived.retain(|frame| frame.ports().is_none_or(|(from, _)| from != 18_086));
    assert!(arrived.is_empty(), "{arrived:?}");
    // The bystander beside it.
    let other = cmd::run_command(&mut beacon("other"));
    assert_eq!(other.stdout, "sent\n", "{}", other.describe());
    let name = path("web");
    let status: Value =
        serde_json::from_str(&airgap(&["status", "--json", &name]).stdout).expect("JSON");
    assert_eq!(status["container"]["name"], name.as_str());
    assert_eq!(status["ports"][0], "18086/tcp");
    assert_eq!(status["problems"], serde_json::json!([]), "{status:#}");
    let tail = airgap_ok(&["tail", "--no-follow", &name]).stdout;
    // Besides what the older connection still sent before it was cut, and what nobody tried.
    const OTHERS: [&str; 3] = ["no-provenance", "inbound", "kernel-chatter"];
    let reasons = status["denials"]["by_reason"].as_array().expect("a list");
    let told = reasons
        .iter()
        .filter(|pair| !OTHERS.iter().any(|other| pair[0] == *other));
    let told: Vec<_> = told.map(|pair| pair.to_string()).collect();
    assert_eq!(
        told,
        ["[\"egress\",1]", "[\"loopback\",1]"],
        "{status:#}\n{tail}"
    );
    assert!(tail.contains(&format!("{far}:20000")), "{tail}");
    let list = airgap(&["list"]).stdout;
    assert!(list.contains(&name), "{list}");
    let report = airgap(&["report", &name]).stdout;
    assert!(report.contains(&name), "{report}");
    airgap_ok(&["detach", &name]);
    let free = cmd::run_command(&mut beacon("web"));
    assert_eq!(
        free.stdout,
        "sent\n",
        "after the detach: {}",
        free.describe()
    );
}

#[test]
fn what_is_made_there_again_is_born_sealed() {
    let outside = Outside::new();
    let far = outside.plan.outside4.to_string();
    let subtrees = Subtrees::new();
    subtrees.make("web");
    subtrees.make("other");
    attach("web", &[]).expect_code(0);
    let id = |name: &str| fs::metadata(subtrees.0.join(name)).expect("stat").ino();
    let mut ids = vec![id("web")];
    let beacon = |name| subtrees.plain(name, &["/usr/bin/python3", "-c", BEACON, &far]);
    let refused = format!("{}\n", airgap_tests::kernel::refused());
    for round in 0..50 {
        subtrees.remove("web");
        // What lies before the first start after a reboot, once.
        if round == 25 {
            let pins = format!("/sys/fs/bpf/airgap/v{}", airgap_common::ABI_VERSION);
            fs::remove_dir_all(pins).expect("lose the kernel's side");
            wait::until("the control gets out", wait::SOON, || {
                cmd::run_command(&mut beacon("other"));
                (!outside.seen().is_empty()).then_some(())
            });
            airgap_ok(&["restore"]);
            outside.clear();
        }
        subtrees.make("web");
        ids.push(id("web"));
        let out = cmd::run_command(&mut beacon("web"));
        assert_eq!(out.stdout, refused, "round {round}: {}", out.describe());
    }
    ids.dedup();
    assert_eq!(ids.len(), 51, "each is another cgroup");
    assert!(outside.arrivals().is_empty(), "{:?}", outside.arrivals());
    let status = airgap(&["status", &path("web")]);
    assert!(
        status.stdout.contains("refused   25 attempts"),
        "{}",
        status.describe()
    );
    subtrees.remove("web");
    let gone = airgap(&["status", &path("web")]).expect_code(0);
    assert!(gone.stdout.contains("not running"), "{}", gone.describe());
    // A restore marks what is there before it.
    subtrees.make("web");
    airgap_ok(&["restore"]);
    let out = cmd::run_command(&mut beacon("web"));
    assert_eq!(out.stdout, refused, "{}", out.describe());
    airgap_ok(&["detach", &path("web")]);
    let records = fs::read_dir(format!("{STATE}/seals")).expect("records");
    assert_eq!(records.count(), 0, "its record is gone");
}
