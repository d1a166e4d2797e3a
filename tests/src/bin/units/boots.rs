//! What happens after each start of the machine. How far it has come is on its disk.

use crate::escapes;
use crate::kinds;
use crate::sockets;
use crate::unit::{
    AIRGAP, Beacon, CONFINED, PATIENCE, airgap, arrived, hooks, is_sealed, said, show, status,
    write_unit,
};
use crate::web;
use airgap_tests::cmd;
use airgap_tests::drill::check::{self, Checks};
use airgap_tests::drill::place::{OUTSIDE4, OUTSIDE6};
use airgap_tests::wait;
use std::fs;
use std::process::{Child, Command};

const STAGE: &str = "/var/lib/airgap-units";
const RESTARTS: usize = 50;
const SEALED: Beacon = Beacon {
    name: "beacon",
    port: 20_000,
};
/// Where a unit of a user's own systemd sends to.
const KNOCKS: u16 = 23_000;
/// The same in the same slice, never sealed.
const OPEN: Beacon = Beacon {
    name: "bystander",
    port: 21_000,
};

/// Runs the checks of this boot; then the machine starts again, or goes off after the last one or
/// a failure.
pub(crate) fn run() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    println!("guest: begin {}", release.trim());
    let second = fs::exists(STAGE).expect("the stage");
    println!("boot: {}", 1 + usize::from(second));
    let checks = Checks::default();
    if second {
        after_reboot(&checks);
    } else {
        println!(
            "systemd: {}",
            cmd::ok("systemctl --version")
                .lines()
                .next()
                .unwrap_or_default()
        );
        first(&checks);
    }
    if checks.are_good() && !second {
        fs::write(STAGE, "").expect("write the stage");
        cmd::ok("systemctl reboot");
        return;
    }
    if !checks.are_good() {
        check::show_journal(&[
            "airgap-restore",
            "nginx",
            "beacon",
            "escape",
            "airgap-units",
        ]);
        escapes::show_log();
    }
    println!("guest: exit {}", u8::from(!checks.are_good()));
    cmd::ok("systemctl poweroff --force --force");
}

fn first(checks: &Checks) {
    cmd::ok(&format!("install -D -m 755 /opt/airgap {AIRGAP}"));
    let installed = airgap("install --yes");
    let alone = installed.stderr.contains("no container engine is here");
    checks.that(
        installed.code == 0 && alone,
        "airgap install, without an engine",
        &said(&installed),
    );
    cmd::ok("useradd --create-home --uid 1000 --shell /bin/sh person");
    bad_input(checks);
    web::write_site();
    web::plain(checks);
    web::hardened(checks);
    let hooks = if hooks() {
        "security hooks"
    } else {
        "no security hooks"
    };
    println!("hooks: {hooks}");
    web::changed(checks);
    beacons(checks);
    moves(checks);
    sockets::run(checks);
    kinds::run(checks);
    comes_back(checks);
    escapes::run(checks);
    users(checks);
}

/// Nothing changes, and who asks learns why.
fn bad_input(checks: &Checks) {
    let id = "0123456789abcdef".repeat(4);
    let scope = format!("docker-{id}.scope");
    let _container = Scope::start(&scope);
    write_unit("masked-one.service", "[Service]\nExecStart=/bin/true\n");
    write_unit("named@.service", "[Service]\nExecStart=/bin/true\n");
    cmd::ok("systemctl daemon-reload");
    fs::remove_file("/etc/systemd/system/masked-one.service").expect("remove");
    cmd::ok("systemctl mask masked-one.service");
    for (words, code, word) in [
        (&*format!("--unit {scope}"), 1, "the container 0123456789ab"),
        ("--unit ngnix", 2, "nginx.service"),
        ("--unit ngin*", 2, "no name of a unit"),
        ("--unit named@", 2, "INSTANCE"),
        ("--unit named@.service", 2, "INSTANCE"),
        ("--unit dbus.socket", 2, "name the service"),
        ("--unit dbus", 1, "dbus"),
        ("--unit init.scope", 1, "first process"),
        ("--unit masked-one", 1, "masked"),
        ("--slice nope-x", 2, "there is no unit nope-x.slice"),
        ("--slice -", 1, "the root of the cgroup tree"),
        ("--slice system", 1, "works for others"),
        ("--harden --unit system.slice", 1, "is no service"),
    ] {
        let refused = airgap(&format!("attach -d {words}"));
        let told = refused.stderr.contains(word);
        checks.that(
            refused.code == code && told,
            &format!("refused: {words}"),
            &said(&refused),
        );
    }
    let records = fs::read_dir("/var/lib/airgap/seals").map_or(0, Iterator::count);
    checks.that(records == 0, "nothing is recorded", &records.to_string());
}

/// A scope, as engines make one for a container; over with it.
struct Scope(Child);

impl Scope {
    fn start(name: &str) -> Self {
        let mut run = Command::new("systemd-run");
        run.args(["--quiet", "--scope", "--unit", name, "sleep", "100000"]);
        let scope = Self(run.spawn().expect("systemd-run"));
        let dir = format!("/sys/fs/cgroup/system.slice/{name}");
        wait::until("the scope is there", PATIENCE, || {
            fs::exists(&dir).unwrap_or(false).then_some(())
        });
        scope
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Sealed before its first start, born sealed at each one.
fn beacons(checks: &Checks) {
    SEALED.write(CONFINED);
    OPEN.write(CONFINED);
    cmd::ok("systemctl daemon-reload");
    for beacon in [&SEALED, &OPEN] {
        cmd::ok(&format!("systemctl start {}", beacon.name));
        beacon.await_life(1);
        let count = beacon.arrived();
        checks.that(
            count >= 4,
            &format!("control: {} is heard", beacon.name),
            &format!("{count} packets"),
        );
        cmd::ok(&format!("systemctl enable --quiet {}", beacon.name));
    }
    cmd::ok("systemctl stop beacon");
    let before = SEALED.arrived();
    let unseen = airgap("attach -d --unit beacon");
    checks.that(
        unseen.code == 1 && unseen.stderr.contains("user-namespaces"),
        "stopped, it is judged by its settings",
        &said(&unseen),
    );
    let sealed = airgap("attach -d --accept user-namespaces --unit beacon");
    checks.that(is_sealed(&sealed), "stopped, it is sealed", &said(&sealed));
    let lives = SEALED.lives();
    for life in 1..=RESTARTS {
        cmd::ok("systemctl restart beacon");
        SEALED.await_life(lives + life);
    }
    let (ran, count) = (SEALED.lives() - lives, SEALED.arrived() - before);
    checks.that(
        ran == RESTARTS && count == 0,
        "restarts, each sending first",
        &format!("{ran} by its own log, {count} packets"),
    );
    let told = status("unit:beacon.service");
    let refused = told["denials"]["total"].as_u64().unwrap_or(0);
    checks.that(
        refused >= 4 * RESTARTS as u64 && told["problems"] == serde_json::json!([]),
        "denials that the gate counted",
        &format!("{refused}, {}", told["state"]),
    );
    airgap("detach unit:beacon");
    let pid = show("beacon", "MainPID");
    let again = airgap("attach -d --harden --unit beacon");
    checks.that(
        is_sealed(&again)
            && again.stderr.contains("lacks nothing")
            && show("beacon", "MainPID") == pid,
        "one that is confined already is not restarted",
        &said(&again),
    );
    let bound = fs::exists("/etc/systemd/system/beacon.service.d/airgap.conf");
    checks.that(
        bound.unwrap_or(false),
        "and waits for the restore all the same",
        "",
    );
    let alias = cmd::run(AIRGAP, &["status", "--json", "unit:beacon-too"]);
    checks.that(
        is_sealed(&alias) && alias.stdout.contains("unit:beacon.service"),
        "its alias is known",
        &said(&alias),
    );
    let (before, lives) = (OPEN.arrived(), OPEN.lives());
    cmd::ok("systemctl restart bystander");
    OPEN.await_life(lives + 1);
    let count = OPEN.arrived() - before;
    checks.that(
        count >= 4,
        "the bystander in its slice is not affected",
        &format!("{count} packets"),
    );
}

/// A unit that is moved to another slice is not where it is sealed, and `status` says so.
fn moves(checks: &Checks) {
    let settings = |slice: &str| {
        let text =
            format!("[Service]\nType=exec\nExecStart=/bin/sleep 100000\nSlice={slice}\n{CONFINED}");
        write_unit("mover.service", &text);
        cmd::ok("systemctl daemon-reload");
    };
    settings("one-two.slice");
    cmd::ok("systemctl start mover");
    let sealed = airgap("attach -d --accept user-namespaces --unit mover");
    checks.that(
        is_sealed(&sealed),
        "a unit of a slice in a slice",
        &said(&sealed),
    );
    settings("other.slice");
    let again = airgap("attach -d --unit mover");
    checks.that(
        again.code == 1 && again.stderr.contains("restart it first"),
        "its next start will be elsewhere: told",
        &said(&again),
    );
    cmd::ok("systemctl restart mover");
    let out = cmd::run(AIRGAP, &["status", "unit:mover.service"]);
    checks.that(
        out.code == 3 && out.stdout.contains("/other.slice/mover.service"),
        "moved, it is not called sealed",
        &format!("exit {}", out.code),
    );
    airgap("detach unit:mover");
    cmd::ok("systemctl stop mover");
}

/// What does not run as another user runs as before, unsealed.
fn comes_back(checks: &Checks) {
    write_unit(
        "stubborn.service",
        "[Service]\nType=exec\nExecStart=/bin/sh -c 'test $$(id -u) = 0 && exec sleep 100000'\n",
    );
    cmd::ok("systemctl daemon-reload");
    cmd::ok("systemctl start stubborn");
    let refused = airgap("attach -d --harden --unit stubborn");
    let active = show("stubborn", "ActiveState");
    let gone = !fs::exists("/etc/systemd/system/stubborn.service.d").unwrap_or(true);
    let list = airgap("list").stdout.contains("stubborn");
    checks.that(
        refused.code == 1 && active == "active" && gone && !list,
        "what fails under its drop-in runs as before",
        &format!("{}; {active}", said(&refused)),
    );
    cmd::ok("systemctl stop stubborn");
}

/// All that one user runs, by the user's own systemd: a firewall for a uid.
fn users(checks: &Checks) {
    let units = "/home/person/.config/systemd/user";
    let wanted = format!("{units}/default.target.wants");
    fs::create_dir_all(&wanted).expect("a directory");
    let text = format!(
        "[Service]\nExecStart=/opt/airgap-probe knock udp4 --v4 {OUTSIDE4} --v6 {OUTSIDE6} \
         --port {KNOCKS}\nStandardOutput=null\n"
    );
    let unit = format!("{units}/sender.service");
    fs::write(&unit, text).expect("write a unit");
    cmd::ok(&format!("ln -s {unit} {wanted}/sender.service"));
    cmd::ok("chown -R person:person /home/person");
    cmd::ok("systemctl restart user@1000.service");
    let heard = wait::within(PATIENCE, || (arrived(KNOCKS) > 0).then_some(()));
    checks.that(heard.is_some(), "control: a user's unit is heard", "");
    let sealed = airgap(
        "attach -d --accept device --accept new-privileges --accept user-namespaces --slice user-1000",
    );
    checks.that(is_sealed(&sealed), "a user's slice", &said(&sealed));
    let before = arrived(KNOCKS);
    let total = || status("unit:user-1000.slice")["denials"]["total"].as_u64();
    let first = total().unwrap_or(0);
    let more = wait::within(PATIENCE, || total().filter(|now| *now > first + 10));
    let count = arrived(KNOCKS) - before;
    checks.that(
        more.is_some() && count == 0,
        "a user's unit tries, and is not heard",
        &format!("{count} packets, {} denials", more.unwrap_or(0)),
    );
    let inner = airgap("attach -d --unit sender");
    checks.that(
        inner.code == 2 && inner.stderr.contains("airgap attach --slice user-1000"),
        "a user's unit: refused, with the way",
        &said(&inner),
    );
    let lifted = airgap("detach unit:user-1000");
    checks.that(lifted.code == 0, "a slice's short name", &said(&lifted));
    cmd::ok("systemctl stop user@1000.service");
}

/// Nobody has done anything since the machine came up.
fn after_reboot(checks: &Checks) {
    let lives = SEALED.lives();
    SEALED.await_life(lives.max(RESTARTS + 2));
    OPEN.await_life(3);
    let count = SEALED.arrived();
    checks.that(
        count == 0,
        "after a reboot: packets of what sends first",
        &format!("{count}, {} lives by its own log", SEALED.lives()),
    );
    let count = OPEN.arrived();
    checks.that(
        count >= 4,
        "control: the bystander is heard",
        &format!("{count} packets"),
    );
    let restored = show("airgap-restore", "ActiveState");
    checks.that(restored == "active", "airgap-restore", &restored);
    web::is_shut(checks, "after a reboot: nginx as sealed");
    let told = status("unit:nginx.service");
    checks.that(
        told["problems"] == serde_json::json!([]),
        "airgap status",
        &format!("{} {}", told["state"], told["summary"]),
    );
    let list = airgap("list");
    let all = [
        "unit:nginx.service",
        "unit:beacon.service",
        "unit:escape.service",
    ];
    checks.that(
        all.iter().all(|name| list.stdout.contains(name)),
        "airgap list",
        &said(&list),
    );
    web::detached(checks);
}
