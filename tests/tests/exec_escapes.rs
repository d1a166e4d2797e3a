//! Promise: nobody outside sends for a command that `airgap exec` runs, however it asks. Each
//! way is shown without the seal, too.

use airgap_tests::Outside;
use airgap_tests::airgap::command;
use airgap_tests::cmd::{self, Output};
use airgap_tests::wait;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const NOBODY: u32 = 65_534;
const PLACE: &str = "/run/airgap-test-exec";

/// A directory for what a test puts there; what is mounted in it goes with it.
struct Place;

impl Place {
    fn new() -> Self {
        fs::create_dir_all(PLACE).expect("a directory");
        Self
    }

    fn path(name: &str) -> String {
        format!("{PLACE}/{name}")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in ["pts", "fuse"] {
            cmd::attempt(&format!("umount -l {}", Self::path(name)));
        }
        drop(fs::remove_dir_all(PLACE));
    }
}

/// Somebody outside, as the same user, and the lines that it prints.
struct Stranger {
    child: Child,
    lines: Receiver<String>,
}

impl Stranger {
    fn start(script: &str, args: &[&str], user: u32) -> Self {
        let mut run = Command::new("python3");
        run.args(["-u", "-c", script]).args(args).current_dir("/");
        let run = run.stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = run.uid(user).gid(user).spawn().expect("python3");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let stranger = Self { child, lines };
        assert_eq!(stranger.next().as_deref(), Some("up"));
        stranger
    }

    fn next(&self) -> Option<String> {
        self.lines.recv_timeout(Duration::from_secs(5)).ok()
    }

    /// What it has got by now.
    fn heard(&self) -> Vec<String> {
        let mut heard = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(300)) {
            heard.push(line);
        }
        heard
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free(words: &[&str]) -> Output {
    let mut run = Command::new(words[0]);
    let run = run.args(&words[1..]).current_dir("/");
    cmd::run_command(run.uid(NOBODY).gid(NOBODY))
}

fn exec(options: &[&str], words: &[&str]) -> Command {
    let mut run = command();
    run.args(["exec", "--user", "nobody"]).args(options);
    run.arg("--").args(words).current_dir("/");
    run
}

fn sealed(options: &[&str], words: &[&str]) -> Output {
    cmd::run_command(&mut exec(options, words))
}

/// Takes what comes to a port that others share.
const LISTENER: &str = "import socket,sys,threading
def pair(kind):
    s=socket.socket(socket.AF_INET,kind); s.setsockopt(1,15,1); s.bind(('127.0.0.1',20777)); return s
u,t=pair(socket.SOCK_DGRAM),pair(socket.SOCK_STREAM); t.listen(64)
def tcp():
    while True:
        c=t.accept()[0]; c.settimeout(2)
        try: print('tcp',c.recv(99).decode())
        except OSError: pass
threading.Thread(target=tcp,daemon=True).start()
print('up')
while True: print('udp',u.recv(99).decode())";

/// Joins the port, has the first of the group get all, and sends itself something. Data goes
/// with the third packet of the handshake.
const JOINER: &str = "import socket,struct,ctypes
class F(ctypes.Structure): _fields_=[('len',ctypes.c_ushort),('filter',ctypes.c_void_p)]
code=ctypes.create_string_buffer(struct.pack('HBBI',6,0,0,0)); prog=F(1,ctypes.addressof(code))
for kind in (socket.SOCK_DGRAM,socket.SOCK_STREAM):
    own=[]
    for i in range(8):
        s=socket.socket(socket.AF_INET,kind)
        try: s.setsockopt(1,15,1); s.bind(('127.0.0.1',20777))
        except OSError as e: print('refused',e.errno); break
        if kind==socket.SOCK_STREAM: s.listen(8)
        own.append(s)
    if own:
        try: own[0].setsockopt(1,51,bytes(prog))
        except OSError as e: print('refused',e.errno)
    for i in range(8):
        c=socket.socket(socket.AF_INET,kind); c.settimeout(1)
        if kind==socket.SOCK_STREAM: c.setsockopt(6,9,5)
        try: c.connect(('127.0.0.1',20777)); c.send(b'SECRET')
        except OSError: pass";

#[test]
fn a_shared_port_gives_a_stranger_nothing() {
    let _outside = Outside::new();
    let stranger = Stranger::start(LISTENER, &[], NOBODY);
    free(&["python3", "-c", JOINER]);
    let control = stranger.heard();
    for kind in ["udp SECRET", "tcp SECRET"] {
        assert!(control.iter().any(|line| line == kind), "{control:?}");
    }
    let out = sealed(&["-p", "8080"], &["python3", "-c", JOINER]);
    assert!(out.stdout.contains("refused"), "{}", out.describe());
    let heard = stranger.heard();
    assert!(
        heard.iter().all(|line| !line.contains("SECRET")),
        "{heard:?}"
    );
}

#[test]
fn a_signal_to_its_group_reaches_nobody_outside() {
    let _outside = Outside::new();
    let airgap = command().get_program().to_string_lossy().into_owned();
    let script = |run: &str| format!("trap 'echo SIGNALLED' USR1; {run}; sleep 0.1; echo end");
    let kill = "sh -c \"kill -USR1 0\"";
    let by = |run: &str| {
        let mut sh = Command::new("setsid");
        cmd::run_command(sh.args(["-w", "sh", "-c", &script(run)]).current_dir("/"))
    };
    let control = by(kill);
    assert!(
        control.stdout.contains("SIGNALLED"),
        "{}",
        control.describe()
    );
    let out = by(&format!("{airgap} exec --user nobody -- {kill}"));
    assert_eq!(out.stdout, "end\n", "{}", out.describe());
}

#[test]
fn its_end_is_told_whatever_it_did_to_the_stream() {
    const FILL: &str = "import fcntl,os,socket
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
try: s.sendto(b'x',('198.51.100.9',9))
except OSError: pass
fcntl.fcntl(2,fcntl.F_SETFL,os.O_NONBLOCK|fcntl.fcntl(2,fcntl.F_GETFL))
try:
    while True: os.write(2,b'.'*4096)
except BlockingIOError: pass";
    let _outside = Outside::new();
    let mut run = exec(&["--fail-on-denial"], &["python3", "-c", FILL]);
    let mut child = run.stderr(Stdio::piped()).spawn().expect("airgap");
    // Nobody reads until the seal is lifted.
    wait::until("the seal is lifted", wait::SOON, || {
        let list = cmd::run_command(command().arg("list"));
        list.stdout.contains("no container is sealed").then_some(())
    });
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut said).expect("its words");
    assert!(said.contains("airgap: refused 1 attempt"), "not told");
    assert_eq!(child.wait().expect("its end").code(), Some(4));

    // Where nobody can read them, it says so by its exit code.
    let mut run = exec(&[], &["true"]);
    let out = run.stderr(Stdio::null()).status().expect("airgap");
    assert_eq!(out.code(), Some(0), "the control");
    let gone = format!(
        "{} exec --user nobody -- python3 -c '{}' 2>&1 | true; exit ${{PIPESTATUS[0]}}",
        command().get_program().to_string_lossy(),
        FILL.lines()
            .take(4)
            .collect::<Vec<_>>()
            .join("\n")
            .replace('\'', "\"")
    );
    let out = cmd::run("bash", &["-c", &gone]);
    assert_eq!(out.code, 1, "{}", out.describe());
    let list = cmd::run_command(command().arg("list"));
    assert!(
        list.stdout.contains("no container is sealed"),
        "{}",
        list.describe()
    );
}

#[test]
fn mounts_elsewhere_lead_to_no_device_and_no_terminal() {
    let _outside = Outside::new();
    let _place = Place::new();
    let (node, pts) = (Place::path("node"), Place::path("pts"));
    cmd::ok(&format!("mknod -m 666 {node} c 1 9"));
    fs::create_dir(&pts).expect("a directory");
    cmd::ok(&format!("mount --bind /dev/pts {pts}"));
    let read = ["head", "-c", "1", &node];
    assert_eq!(free(&read).code, 0, "the control");
    let out = sealed(&[], &read);
    assert!(
        out.stderr.contains("Permission denied"),
        "{}",
        out.describe()
    );
    let list = ["ls", &pts];
    assert!(free(&list).stdout.contains("ptmx"), "the control");
    let out = sealed(&[], &list);
    assert_eq!(
        (out.stdout.as_str(), out.code),
        ("", 0),
        "{}",
        out.describe()
    );
}

/// Says what is looked up in a file system that only its user may look at, as sshfs is.
const FUSE: &str = "import os,sys,struct,ctypes
mnt,uid=sys.argv[1],int(sys.argv[2])
libc=ctypes.CDLL(None,use_errno=True)
fd=os.open('/dev/fuse',os.O_RDWR)
o=f'fd={fd},rootmode=40000,user_id={uid},group_id={uid}'.encode()
if libc.mount(b'far',mnt.encode(),b'fuse.sshfs',6,o): raise OSError(ctypes.get_errno(),'mount')
def attr(ino,mode): return struct.pack('<QQQQQQIIIIIIIIII',ino,0,0,0,0,0,0,0,0,mode,1,uid,uid,0,4096,0)
print('up',flush=True)
while True:
    b=os.read(fd,1<<20)
    op,un,node=struct.unpack('<IQQ',b[4:24]); body=b[40:]
    def rep(data=b'',err=0): os.write(fd,struct.pack('<IiQ',16+len(data),-err,un)+data)
    if op==26: rep(struct.pack('<IIIIHHIIHHI7I',7,31,131072,0,0,0,131072,1,0,0,0,*[0]*7))
    elif op==3: rep(struct.pack('<QII',0,0,0)+attr(node,0o40755))
    elif op==1: print('lookup',body.rstrip(b'\\0').decode(),flush=True); rep(err=2)
    elif op in (2,42): pass
    else: rep(err=38)";

#[test]
fn a_file_system_of_its_users_own_is_covered() {
    let _outside = Outside::new();
    let _place = Place::new();
    let mount = Place::path("fuse");
    fs::create_dir(&mount).expect("a directory");
    cmd::ok(&format!("chown {NOBODY} {mount}"));
    cmd::attempt("modprobe fuse");
    let server = Stranger::start(FUSE, &[&mount, &NOBODY.to_string()], 0);
    let look = |name: &str| format!("{mount}/{name}");
    free(&["cat", &look("control")]);
    assert_eq!(server.next().as_deref(), Some("lookup control"));
    let out = sealed(&[], &["cat", &look("secret")]);
    assert!(out.stderr.contains("No such file"), "{}", out.describe());
    assert_eq!(server.heard(), [""; 0], "{}", out.describe());
    // Nothing waits for the server any more.
    cmd::attempt(&format!("umount -l {mount}"));
}

#[test]
fn a_directory_is_no_stream() {
    let _outside = Outside::new();
    let mut run = exec(&[], &["ls", "-d", "/proc/self/fd/0/proc/1"]);
    let out = run
        .stdin(fs::File::open("/").expect("a directory"))
        .output();
    let out = out.expect("airgap");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.contains("its stdin is no file, pipe or terminal"),
        "{said}"
    );
    assert!(
        !Path::new("/sys/fs/bpf/airgap").exists(),
        "nothing was armed"
    );
}

/// Where a directory is made or removed there is a seal without its cgroup for an instant.
#[test]
fn what_a_killed_airgap_leaves_goes_with_the_next_command() {
    let _outside = Outside::new();
    let binary = command().get_program().to_string_lossy().into_owned();
    let mut killed = 0;
    for call in ["mkdir", "rmdir"] {
        for number in 1.. {
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let trace = format!("trace={call}");
            let run = [
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &trace,
                "-e",
                &inject,
                &binary,
            ];
            let words = ["exec", "--user", "nobody", "--", "true"];
            let out = cmd::run("strace", &[&run[..], &words[..]].concat());
            // What was to be removed by a process that was killed may still be running.
            wait::until("nothing is left", wait::SOON, || {
                let list = cmd::run_command(command().arg("list"));
                list.stdout.contains("no container is sealed").then_some(())
            });
            if out.code == 0 {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed > 2, "only {killed} were killed");
    // A gate that was half armed goes with the next one.
    assert_eq!(sealed(&[], &["true"]).code, 0);
    assert!(!Path::new("/sys/fs/bpf/airgap").exists(), "the gate stands");
}

/// A connection that is closed goes on sending what it has, without a process.
#[test]
fn nothing_is_left_to_be_sent_when_the_seal_is_lifted() {
    const PORT: u16 = 21_000;
    const FILL: &str = "import socket,sys
s=socket.create_connection((sys.argv[1],21000)); s.setblocking(False)
try:
    while True: s.send(b'.'*65536)
except BlockingIOError: s.close()";
    let outside = Outside::new();
    let address = outside.plan.outside4;
    let listen = || std::net::TcpListener::bind((address, PORT)).expect("a listener");
    // Nobody reads there.
    let far = outside.netns.run(listen);
    let (at, to) = (address.to_string(), format!("{address}:{PORT}"));
    let left = || cmd::ok(&format!("ss -Htan dst {address} dport = {PORT}"));
    let words = ["python3", "-c", FILL, &at];
    assert_eq!(free(&words).code, 0);
    assert!(left().contains("FIN-WAIT"), "the control: {}", left());
    drop(far);
    wait::until("the control's is gone", Duration::from_secs(30), || {
        cmd::attempt(&format!("ss -K dst {address} dport = {PORT}"));
        left().is_empty().then_some(())
    });
    let _far = outside.netns.run(listen);
    let out = sealed(&["--to", &to], &words);
    assert_eq!(out.code, 0, "{}", out.describe());
    assert_eq!(left(), "", "{}", out.describe());
}
