//! Ways out that are no packet's: each is tried by the same program without a seal, where
//! it must be open, and with one.

use super::{NOBODY, exec, free, sealed};
use airgap_tests::cmd;
use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

/// What is tried: `python3 -c THIS WAY ARGUMENT`; prints `open`, or why not.
const TRY: &str = r#"
import ctypes,os,socket,sys,fcntl,signal
libc=ctypes.CDLL(None,use_errno=True)
def check(rc):
    if rc==-1: raise OSError(ctypes.get_errno(),os.strerror(ctypes.get_errno()))
way,arg=sys.argv[1:3]
def unix():
    socket.socket(socket.AF_UNIX).connect(arg)
def pair():
    socket.socketpair(socket.AF_UNIX,socket.SOCK_DGRAM)[0].sendto(b'out',arg)
def abstract():
    socket.socket(socket.AF_UNIX).connect('\0'+arg)
def ptrace():
    check(libc.ptrace(16,int(arg),0,0)); os.waitpid(int(arg),0); check(libc.ptrace(17,int(arg),0,0))
def memory():
    open('/proc/%s/mem'%arg,'r+b')
def root():
    os.listdir('/proc/%s/root/'%arg)
def kill():
    os.kill(int(arg),0)
def shared():
    check(libc.shmget(int(arg),16,0))
def cgroup():
    open(arg,'w').write('0')
def userns():
    check(libc.unshare(0x10000000))
def packet():
    socket.socket(socket.AF_PACKET,socket.SOCK_RAW,0)
def raw():
    socket.socket(socket.AF_INET,socket.SOCK_RAW,1)
def vsock():
    socket.socket(40,socket.SOCK_STREAM)
def join():
    s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
    s.setsockopt(0,35,socket.inet_aton('239.1.2.3')+socket.inet_aton('127.0.0.1'))
def ring():
    check(libc.syscall(425,1,ctypes.create_string_buffer(120)))
def keys():
    check(libc.syscall(250,0,-3,1))
def setting():
    open('/proc/sys/kernel/core_pattern','r+')
def terminal():
    os.close(os.open(arg,os.O_RDWR|os.O_NOCTTY))
def inherited():
    os.fstat(int(arg))
try:
    globals()[way](); print('open')
except OSError as e:
    print('shut:',e)
"#;

fn words<'a>(way: &'a str, argument: &'a str) -> [&'a str; 5] {
    ["python3", "-c", TRY, way, argument]
}

/// Somebody outside, of the same user.
struct Neighbour(Child);

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn by_root(run: &[&str]) -> String {
    let mut command = Command::new(run[0]);
    cmd::run_command(command.args(&run[1..]).current_dir("/")).stdout
}

pub(super) fn each_is_open_without_a_seal_and_shut_with_one() {
    let neighbour = Command::new("sleep")
        .arg("300")
        .uid(NOBODY)
        .gid(NOBODY)
        .spawn();
    let neighbour = Neighbour(neighbour.expect("cannot start sleep"));
    let pid = neighbour.0.id().to_string();
    let socket = format!("/tmp/airgap-test-socket-{pid}");
    let _listener = UnixListener::bind(&socket).expect("bind");
    let datagrams = format!("{socket}-datagrams");
    let receiver = UnixDatagram::bind(&datagrams).expect("bind");
    receiver.set_nonblocking(true).expect("fcntl");
    fs::set_permissions(&datagrams, fs::Permissions::from_mode(0o777)).expect("chmod");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("chmod");
    let name = format!("airgap-test-{pid}");
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _abstract = UnixListener::bind_addr(&address).expect("bind");
    let key = std::process::id() as i32;
    // SAFETY: takes numbers.
    let segment = unsafe { libc::shmget(key, 16, libc::IPC_CREAT | 0o666) };
    assert!(segment >= 0);
    let key = key.to_string();
    // As the command's own user: what the user may do outside, it may not inside.
    for (way, argument) in [
        ("unix", &*socket),
        ("abstract", &name),
        ("pair", &datagrams),
        ("ptrace", &pid),
        ("memory", &pid),
        ("root", &pid),
        ("kill", &pid),
        ("shared", &key),
        ("userns", ""),
        ("join", ""),
        ("keys", ""),
    ] {
        let open = free(&words(way, argument));
        assert_eq!(open.stdout, "open\n", "{way}: {}", open.describe());
        let shut = sealed(&[], &words(way, argument));
        assert!(
            shut.stdout.starts_with("shut: "),
            "{way}: {}",
            shut.describe()
        );
    }
    other_terminals_are_not_there();
    // SAFETY: takes numbers and no memory.
    unsafe { libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut()) };
    assert!(receiver.recv(&mut [0; 8]).is_ok(), "the control's");
    assert!(receiver.recv(&mut [0; 8]).is_err(), "no other came");
    drop(fs::remove_file(&datagrams));
    // What only root may: a command that runs as root may not either.
    let root = ["--user", "root", "--accept", "root-user"];
    let procs = airgap::gate::cgroup_mount()
        .expect("cgroup v2")
        .join("cgroup.procs");
    for (way, argument) in [
        ("cgroup", procs.to_str().expect("a path")),
        ("packet", ""),
        ("raw", ""),
        ("ptrace", &pid),
        ("setting", ""),
    ] {
        let open = by_root(&words(way, argument));
        assert_eq!(open, "open\n", "{way}");
        let shut = sealed(&root, &words(way, argument));
        assert!(
            shut.stdout.starts_with("shut: "),
            "{way}: {}",
            shut.describe()
        );
    }
    hidden_where_unix_sockets_are_accepted(&socket);
    inherited_descriptors_are_closed();
    drop(fs::remove_file(&socket));
}

/// `--accept unix-sockets` gives the command its own, and not those that listen already.
fn hidden_where_unix_sockets_are_accepted(socket: &str) {
    let accept = ["--accept", "unix-sockets"];
    let shut = sealed(&accept, &words("unix", socket));
    assert!(shut.stdout.starts_with("shut: "), "{}", shut.describe());
    let docker = [
        "--user",
        "root",
        "--accept",
        "root-user",
        "--accept",
        "unix-sockets",
    ];
    let to_docker = words("unix", "/run/docker.sock");
    assert_eq!(by_root(&to_docker), "open\n", "docker listens");
    for socket in ["/run/docker.sock", "/var/run/docker.sock"] {
        let shut = sealed(&docker, &words("unix", socket));
        assert!(shut.stdout.starts_with("shut: "), "{}", shut.describe());
    }
    let own = "import socket,os,tempfile
p=tempfile.mkdtemp()+'/s'
l=socket.socket(socket.AF_UNIX); l.bind(p); l.listen()
socket.socket(socket.AF_UNIX).connect(p); print('open')";
    let out = sealed(&accept, &["python3", "-c", own]);
    assert_eq!(out.stdout, "open\n", "{}", out.describe());
}

/// A descriptor that the caller left open, as `9<FILE` of a shell.
fn inherited_descriptors_are_closed() {
    let with = |mut run: Command| {
        let open = || {
            // SAFETY: takes numbers; 9 is nobody's.
            match unsafe { libc::dup2(0, 9) } {
                9 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: one system call.
        unsafe { run.pre_exec(open) };
        cmd::run_command(&mut run).stdout
    };
    let words = words("inherited", "9");
    let mut free = Command::new(words[0]);
    free.args(&words[1..]);
    assert_eq!(with(free), "open\n");
    let shut = with(exec(&[], &words));
    assert!(shut.starts_with("shut: "), "{shut}");
}

/// A pair of terminals that somebody of the same user has.
fn other_terminals_are_not_there() {
    let (mut ours, mut theirs) = (0, 0);
    let mut name = [0_u8; 64];
    // SAFETY: room for both and for the name.
    let rc = unsafe {
        let none = std::ptr::null_mut::<libc::c_char>();
        let (termios, size) = (std::ptr::null_mut(), std::ptr::null_mut());
        let opened = libc::openpty(&raw mut ours, &raw mut theirs, none, termios, size);
        opened | libc::ttyname_r(theirs, name.as_mut_ptr().cast(), name.len())
    };
    assert_eq!(rc, 0, "openpty");
    let name = std::ffi::CStr::from_bytes_until_nul(&name).expect("a name");
    let path = name.to_str().expect("a path");
    std::os::unix::fs::chown(path, Some(NOBODY), None).expect("chown");
    let open = free(&words("terminal", path));
    assert_eq!(open.stdout, "open\n", "{}", open.describe());
    let shut = sealed(&[], &words("terminal", path));
    assert!(shut.stdout.starts_with("shut: "), "{}", shut.describe());
    // It makes its own.
    let own = sealed(
        &[],
        &["python3", "-c", "import pty; print(pty.openpty()[1] > 0)"],
    );
    assert_eq!(own.stdout, "True\n", "{}", own.describe());
    for fd in [ours, theirs] {
        // SAFETY: this test's own.
        unsafe { libc::close(fd) };
    }
}
