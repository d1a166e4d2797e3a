//! What happens after each start of the machine. How far it has come is on its disk.

use crate::twins::{self, OPEN, SEALED};
use airgap_tests::beacon::is_refused;
use airgap_tests::cmd::{self, Output};
use airgap_tests::drill::check::{self, Checks};
use airgap_tests::drill::place::HOST4;
use airgap_tests::drill::sink;
use airgap_tests::{SERVICE_PORT, http, netns::Netns};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const AIRGAP: &str = "/usr/local/sbin/airgap";
/// Number of the boot that is next, and the id of the last one.
const STAGE: &str = "/var/lib/airgap-reboot";

/// Restarts after which the state is asked for.
const RESTARTS: usize = 5;

type Boot = fn(&Checks);
const BOOTS: [Boot; 3] = [seal, after_reboot, after_damage];

/// Runs the checks of this boot; then the machine starts again, or goes off after the last one or
/// a failure.
pub(crate) fn run() {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the boot's id");
    let stage = fs::read_to_string(STAGE).unwrap_or_default();
    let (number, last_id) = stage.split_once(' ').unwrap_or(("0", ""));
    let number: usize = number.parse().expect("a boot's number");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    println!("guest: begin {}", release.trim());
    println!("boot: {}", number + 1);
    let checks = Checks::default();
    checks.that(id != last_id, "another boot than the last", id.trim());
    // Fallen over halfway, it would find itself here again.
    fs::write(STAGE, format!("{number} {id}")).expect("write the stage");
    BOOTS[number](&checks);
    let next = number + 1;
    if checks.are_good() && next < BOOTS.len() {
        fs::write(STAGE, format!("{next} {id}")).expect("write the stage");
        cmd::ok("systemctl reboot");
        return;
    }
    if !checks.are_good() {
        check::show_journal(&["airgap-restore", "docker", "airgap-sink", "airgap-reboot"]);
    }
    println!("guest: exit {}", u8::from(!checks.are_good()));
    cmd::ok("systemctl poweroff --force --force");
}

/// Install, seal one of two containers before its first instruction, start both.
fn seal(checks: &Checks) {
    cmd::ok(&format!("install -D -m 755 /opt/airgap {AIRGAP}"));
    twins::prepare();
    SEALED.create("--publish 5060:5060");
    OPEN.create("--publish 5061:5060");
    let installed = airgap(&["install", "--yes"]);
    checks.that(installed.code == 0, "airgap install", &said(&installed));
    let sealed = airgap(&["attach", "-d", SEALED.name]);
    checks.that(is_sealed(&sealed), "airgap attach", &said(&sealed));
    for twin in [&SEALED, &OPEN] {
        cmd::ok(&format!("docker start {}", twin.name));
    }
    judge(checks, 1, 1);
    served(checks, true);
    restarts(checks);
}

/// Nobody attaches again, and nobody watches: what guards the new veths is udev's doing.
fn restarts(checks: &Checks) {
    for life in 2..2 + RESTARTS {
        cmd::ok(&format!("docker restart {}", SEALED.name));
        let refused = SEALED.attempts(life);
        let refused = refused.iter().all(|a| a["outcome"] == "refused");
        let status = airgap(&["status", "--json", SEALED.name]);
        let told: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        checks.that(
            refused && status.code == 0 && told["state"] == "sealed",
            "as sealed after a restart",
            &format!("exit {}, {}", status.code, told["state"]),
        );
    }
    served(checks, true);
    let doctor = cmd::run(AIRGAP, &["doctor"]);
    let veths = doctor.stdout.lines().find(|l| l.contains("new veths"));
    let figure = veths.unwrap_or_default().trim();
    let guarded = figure.split_once("so far ").map(|(_, rest)| rest);
    let guarded = guarded.and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    let all = guarded.is_some_and(|guarded| guarded > RESTARTS);
    checks.that(
        all && figure.contains(", 0 of them"),
        "airgap doctor",
        figure,
    );
}

/// Nobody has done anything since the machine came up.
fn after_reboot(checks: &Checks) {
    judge(checks, 2 + RESTARTS, 2);
    let [restored, engine] = [
        ("airgap-restore", "ExecMainExitTimestampMonotonic"),
        ("docker", "ExecMainStartTimestampMonotonic"),
    ]
    .map(|(unit, property)| show(unit, property).parse::<u64>().unwrap_or(0));
    checks.that(
        0 < restored && restored < engine,
        "restored before the engine started",
        &format!("{} ms before", engine.saturating_sub(restored) / 1000),
    );
    served(checks, true);

    let record = record();
    let whole = fs::read(&record).expect("the record");
    fs::write(&record, &whole[..whole.len() / 2]).expect("damage the record");
}

/// The record of the sealed container is cut in half: no container may start, until somebody has
/// said what is to be.
fn after_damage(checks: &Checks) {
    for (unit, wanted) in [("airgap-restore", "failed"), ("docker", "inactive")] {
        let state = show(unit, "ActiveState");
        checks.that(state == wanted, &format!("{unit} is {wanted}"), &state);
    }
    let asked = cmd::attempt("systemctl start docker");
    checks.that(
        asked.code != 0,
        "the engine cannot be started",
        &said(&asked),
    );
    let running = fs::read_dir("/sys/fs/cgroup/system.slice").expect("cgroups");
    let scopes = running.flatten().map(|entry| entry.file_name());
    let containers = scopes
        .filter(|name| name.to_string_lossy().starts_with("docker-"))
        .count();
    checks.that(
        containers == 0,
        "no container runs",
        &containers.to_string(),
    );
    let arrived = sink::arrivals().len();
    checks.that(arrived == 0, "packets outside", &arrived.to_string());

    let mended = airgap(&["restore", "--close-unreadable"]);
    checks.that(
        mended.code == 0,
        "airgap restore --close-unreadable",
        &said(&mended),
    );
    let started = cmd::attempt("systemctl start docker");
    checks.that(
        started.code == 0,
        "the engine starts again",
        &said(&started),
    );
    judge(checks, 3 + RESTARTS, 3);
    served(checks, false);
    let port = SERVICE_PORT.to_string();
    let again = airgap(&["attach", "-d", "-p", &port, SEALED.name]);
    checks.that(is_sealed(&again), "airgap attach -p", &said(&again));
    served(checks, true);
}

/// Both containers have tried every way out; only the open one's packets are outside.
/// Each has had so many lives.
fn judge(checks: &Checks, sealed: usize, open: usize) {
    let attempts = SEALED.attempts(sealed);
    let refused = attempts
        .iter()
        .filter(|a| is_refused(a["technique"].as_str().unwrap_or(""), Some(a)))
        .count();
    checks.that(
        refused == attempts.len() && refused > 0,
        "every attempt refused, from the first on",
        &format!("{refused} of {}", attempts.len()),
    );
    OPEN.attempts(open);
    let arrivals = sink::arrivals();
    let heard = |address: &str, protocol: u8| {
        let is_it = |a: &sink::Arrival| a.source == address && a.protocol == protocol;
        arrivals.iter().any(is_it)
    };
    let [udp, tcp] = [17, 6].map(|protocol| heard(OPEN.v4, protocol) && heard(OPEN.v6, protocol));
    let others = arrivals
        .iter()
        .filter(|a| a.source != OPEN.v4 && a.source != OPEN.v6);
    let others: Vec<_> = others.map(|a| a.source.as_str()).collect();
    checks.that(
        udp && tcp,
        "control: the open twin's UDP and TCP arrive",
        &format!("{} packets", arrivals.len() - others.len()),
    );
    checks.that(
        others.is_empty(),
        "packets of the sealed container outside",
        &format!("{} {}", others.len(), others.join(" ")),
    );
    let status = airgap(&["status", "--json", SEALED.name]);
    let told: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    let open: Vec<_> = told["coverage"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|vector| vector["covered"] == false)
        .filter_map(|vector| vector["vector"].as_str())
        .collect();
    checks.that(
        status.code == 0 && told["state"] == "sealed" && open.is_empty(),
        "airgap status",
        &format!("{}; open: {}", told["state"], open.join(", ")),
    );
    let counted = told["denials"]["total"].as_u64().unwrap_or(0);
    checks.that(
        counted >= refused as u64,
        "denials that the gate counted",
        &counted.to_string(),
    );
}

/// A client outside asks for the sealed container's service.
fn served(checks: &Checks, wanted: bool) {
    let address: SocketAddr = format!("{HOST4}:{SERVICE_PORT}")
        .parse()
        .expect("an address");
    let answer = Netns::named(sink::NAME).run(|| http::get(address, "/alive"));
    let what = if wanted {
        "the service answers"
    } else {
        "its port is shut"
    };
    let figure = match &answer {
        Ok(body) => format!("{} bytes", body.len()),
        Err(error) => format!("{error:#}"),
    };
    checks.that(answer.is_ok() == wanted, what, &figure);
}

/// Exit 4 is as good as 0: which vectors are open is checked by name.
fn is_sealed(out: &Output) -> bool {
    matches!(out.code, 0 | 4)
}

/// What it said is printed where it does not end well.
fn airgap(args: &[&str]) -> Output {
    let out = cmd::run(AIRGAP, args);
    if !is_sealed(&out) {
        println!("{}", out.describe());
    }
    out
}

/// The exit status, and why it is one if it is.
fn said(out: &Output) -> String {
    let line = out
        .stderr
        .lines()
        .find(|line| line.contains("error") || out.code != 0);
    format!("exit {} {}", out.code, line.unwrap_or_default())
}

fn show(unit: &str, property: &str) -> String {
    cmd::ok(&format!(
        "systemctl show --value --property {property} {unit}.service"
    ))
}

fn record() -> PathBuf {
    let id = SEALED.inspect("{{.Id}}").expect_code(0).stdout;
    Path::new("/var/lib/airgap/seals").join(format!("{}.json", id.trim()))
}
