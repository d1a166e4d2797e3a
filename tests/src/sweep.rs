//! Removes what a killed run left behind, and makes runs take turns.

use crate::firewall::TABLE_PREFIX;
use crate::{LABEL, PREFIX, airgap, cmd};
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

static SERIAL: Mutex<()> = Mutex::new(());
static PROCESS_LOCK: OnceLock<File> = OnceLock::new();

/// One test's turn: the tests share the kernel's one gate, so they never run side by side.
#[derive(Debug)]
pub struct Turn {
    _guard: MutexGuard<'static, ()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(airgap::STATE);
    }
}

/// Checks what every proof needs, waits for the turn and sweeps.
///
/// # Panics
/// When a precondition is missing: this is a failure, never a skip.
#[must_use]
#[track_caller]
pub fn take_turn() -> Turn {
    // SAFETY: geteuid takes and touches nothing.
    let user = unsafe { libc::geteuid() };
    assert_eq!(user, 0, "the end-to-end tests need root");
    let docker = cmd::attempt("docker version --format {{.Server.Version}}");
    assert_eq!(
        docker.code,
        0,
        "the end-to-end tests need a Docker daemon\n{}",
        docker.describe()
    );
    let guard = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
    PROCESS_LOCK.get_or_init(lock_processes);
    sweep();
    Turn { _guard: guard }
}

fn lock_processes() -> File {
    let path = "/run/airgap-test.lock";
    let file = File::create(path).unwrap_or_else(|e| panic!("cannot create {path}: {e}"));
    // SAFETY: flock takes an open descriptor and no pointers.
    let rc = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
    assert_eq!(
        rc,
        0,
        "cannot lock {path}: {}",
        std::io::Error::last_os_error()
    );
    file
}

/// Removes everything that carries the harness's label, prefix or device names.
fn sweep() {
    crate::swarm::leave_left();
    for id in ids(&format!("docker ps -aq --no-trunc --filter label={LABEL}")) {
        airgap::detach_quietly(&id);
        cmd::attempt(&format!("docker rm -f {id}"));
    }
    sweep_torn_pins();
    sweep_seals();
    let _ = fs::remove_dir_all(airgap::STATE);
    for id in ids(&format!("docker network ls -q --filter label={LABEL}")) {
        cmd::attempt(&format!("docker network rm {id}"));
    }
    for line in cmd::attempt("ip netns list").stdout.lines() {
        if let Some(name) = line
            .split_whitespace()
            .next()
            .filter(|n| n.starts_with(PREFIX))
        {
            cmd::attempt(&format!("ip netns del {name}"));
        }
    }
    sweep_tables();
    for table in ["iptables", "ip6tables"] {
        for rule in cmd::attempt(&format!("{table} -w -S")).stdout.lines() {
            if rule.contains(" agtb-") || rule.contains(" agto-") || rule.contains(" agtn-") {
                let undo = rule.replacen("-A ", "-D ", 1);
                cmd::attempt(&format!("{table} -w {undo}"));
            }
        }
    }
}

/// A test that found a torn arming, or damaged the gate, must not fail every later one: what the
/// product itself cannot read any more is removed.
fn sweep_torn_pins() {
    let pins = Path::new("/sys/fs/bpf/airgap");
    let Some(binary) = std::env::var_os("AIRGAP_BIN").filter(|_| pins.exists()) else {
        return;
    };
    let mut off = Command::new(&binary);
    drop(
        off.env("AIRGAP_STATE", airgap::STATE)
            .args(["quarantine", "off"])
            .output(),
    );
    let mut list = Command::new(binary);
    let readable = list.env("AIRGAP_STATE", airgap::STATE).arg("list").output();
    let torn = readable.is_ok_and(|out| out.stdout.is_empty());
    let aside = |entry: fs::DirEntry| entry.file_name().to_string_lossy().contains("-aside-");
    let asides = fs::read_dir(pins).into_iter().flatten().flatten();
    if torn || asides.into_iter().any(aside) {
        eprintln!("removing a torn {}", pins.display());
        cmd::attempt(&format!("rm -r {}", pins.display()));
    }
}

/// A left table of the bench's would stop what later tests let through.
fn sweep_tables() {
    // Only the bench brings nft: without it there is no table of its own.
    let Ok(tables) = Command::new("nft").args(["list", "tables"]).output() else {
        return;
    };
    for line in String::from_utf8_lossy(&tables.stdout).lines() {
        // `table inet NAME`
        if line.contains(&format!(" {TABLE_PREFIX}")) {
            cmd::attempt(&format!("nft delete {line}"));
        }
    }
}

/// Seals of containers that are gone, or never were.
fn sweep_seals() {
    if !Path::new("/sys/fs/bpf/airgap").exists() || std::env::var_os("AIRGAP_BIN").is_none() {
        return;
    }
    let listed = airgap(&["list", "--json"]).stdout;
    let list: serde_json::Value = serde_json::from_str(&listed).unwrap_or_default();
    let ours = |seal: &&serde_json::Value| {
        let name = seal["container"]["name"].as_str();
        // A pod's has its namespace before it.
        let name = name.map(|name| name.split_once('/').map_or(name, |(_, pod)| pod));
        name.is_some_and(|name| name.starts_with(PREFIX))
    };
    let seals = list["containers"].as_array().into_iter().flatten();
    let ids: Vec<_> = seals
        .filter(ours)
        .filter_map(|s| s["container"]["id"].as_str())
        .collect();
    for ids in ids.chunks(500) {
        airgap(&[&["detach"], ids].concat());
    }
}

fn ids(line: &str) -> Vec<String> {
    cmd::attempt(line)
        .stdout
        .lines()
        .map(str::to_owned)
        .collect()
}
