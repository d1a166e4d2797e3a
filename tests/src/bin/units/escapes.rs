//! Ways around a seal that a service of the host has: each is tried by an ordinary unit without
//! a seal, as the control, and by the same one once it is sealed and confined.

use crate::unit::{airgap, arrived, is_sealed, said, show, strange, write_unit};
use airgap_tests::drill::check::Checks;
use airgap_tests::drill::place::{OUTSIDE4, OUTSIDE6};
use airgap_tests::{cmd, wait};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

const SCRIPT: &str = "/usr/local/bin/escape";
const LOG: &str = "/var/log/escape.log";
/// Where each way leads to.
const WAYS: [(u16, &str); 6] = [
    (22_001, "systemd-run"),
    (22_002, "the root's cgroup.procs"),
    (22_003, "a cgroup tree of its own"),
    (22_004, "systemctl start of another unit"),
    (22_005, "every technique of the corpus"),
    (22_006, "busctl"),
];
/// What the corpus takes an emulated machine.
const PATIENCE: Duration = Duration::from_secs(150);

fn send(port: u16) -> String {
    format!("/opt/airgap-probe try udp4 --v4 {OUTSIDE4} --v6 {OUTSIDE6} --port {port}")
}

pub(crate) fn write() {
    let [run, procs, tree, _, corpus, bus] = WAYS.map(|(port, _)| port);
    let text = format!(
        "#!/bin/sh\n\
         cd /\n\
         systemd-run --collect {}\n\
         sh -c 'echo $$ > /sys/fs/cgroup/cgroup.procs && exec {}'\n\
         unshare --user --map-root-user --mount sh -c 'mount -t cgroup2 none /mnt && echo $$ > /mnt/cgroup.procs && exec {tree}'\n\
         sh -c 'unshare --mount sh -c \"mount -t cgroup2 none /mnt && echo \\$\\$ > /mnt/cgroup.procs && exec {tree}\"'\n\
         systemctl --no-ask-password start outsider.service\n\
         busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
         org.freedesktop.systemd1.Manager StartUnit ss outsider2.service replace\n\
         for way in $(/opt/airgap-probe list); do\n\
         timeout 20 /opt/airgap-probe try $way --v4 {OUTSIDE4} --v6 {OUTSIDE6} --port {corpus}\n\
         done\n\
         echo escape-done\n\
         exec sleep 100000\n",
        send(run),
        send(procs),
        tree = send(tree),
    );
    fs::write(SCRIPT, text).expect("write the script");
    fs::set_permissions(SCRIPT, fs::Permissions::from_mode(0o755)).expect("chmod");
    write_unit(
        "escape.service",
        &format!(
            "[Service]\nExecStart={SCRIPT}\nTimeoutStopSec=1\nStandardOutput=append:{LOG}\n\
             StandardError=inherit\n"
        ),
    );
    for (name, port) in [("outsider", 22_004), ("outsider2", bus)] {
        let text = format!("[Service]\nType=oneshot\nExecStart={}\n", send(port));
        write_unit(&format!("{name}.service"), &text);
    }
    cmd::ok("systemctl daemon-reload");
}

fn await_end(number: usize) {
    wait::until("all ways were tried", PATIENCE, || {
        let log = fs::read_to_string(LOG).unwrap_or_default();
        let done = log.lines().filter(|line| *line == "escape-done").count();
        (done >= number).then_some(())
    });
}

pub(crate) fn run(checks: &Checks) {
    write();
    cmd::ok("systemctl start escape");
    await_end(1);
    for (port, way) in WAYS {
        let count = arrived(port);
        // As root it needs no user namespace, and the kernel lets it mount a tree all the same.
        checks.that(
            count > 0,
            &format!("control: {way}"),
            &format!("{count} packets"),
        );
    }
    let odd = strange().len();
    let before = WAYS.map(|(port, _)| arrived(port));
    let sealed = airgap("attach -d --harden --unit escape");
    checks.that(
        is_sealed(&sealed),
        "an ordinary unit, hardened and sealed",
        &said(&sealed),
    );
    if !is_sealed(&sealed) {
        return;
    }
    await_end(2);
    for ((port, way), before) in WAYS.into_iter().zip(before) {
        let count = arrived(port) - before;
        checks.that(
            count == 0,
            &format!("shut: {way}"),
            &format!("{count} packets"),
        );
    }
    let more: Vec<_> = strange().split_off(odd);
    checks.that(
        more.is_empty(),
        "shut: packets without ports",
        &more.join(", "),
    );
    let state = show("escape", "ActiveState");
    checks.that(state == "active", "it still runs", &state);
}

/// What it said of its tries, for whoever looks into a failure.
pub(crate) fn show_log() {
    println!("{}", fs::read_to_string(LOG).unwrap_or_default());
}
