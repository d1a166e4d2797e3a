//! Who else lives in a container's namespaces.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::engine_thread::is_engine_elsewhere;
use crate::{container::Cgroup, host::clock::start_ticks};

/// Namespaces, by inode.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    pub(super) network: HashSet<u64>,
    pub(super) ipc: HashSet<u64>,
    pub(super) pid: HashSet<u64>,
}

/// Processes of others in them, in words.
#[derive(Debug, Default)]
pub(super) struct Sharers {
    /// Abstract names of unix sockets are theirs, too.
    pub(super) network: Vec<String>,
    /// What engines mount at /dev/shm is theirs, too.
    pub(super) ipc: Vec<String>,
    /// The container can trace them, and open what they have.
    pub(super) pid: Vec<String>,
}

/// Looks at most, and the time between two.
const LOOKS: usize = 4;
const PAUSE: Duration = Duration::from_millis(40);

/// Processes outside the cgroups `own` in these namespaces, or below the pid namespaces
/// among them, by command. Runtimes put what they start in a container into its namespaces
/// first, and then into its cgroup (`docker exec`, health checks): who is there for one look
/// alone is no sharer, unless there is another one in each.
pub(super) fn sharers(namespaces: &Namespaces, own: &[String]) -> Sharers {
    let mut before = HashSet::new();
    for _ in 1..LOOKS {
        let (found, processes) = look(namespaces, own);
        if processes.is_empty() || processes.iter().any(|process| before.contains(process)) {
            return found;
        }
        before = processes;
        thread::sleep(PAUSE);
    }
    look(namespaces, own).0
}

/// Processes outside a cgroup in a network namespace, in words.
pub fn others_in(network: u64, own: &Cgroup) -> Vec<String> {
    let namespaces = Namespaces {
        network: HashSet::from([network]),
        ..Namespaces::default()
    };
    sharers(&namespaces, &[own_part(own)]).network
}

/// One look; also who was found, by number and start.
fn look(namespaces: &Namespaces, own: &[String]) -> (Sharers, HashSet<(u32, u64)>) {
    let processes: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    // Afterwards: a number may have been a process' before, not since.
    let threads = kernel_threads();
    let mut found = [const { BTreeMap::new() }; 3];
    let mut below = HashMap::new();
    let mut who = HashSet::new();
    for entry in processes {
        let dir = entry.path();
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let Some(pid) = pid.filter(|pid| !threads.contains(pid)) else {
            continue;
        };
        let Some(task) = live_task(&dir) else {
            continue;
        };
        let inode = |kind: &str| fs::metadata(task.join(kind)).map(|about| about.ino()).ok();
        let among = |kind, known: &HashSet<u64>| inode(kind).is_some_and(|i| known.contains(&i));
        let pid_too = inode("ns/pid").is_some_and(|inode| {
            *below
                .entry(inode)
                .or_insert_with(|| is_below(&task.join("ns/pid"), &namespaces.pid))
        });
        let shared = [
            among("ns/net", &namespaces.network) && !is_engine_elsewhere(&dir),
            among("ns/ipc", &namespaces.ipc),
            pid_too,
        ];
        if shared == [false; 3] {
            continue;
        }
        let Some(path) = v2_path(&dir) else { continue };
        let inside = |own: &String| path == *own || path.starts_with(&format!("{own}/"));
        if own.iter().any(inside) {
            continue;
        }
        who.insert((pid, start_ticks(&pid.to_string())));
        let comm = fs::read(dir.join("comm")).unwrap_or_default();
        let comm = String::from_utf8_lossy(&comm).trim().to_owned();
        for (found, _) in found.iter_mut().zip(shared).filter(|(_, shared)| *shared) {
            found.entry(path.clone()).or_insert_with(|| comm.clone());
        }
    }
    let told = |found: BTreeMap<String, String>, what: &str| {
        let found = found.into_iter();
        found
            .map(|(path, comm)| format!("'{comm}' of the cgroup {path} {what}"))
            .collect()
    };
    let [network, ipc, pid] = found;
    let sharers = Sharers {
        network: told(network, "shares its network namespace"),
        ipc: told(ipc, "shares its IPC namespace (/dev/shm)"),
        pid: told(pid, "is in its pid namespace, where it can act upon it"),
    };
    (sharers, who)
}

/// The process' directory, or a live thread's, where the first has ended.
fn live_task(dir: &Path) -> Option<PathBuf> {
    let lives = |dir: &Path| fs::metadata(dir.join("ns/net")).is_ok();
    if lives(dir) {
        return Some(dir.to_owned());
    }
    // Kernel threads and zombies without threads end here at once.
    let threads = fs::read_dir(dir.join("task")).ok()?.flatten();
    let mut threads = threads.take(64).map(|thread| thread.path());
    threads.find(|thread| lives(thread))
}

/// Whether a pid namespace is one of these or below one (ioctl_ns(2)): who is in one sees
/// all below.
fn is_below(path: &Path, known: &HashSet<u64>) -> bool {
    /// `NS_GET_PARENT` (linux/nsfs.h); Linux 4.9.
    const NS_GET_PARENT: libc::c_ulong = 0xb702;
    /// Pid namespaces are so deep at most (pid_namespaces(7)).
    const DEPTH: usize = 32;
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut namespace = OwnedFd::from(file);
    for _ in 0..=DEPTH {
        let Ok(file) = namespace.try_clone().map(File::from) else {
            return false;
        };
        if file
            .metadata()
            .is_ok_and(|about| known.contains(&about.ino()))
        {
            return true;
        }
        // SAFETY: an open descriptor, and no memory.
        let parent = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT as _) };
        if parent < 0 {
            // Above is none, or none that airgap may see: it is in no container's.
            return false;
        }
        // SAFETY: just opened, and nobody else has it.
        namespace = unsafe { OwnedFd::from_raw_fd(parent) };
    }
    false
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

/// The part of a cgroup's path that names it.
pub(super) fn own_part(cgroup: &Cgroup) -> String {
    let parts: Vec<_> = cgroup
        .path
        .components()
        .rev()
        .take(cgroup.level as usize)
        .collect();
    parts.iter().rev().fold(String::new(), |p, c| {
        p + "/" + &c.as_os_str().to_string_lossy()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_namespace_is_below_itself() {
        let own = Path::new("/proc/self/ns/pid");
        let inode = fs::metadata(own).unwrap().ino();
        assert!(is_below(own, &HashSet::from([inode])));
        assert!(!is_below(own, &HashSet::from([inode + 1])));
        assert!(!is_below(Path::new("/nowhere"), &HashSet::from([inode])));
    }

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
