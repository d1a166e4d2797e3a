//! Ways around a seal that a service of the host has: each is tried by an ordinary unit without
//! a seal, as the control, and by the same one once it is sealed and confined.

use crate::unit::{airgap, arrived, is_sealed, said, show, strange, write_script, write_unit};
use airgap_tests::drill::check::Checks;
use airgap_tests::drill::place::{OUTSIDE4, OUTSIDE6};
use airgap_tests::{cmd, wait};
use std::fs;
use std::time::Duration;

const SCRIPT: &str = "/usr/local/bin/escape";
const LOG: &str = "/var/log/escape.log";
const CORPUS: u16 = 22_005;
/// Where each way leads to.
const WAYS: [(u16, &str); 9] = [
    (22_001, "systemd-run"),
    (22_002, "the root's cgroup.procs"),
    (22_003, "a cgroup tree of its own"),
    (22_004, "systemctl start of another unit"),
    (CORPUS, "every technique of the corpus"),
    (22_006, "busctl"),
    (22_007, "systemd-run --user"),
    (22_008, "a D-Bus service"),
    (22_009, "at"),
];
/// Those of them that an ordinary user has, too.
const OF_USERS: [u16; 3] = [22_007, 22_008, 22_009];
/// Told by itself that `at` has come to what was asked of it before.
const LAST_AT: u16 = 22_010;
/// What the script ends with where it is not a service.
const CODE: i32 = 7;
/// What the corpus takes an emulated machine.
const PATIENCE: Duration = Duration::from_secs(150);

fn send(port: u16) -> String {
    format!("/opt/airgap-probe try udp4 --v4 {OUTSIDE4} --v6 {OUTSIDE6} --port {port}")
}

pub(crate) fn write() {
    let [run, procs, tree, _, corpus, bus, user, service, at] = WAYS.map(|(port, _)| port);
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
         for id in $(id -u) 0 1000; do\n\
         XDG_RUNTIME_DIR=/run/user/$id systemd-run --user --collect {}\n\
         done\n\
         busctl --timeout=5 call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus \
         StartServiceByName su com.example.Outsider 0\n\
         echo '{}' | at now\n\
         [ \"$1\" != once ] || exit {CODE}\n\
         for way in $(/opt/airgap-probe list); do\n\
         timeout 20 /opt/airgap-probe try $way --v4 {OUTSIDE4} --v6 {OUTSIDE6} --port {corpus}\n\
         done\n\
         echo escape-done\n\
         exec sleep 100000\n",
        send(run),
        send(procs),
        send(user),
        send(at),
        tree = send(tree),
    );
    write_script(SCRIPT, &text);
    write_unit(
        "escape.service",
        &format!(
            "[Service]\nExecStart={SCRIPT}\nTimeoutStopSec=1\nStandardOutput=append:{LOG}\n\
             StandardError=inherit\n"
        ),
    );
    write_script(
        "/usr/share/dbus-1/system-services/com.example.Outsider.service",
        "[D-BUS Service]\nName=com.example.Outsider\nExec=/bin/false\nUser=root\n\
         SystemdService=outsider3.service\n",
    );
    let outsiders = [
        ("outsider", 22_004),
        ("outsider2", bus),
        ("outsider3", service),
    ];
    for (name, port) in outsiders {
        // One that fails to take its name is asked for anew each time.
        let kind = match port == service {
            true => "dbus\nBusName=com.example.Outsider",
            false => "oneshot",
        };
        let text = format!(
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType={kind}\nExecStart={}\n",
            send(port)
        );
        write_unit(&format!("{name}.service"), &text);
    }
    cmd::ok("systemctl daemon-reload");
    cmd::ok("systemctl reload dbus");
    cmd::ok("systemctl start user@0.service user@1000.service atd.service");
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
    commands(checks);
}

/// The same ways, by a command that is sealed from its first instruction: of root, and of an
/// ordinary user, who has some of them without a seal, too.
fn commands(checks: &Checks) {
    let before = WAYS.map(|(port, _)| arrived(port));
    for user in ["--user root --accept root-user", "--user person"] {
        let out = airgap(&format!("exec {user} -- {SCRIPT} once"));
        checks.that(
            out.code == CODE,
            &format!("airgap exec {user}: its command's exit code"),
            &said(&out),
        );
    }
    // Jobs of `at` are run one after the other: with this one all before it were.
    let ask = "/usr/local/bin/ask-at";
    write_script(
        ask,
        &format!("#!/bin/sh\necho '{}' | at now\n", send(LAST_AT)),
    );
    cmd::ok(ask);
    let last = wait::within(PATIENCE, || (arrived(LAST_AT) > 0).then_some(()));
    checks.that(last.is_some(), "control: at runs what root asks", "");
    // The corpus has tests of its own for commands, and is not run here.
    let ways = WAYS.into_iter().zip(before);
    for ((port, way), before) in ways.filter(|((port, _), _)| *port != CORPUS) {
        let count = arrived(port) - before;
        checks.that(
            count == 0,
            &format!("exec, shut: {way}"),
            &format!("{count} packets"),
        );
    }
    let left = fs::read_dir("/sys/fs/cgroup/airgap").map_or(0, |dir| {
        dir.flatten().filter(|entry| entry.path().is_dir()).count()
    });
    checks.that(left == 0, "exec leaves no cgroup", &left.to_string());
    let free = cmd::attempt(&format!("runuser -u person -- {SCRIPT} once"));
    for (port, way) in WAYS.into_iter().filter(|(port, _)| OF_USERS.contains(port)) {
        let at = WAYS
            .iter()
            .position(|one| one.0 == port)
            .unwrap_or_default();
        let heard = wait::within(PATIENCE, || (arrived(port) > before[at]).then_some(()));
        checks.that(
            heard.is_some(),
            &format!("control: an ordinary user has {way}"),
            &said(&free),
        );
    }
}

/// What it said of its tries, for whoever looks into a failure.
pub(crate) fn show_log() {
    println!("{}", fs::read_to_string(LOG).unwrap_or_default());
}
