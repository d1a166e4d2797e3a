//! Runs of `airgap verify`, and what they could leave.

use airgap_tests::{Container, Tail, airgap, cmd, kernel_state, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// Its far end in the container.
pub(crate) const DEVICE: &str = "airgap0";

/// Where the gate is pinned.
pub(crate) fn pins(kind: &str) -> String {
    format!("/sys/fs/bpf/airgap/v{}/{kind}", airgap_common::ABI_VERSION)
}

/// The JSON on stdout, with this exit status.
#[track_caller]
pub(crate) fn verify(container: &Container, code: i32) -> Value {
    let out = airgap(&["verify", "--json", &container.name]);
    let proof = serde_json::from_str(&out.stdout);
    let proof = proof.unwrap_or_else(|e| panic!("{e}: {}", out.describe()));
    assert_eq!(out.code, code, "{}", out.describe());
    proof
}

pub(crate) fn list<'a>(proof: &'a Value, name: &str) -> &'a [Value] {
    proof[name].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn technique<'a>(proof: &'a Value, name: &str) -> &'a Value {
    let found = list(proof, "techniques")
        .iter()
        .find(|t| t["technique"] == name);
    found.unwrap_or_else(|| panic!("{name} was not tried: {proof:#}"))
}

/// What a run could leave: links in the container, processes in its cgroup, BPF objects, entries.
pub(crate) fn traces(container: &Container) -> BTreeSet<String> {
    let mut traces = kernel_state();
    let links = format!("nsenter -t {} -n ip -o link show", container.pid());
    let names = cmd::ok(&links);
    let names = names.lines().filter_map(|line| line.split(": ").nth(1));
    traces.extend(names.map(|name| format!("link in the container {name}")));
    let procs = fs::read_to_string(container.cgroup().join("cgroup.procs"));
    traces.extend(
        procs
            .expect("cgroup.procs")
            .lines()
            .map(|pid| format!("process {pid}")),
    );
    let veths = cmd::ok(&format!(
        "bpftool -j map dump pinned {}/VETHS",
        pins("maps")
    ));
    let veths: Value = serde_json::from_str(&veths).expect("bpftool's JSON");
    let keys = veths.as_array().into_iter().flatten();
    traces.extend(keys.map(|entry| format!("guarded {}", entry["key"])));
    traces
}

pub(crate) fn has_device(container: &Container) -> bool {
    let line = format!("nsenter -t {} -n ip link show {DEVICE}", container.pid());
    cmd::attempt(&line).code == 0
}

pub(crate) fn processes(container: &Container) -> usize {
    let procs = container.cgroup().join("cgroup.procs");
    fs::read_to_string(procs).map_or(0, |text| text.lines().count())
}

/// Starts a run and waits until it is in the middle: link, probe and all.
pub(crate) fn start(container: &Container) -> Tail {
    let own = processes(container);
    let run = Tail::start(&["verify", "--json", &container.name]);
    wait::until("the probe is in the container", wait::SOON, || {
        (has_device(container) && processes(container) > own).then_some(())
    });
    run
}

/// Most memory that a process had, KiB.
pub(crate) fn peak(pid: u32) -> Option<u64> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches("kB").trim().parse().ok()
}
