//! Faults at chosen system calls of the product, injected by strace(1).

use crate::airgap::STATE;
use crate::cmd::{self, Output};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// System calls that change the kernel's or the disk's state, or prepare it.
const CALLS: &str = "bpf,rename,unlink,fsync,mkdir,write,setsockopt,sendto";

/// The n-th call of that name.
#[derive(Debug, Clone)]
pub struct Point {
    pub call: String,
    pub number: usize,
}

/// Every point of a run of `binary ARGS…`, which must succeed.
///
/// # Panics
/// When strace cannot be run, or the run fails.
#[must_use]
pub fn points(binary: &Path, args: &[&str]) -> Vec<Point> {
    let log = PathBuf::from(format!("/run/airgap-test-strace-{}", std::process::id()));
    let out = cmd::run_command(&mut strace(binary, args, &["-o", &log.to_string_lossy()]));
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    let text = fs::read_to_string(&log).expect("strace's log");
    drop(fs::remove_file(&log));
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        // `PID  call(…`
        let call = line
            .split_whitespace()
            .nth(1)
            .and_then(|rest| rest.split_once('('));
        if let Some((call, _)) = call {
            *counts.entry(call.to_owned()).or_insert(0_usize) += 1;
        }
    }
    let numbered = |(call, count): (String, usize)| {
        (1..=count).map(move |number| Point {
            call: call.clone(),
            number,
        })
    };
    counts.into_iter().flat_map(numbered).collect()
}

/// At most `AIRGAP_TEST_FAULTS` of them, 8 unless told otherwise, evenly spread; or the one that it
/// names, as `bpf:130`.
///
/// # Panics
/// When that is neither.
#[must_use]
pub fn sample(points: Vec<Point>) -> Vec<Point> {
    let wanted = std::env::var("AIRGAP_TEST_FAULTS").unwrap_or_else(|_| "8".to_owned());
    let number = |n: &str| {
        n.parse::<usize>()
            .unwrap_or_else(|e| panic!("AIRGAP_TEST_FAULTS={wanted}: {e}"))
    };
    if let Some((call, n)) = wanted.split_once(':') {
        let call = call.to_owned();
        return vec![Point {
            call,
            number: number(n),
        }];
    }
    let (all, wanted) = (points.len(), number(&wanted));
    let chosen = (0..wanted.min(all)).map(|i| i * all / wanted.min(all));
    chosen.map(|i| points[i].clone()).collect()
}

/// Runs `binary ARGS…` with a fault at `point`: `signal=KILL` or `error=ENOMEM`.
#[must_use]
pub fn run(binary: &Path, args: &[&str], point: &Point, fault: &str) -> Output {
    let inject = format!("inject={}:{fault}:when={}", point.call, point.number);
    cmd::run_command(&mut strace(
        binary,
        args,
        &["-o", "/dev/null", "-e", &inject],
    ))
}

fn strace(binary: &Path, args: &[&str], options: &[&str]) -> Command {
    let trace = format!("trace={CALLS}");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-e", &trace])
        .args(options)
        .arg("--")
        .arg(binary)
        .args(args)
        .env("AIRGAP_STATE", STATE);
    command
}
