//! Promise: a command that `airgap exec` runs has no devices by which its user could send.

use airgap_tests::Outside;
use airgap_tests::airgap::command;
use airgap_tests::cmd::{self, Output};
use std::fs::{self, Permissions};
use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};
use std::process::Command;

const NOBODY: u32 = 65_534;
const TUN: &str = "airgapt0";
const DEVICE: &str = "/dev/net/tun";

/// Attaches to the tun interface of its user and sends a packet by it.
const ATTACH: &str = "import fcntl,os,struct
tun=os.open('/dev/net/tun',os.O_RDWR)
fcntl.ioctl(tun,0x400454ca,struct.pack('16sH',b'airgapt0',0x1001))
print('attached')";

/// A tun interface of nobody's own, and its device for everybody, as udev has it; both as
/// before at the end.
struct Tun {
    mode: Permissions,
}

impl Tun {
    fn new() -> Self {
        cmd::ok(&format!("ip tuntap add dev {TUN} mode tun user nobody"));
        let mode = fs::metadata(DEVICE).expect("the device").permissions();
        let tun = Self { mode };
        fs::set_permissions(DEVICE, Permissions::from_mode(0o666)).expect("its mode");
        tun
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        drop(fs::set_permissions(DEVICE, self.mode.clone()));
        cmd::attempt(&format!("ip tuntap del dev {TUN} mode tun"));
    }
}

fn free(words: &[&str]) -> Output {
    let mut run = Command::new(words[0]);
    let run = run.args(&words[1..]).current_dir("/");
    cmd::run_command(run.uid(NOBODY).gid(NOBODY))
}

fn sealed(words: &[&str]) -> Output {
    let mut run = command();
    // An exception, so that it is in the host's network.
    let options = ["exec", "--user", "nobody", "--to", "198.51.100.9:1", "--"];
    run.args(options).args(words).current_dir("/");
    cmd::run_command(&mut run)
}

#[test]
fn a_command_has_no_devices_that_lead_anywhere() {
    let _outside = Outside::new();
    let _tun = Tun::new();
    let control = free(&["python3", "-c", ATTACH]);
    assert_eq!(control.stdout, "attached\n", "{}", control.describe());
    let attempt = sealed(&["python3", "-c", ATTACH]);
    assert_eq!(attempt.stdout, "", "{}", attempt.describe());
    assert!(
        attempt.stderr.contains("No such file"),
        "{}",
        attempt.describe()
    );

    let list = [
        "find", "/dev/", "-xdev", "-type", "b", "-o", "-name", "ttyS*",
    ];
    let control = free(&list);
    assert_ne!(control.stdout, "", "the control: {}", control.describe());
    let attempt = sealed(&list);
    assert_eq!(
        (attempt.stdout.as_str(), attempt.code),
        ("", 0),
        "{}",
        attempt.describe()
    );

    // What programs need is there: the null family, terminals, shared memory of its own.
    let works = sealed(&[
        "sh",
        "-c",
        "echo > /dev/null; head -c 3 /dev/urandom | wc -c; echo > /dev/shm/airgap-exec; \
         python3 -c 'import pty; pty.spawn([\"tty\"])'",
    ]);
    assert_eq!(works.stdout, "3\n/dev/pts/0\r\n", "{}", works.describe());
    assert!(!std::path::Path::new("/dev/shm/airgap-exec").exists());
}
