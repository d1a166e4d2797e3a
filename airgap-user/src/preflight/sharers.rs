//! Who else lives in a network namespace.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Processes outside the cgroups `own` in these network namespaces, by command.
pub(super) fn sharers(networks: &HashSet<u64>, own: &[String]) -> Vec<String> {
    let processes: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    // Afterwards: a number may have been a process' before, not since.
    let threads = kernel_threads();
    let mut found = BTreeMap::new();
    for entry in processes {
        let dir = entry.path();
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        if pid.is_none_or(|pid| threads.contains(&pid))
            || !network_of(&dir).is_some_and(|inode| networks.contains(&inode))
        {
            continue;
        }
        let Some(path) = v2_path(&dir) else { continue };
        let inside = |own: &String| path == *own || path.starts_with(&format!("{own}/"));
        if !own.iter().any(inside) {
            let comm = fs::read(dir.join("comm")).unwrap_or_default();
            let comm = String::from_utf8_lossy(&comm).trim().to_owned();
            found.entry(path).or_insert(comm);
        }
    }
    found
        .into_iter()
        .map(|(path, comm)| format!("'{comm}' of the cgroup {path} shares its network namespace"))
        .collect()
}

/// Inode of a process' network namespace; of a live thread's, where the first has ended.
fn network_of(dir: &Path) -> Option<u64> {
    let inode = |dir: &Path| {
        fs::metadata(dir.join("ns/net"))
            .map(|about| about.ino())
            .ok()
    };
    inode(dir).or_else(|| {
        // Kernel threads and zombies without threads end here at once.
        let threads = fs::read_dir(dir.join("task")).ok()?.flatten();
        threads.take(64).find_map(|thread| inode(&thread.path()))
    })
}

/// Children of kthreadd, by number: kernel threads, all of them in the host's
/// network namespace, and helpers that the kernel starts there for the host's root
/// (`core_pattern`). On an idle host they are most of `/proc`. None where the kernel
/// does not say (`CONFIG_PROC_CHILDREN`).
fn kernel_threads() -> HashSet<u32> {
    // Within a pid namespace of our own, process 2 may be anybody's.
    let stat = fs::read_to_string("/proc/2/stat").unwrap_or_default();
    if !is_kernel_thread(&stat) {
        return HashSet::new();
    }
    let text = fs::read_to_string("/proc/2/task/2/children").unwrap_or_default();
    let numbers = text.split_ascii_whitespace();
    numbers.filter_map(|pid| pid.parse().ok()).collect()
}

/// Of a `/proc/PID/stat` file (proc_pid_stat(5)); the name in it may be anything.
fn is_kernel_thread(stat: &str) -> bool {
    /// `PF_KTHREAD` (include/linux/sched.h).
    const KERNEL_THREAD: u32 = 0x0020_0000;
    let flags = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(6)?.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

fn v2_path(proc: &Path) -> Option<String> {
    let text = fs::read(proc.join("cgroup")).ok()?;
    String::from_utf8_lossy(&text)
        .lines()
        .find_map(|l| l.strip_prefix("0::").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_kernel_threads() {
        let stat = |comm: &str, flags: u32| format!("2 ({comm}) S 0 0 0 0 -1 {flags} 0 0");
        assert!(is_kernel_thread(&stat("kthreadd", 2_129_984)));
        assert!(!is_kernel_thread(&stat("kthreadd", 4_194_560)));
        assert!(!is_kernel_thread(&stat(
            "x) S 0 0 0 0 -1 2129984",
            4_194_560
        )));
        assert!(!is_kernel_thread(""));
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert!(!is_kernel_thread(&own));
        assert!(!kernel_threads().contains(&std::process::id()));
    }
}
