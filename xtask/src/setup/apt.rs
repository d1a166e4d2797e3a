//! Debian packages, looked for by the program they bring.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::{docker, say};
use crate::command;
use crate::debian::KEYRING;

/// Program and the package that brings it.
const TOOLS: [(&str, &str); 20] = [
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("debootstrap", "debootstrap"),
    ("bpftool", "bpftool"),
    ("modprobe", "kmod"),
    ("curl", "curl"),
    ("python3", "python3"),
    ("strace", "strace"),
    // A terminal for the tests of `airgap top`.
    ("tmux", "tmux"),
    // A second engine behind Docker's API, and what it needs to run. 80 MB on the disk.
    ("podman", "podman"),
    // What holds the network of a pod.
    ("catatonit", "catatonit"),
    ("docker-compose", "docker-compose"),
    // Has a resolver of its own, which the tests of names ask. 450 MB on the disk.
    ("go", "golang-go"),
    // Services over UDP, which are sealed in the tests: SIP with media, DNS.
    ("sipp", "sip-tester"),
    ("dnsmasq", "dnsmasq-base"),
    // What exceptions lead to in the tests: a database, TLS.
    ("psql", "postgresql"),
    ("openssl", "openssl"),
    // Whose completions are tried.
    ("zsh", "zsh"),
    ("fish", "fish"),
    // Renders the report in its test. 400 MB on the disk.
    ("chromium", CHROMIUM),
];

/// Ubuntu has it as a snap only, which needs systemd: not installed there.
const CHROMIUM: &str = "chromium";

/// File and the package that brings it, where there is no program to look for.
const FILES: [(&str, &str); 3] = [
    ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates"),
    (KEYRING, "debian-archive-keyring"),
    // Networks of pods.
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
];

/// Installs the missing packages; asks the package index only when some are.
pub(super) fn install() -> Result<()> {
    let mut missing = Vec::new();
    for (program, package) in TOOLS {
        match find(program) {
            Some(path) => say("found", &path.display().to_string()),
            None => missing.push(package),
        }
    }
    match find("busybox").filter(|path| is_static(path)) {
        Some(path) => say("found", &format!("{} (static)", path.display())),
        None => missing.push("busybox-static"),
    }
    for (file, package) in FILES {
        match Path::new(file).exists() {
            true => say("found", file),
            false => missing.push(package),
        }
    }
    let engine = docker::answer().is_none() && find("dockerd").is_none();
    if engine {
        missing.push("docker.io");
    }
    let client = find("docker").is_none();
    if missing.is_empty() && !client {
        return Ok(());
    }
    update(&format!("docker {}", missing.join(" ")))?;
    if client {
        // Debian 13 split the client off; before, docker.io is both.
        let split = candidate("docker-cli");
        missing.push(if split { "docker-cli" } else { "docker.io" });
    }
    if !candidate("bpftool") {
        // Ubuntu up to 24.04 has it in the tools of its kernel.
        for package in &mut missing {
            if *package == "bpftool" {
                *package = "linux-tools-generic";
            }
        }
    }
    if missing.contains(&CHROMIUM) && !candidate(CHROMIUM) {
        say(
            "missing",
            "chromium, which is no package here: its test cannot pass",
        );
        missing.retain(|package| *package != CHROMIUM);
    }
    missing.sort_unstable();
    missing.dedup();
    get(&missing)
}

/// Refreshes the package index; `missing` is what for, in words.
///
/// # Errors
/// Where there is no apt-get, or no index.
pub(crate) fn update(missing: &str) -> Result<()> {
    if find("apt-get").is_none() {
        bail!("this machine has no apt-get\nhint: install by hand: {missing}");
    }
    command::output(Command::new("apt-get").args(["update", "--quiet", "--quiet"])).map(drop)
}

/// Installs packages from the index as it is.
///
/// # Errors
/// When apt-get fails; its output is in the message.
pub(crate) fn get(missing: &[&str]) -> Result<()> {
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--quiet", "--quiet"])
        .arg("--no-install-recommends")
        .args(missing)
        .env("DEBIAN_FRONTEND", "noninteractive");
    say("get", &missing.join(" "));
    // Shown only if it fails: it is hundreds of lines.
    command::output(&mut install)?;
    for package in missing {
        say("installed", package);
    }
    Ok(())
}

/// The program's path; the administrator's folders count even where `PATH` lacks them.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Whether the index has an installable version.
fn candidate(package: &str) -> bool {
    command::output(Command::new("apt-cache").args(["policy", package])).is_ok_and(|policy| {
        policy
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Candidate: "))
            .any(|version| version != "(none)")
    })
}

/// A dynamic program names its interpreter, which no file inside a test image provides.
pub(crate) fn is_static(program: &Path) -> bool {
    let interpreter = b"/ld-linux";
    fs::read(program).is_ok_and(|bytes| !bytes.windows(interpreter.len()).any(|w| w == interpreter))
}
