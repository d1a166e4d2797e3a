//! What airgap could leave in the kernel, for comparing before and after.

use crate::{cmd, wait};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// Everything pinned in the BPF file system, every BPF link and every namespace, one line each.
///
/// # Panics
/// When bpftool or ip fail.
#[must_use]
#[track_caller]
pub fn kernel_state() -> BTreeSet<String> {
    let mut state = BTreeSet::new();
    walk(Path::new("/sys/fs/bpf"), &mut state);
    for line in cmd::ok("bpftool link show").lines() {
        state.insert(format!("link {}", line.trim()));
    }
    for line in cmd::ok("bpftool prog show")
        .lines()
        .filter(|l| !l.starts_with(['\t', ' ']))
    {
        // Only what can act on a container; Docker loads device programs of its own on v2 hosts.
        if !line.contains("cgroup_device") {
            // Where the kernel keeps statistics, they change with every run.
            let what = line.split(" run_time_ns ").next().unwrap_or(line);
            state.insert(format!("prog {what}"));
        }
    }
    for line in cmd::ok("ip netns list").lines() {
        state.insert(format!("netns {line}"));
    }
    state
}

/// The errno with which `connect` and `sendmsg` are refused under a seal, but on loopback, as
/// long as nobody asked for another.
///
/// # Panics
/// When the kernel has no version.
pub fn refused() -> i32 {
    static ERRNO: OnceLock<i32> = OnceLock::new();
    *ERRNO.get_or_init(|| match has_set_retval() {
        true => libc::ENETUNREACH,
        false => libc::EPERM,
    })
}

/// Whether a refusal can have an errno of its own here: from Linux 5.18.
///
/// # Panics
/// When the kernel has no version.
pub fn has_set_retval() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a version");
    let mut numbers = release
        .split(['.', '-'])
        .map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next(), numbers.next());
    version >= (Some(5), Some(18))
}

/// # Panics
/// When the two states differ; shows how.
#[track_caller]
pub fn assert_same(before: &BTreeSet<String>, after: &BTreeSet<String>, when: &str) {
    let left: Vec<_> = after.difference(before).collect();
    let gone: Vec<_> = before.difference(after).collect();
    assert!(
        left.is_empty() && gone.is_empty(),
        "{when}: new {left:#?}, gone {gone:#?}"
    );
}

/// As [`assert_same`] with the state now; what has been detached is freed a moment later.
///
/// # Panics
/// When it does not come back to `before`.
#[track_caller]
pub fn assert_comes_back(before: &BTreeSet<String>, when: &str) {
    if wait::within(wait::SOON, || (kernel_state() == *before).then_some(())).is_none() {
        assert_same(before, &kernel_state(), when);
    }
}

fn walk(dir: &Path, found: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        found.insert(format!("pin {}", path.display()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, found);
        }
    }
}
