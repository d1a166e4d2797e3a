//! Units that are made for the checks, and what is asked of systemd and of airgap.

use airgap_tests::cmd::{self, Output};
use airgap_tests::drill::place::{OUTSIDE4, OUTSIDE6};
use airgap_tests::drill::sink;
use airgap_tests::wait;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

pub(crate) const AIRGAP: &str = "/usr/local/sbin/airgap";
/// A start takes an emulated processor seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// What a unit needs to be sealable as it is, but for what nobody can see.
pub(crate) const CONFINED: &str = "DynamicUser=yes\nCapabilityBoundingSet=\nNoNewPrivileges=yes\n\
    PrivateDevices=yes\nDevicePolicy=closed\nProtectControlGroups=yes\nRestrictNamespaces=yes\n";
/// Last line of a beacon before it serves.
const DONE: &str = "beacon-done";

/// A service whose first action is to send, in every way it knows, to this port.
#[derive(Debug)]
pub(crate) struct Beacon {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
}

impl Beacon {
    pub(crate) fn write(&self, settings: &str) {
        let Self { name, port } = self;
        let text = format!(
            "[Unit]\nStartLimitIntervalSec=0\nRequires=airgap-restore.service\nAfter=airgap-restore.service airgap-sink.service\n\
             [Service]\nExecStart=/opt/airgap-probe beacon --v4 {OUTSIDE4} --v6 {OUTSIDE6} \
             --port {port} --marker {name}\nStandardOutput=append:/var/log/{name}.log\n\
             TimeoutStopSec=1\n{settings}[Install]\nWantedBy=multi-user.target\n\
             Alias={name}-too.service\n"
        );
        write_unit(&format!("{name}.service"), &text);
    }

    /// Lives of which its own log has the end of the first part.
    pub(crate) fn lives(&self) -> usize {
        let log = fs::read_to_string(format!("/var/log/{}.log", self.name)).unwrap_or_default();
        log.lines().filter(|line| line.contains(DONE)).count()
    }

    /// Waits until it has sent, and serves, for the `number`th time.
    pub(crate) fn await_life(&self, number: usize) {
        wait::until(&format!("life {number} of {}", self.name), PATIENCE, || {
            (self.lives() >= number).then_some(())
        });
    }

    /// How many of its packets have arrived.
    pub(crate) fn arrived(&self) -> usize {
        arrived(self.port)
    }
}

/// How many packets for this port have arrived outside.
pub(crate) fn arrived(port: u16) -> usize {
    let all = sink::everything();
    all.iter().filter(|arrival| arrival.port == port).count()
}

/// Packets without ports, which no ordinary program sends.
pub(crate) fn strange() -> Vec<String> {
    let all = sink::everything();
    let strange = all.iter().filter(|a| ![6, 17].contains(&a.protocol));
    strange
        .map(|a| format!("{} {}", a.source, a.protocol))
        .collect()
}

pub(crate) fn write_unit(name: &str, text: &str) {
    fs::write(format!("/etc/systemd/system/{name}"), text).expect("write a unit");
}

pub(crate) fn write_script(path: &str, text: &str) {
    fs::write(path, text).expect("write a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

pub(crate) fn show(unit: &str, property: &str) -> String {
    cmd::ok(&format!(
        "systemctl show --value --property {property} {unit}"
    ))
}

/// What it said is printed where it does not end well.
pub(crate) fn airgap(line: &str) -> Output {
    let words: Vec<_> = line.split(' ').collect();
    let out = cmd::run(AIRGAP, &words);
    println!("{}", out.describe());
    out
}

/// Exit 4 is as good as 0 here: what is open is in the answer.
pub(crate) fn is_sealed(out: &Output) -> bool {
    matches!(out.code, 0 | 4)
}

/// The exit status, and why it is one if it is.
pub(crate) fn said(out: &Output) -> String {
    let line = out.stderr.lines().find(|line| line.starts_with("error"));
    format!("exit {} {}", out.code, line.unwrap_or_default())
}

/// Whether security hooks run, as the product found out.
pub(crate) fn hooks() -> bool {
    let doctor = cmd::run(AIRGAP, &["doctor", "--json"]);
    doctor.stdout.contains("a refusal was seen now")
}

pub(crate) fn status(name: &str) -> Value {
    let out = cmd::run(AIRGAP, &["status", "--json", name]);
    serde_json::from_str(&out.stdout).unwrap_or_else(|_| {
        println!("{}", out.describe());
        Value::Null
    })
}
