//! The processes and threads of a container, also of one in which they come and go all the
//! time. Whoever ends between a list and the look at him may have left a child that has all
//! that he had: so it is listed again until nobody new is there.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use super::{Budget, Cgroup};

/// Lists of processes, or of threads, at most. Each after the first is short: only those
/// are looked at that came since.
const ROUNDS: u32 = 64;

/// The processes in some cgroups, each until it was looked at.
pub(super) struct Rounds<'a> {
    cgroups: &'a [Cgroup],
    seen: HashSet<u32>,
    /// Listed and not handed out yet, the first one last.
    queue: Vec<u32>,
    again: HashSet<u32>,
    left: u32,
    settled: bool,
}

impl<'a> Rounds<'a> {
    /// Of these cgroups and all below them.
    pub(super) fn of(cgroups: &'a [Cgroup]) -> Self {
        Self {
            cgroups,
            seen: HashSet::new(),
            queue: Vec::new(),
            again: HashSet::new(),
            left: ROUNDS,
            settled: false,
        }
    }

    /// The next process to look at.
    pub(super) fn next(&mut self, budget: &mut Budget) -> Option<u32> {
        loop {
            if self.queue.is_empty() && self.left > 0 && !self.settled {
                self.left -= 1;
                let (listed, ended) = processes(self.cgroups, budget);
                self.queue = unseen(&mut self.seen, listed);
                self.settled = self.queue.is_empty() && !ended;
                if self.queue.is_empty() && ended {
                    continue;
                }
            }
            return self.queue.pop();
        }
    }

    /// Has a process looked at once more, if it is listed still.
    pub(super) fn once_more(&mut self, pid: u32) {
        if self.again.insert(pid) {
            self.seen.remove(&pid);
            self.settled = false;
        }
    }

    /// Whether everybody in the last list was looked at.
    pub(super) const fn settled(&self) -> bool {
        self.settled
    }
}

/// Those of a sorted list that were not seen, the first one last. One that is listed no
/// more is forgotten: its number may come back as another's. Pure.
fn unseen(seen: &mut HashSet<u32>, listed: Vec<u32>) -> Vec<u32> {
    seen.retain(|number| listed.binary_search(number).is_ok());
    let new = listed.into_iter().rev();
    new.filter(|number| seen.insert(*number)).collect()
}

/// Hands out each thread of a process, until nobody new is there. `look` says whether to go
/// on. False if they come and go, or the budget is used up, which is named there.
pub(super) fn each_thread(
    pid: u32,
    budget: &mut Budget,
    mut look: impl FnMut(u32, &mut Budget) -> bool,
) -> bool {
    let mut seen = HashSet::new();
    for _ in 0..ROUNDS {
        let mut listed = threads(pid, usize::MAX, budget);
        // The first that lives comes first, whatever its number.
        let first = listed.first().copied();
        listed.sort_unstable();
        let mut new = unseen(&mut seen, listed);
        if new.is_empty() {
            return true;
        }
        if let Some(at) = new.iter().position(|thread| Some(*thread) == first) {
            let first = new.remove(at);
            new.push(first);
        }
        while let Some(thread) = new.pop() {
            if !look(thread, budget) {
                return false;
            }
        }
    }
    false
}

/// Processes in these cgroups and below, each once, by number. A process whose first thread
/// has ended is listed as long as another lives (`cgroup.procs`, cgroup-v2.rst). And
/// whether one ended while it was listed: it may have left another.
pub(super) fn processes(cgroups: &[Cgroup], budget: &mut Budget) -> (Vec<u32>, bool) {
    let mut found = Vec::new();
    let mut dirs: Vec<PathBuf> = cgroups.iter().map(|c| c.path.clone()).collect();
    while let Some(dir) = dirs.pop() {
        if !budget.step_for("some of its cgroups") {
            break;
        }
        // Below a threaded cgroup only threads are listed; the processes are those of
        // the cgroup above.
        let listed = fs::read(dir.join("cgroup.procs")).unwrap_or_default();
        let text = String::from_utf8_lossy(&listed);
        found.extend(text.lines().filter_map(|pid| pid.parse::<u32>().ok()));
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        dirs.extend(
            entries
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                .map(|e| e.path()),
        );
    }
    // 0 stands for one that has ended, or of another pid namespace than airgap's.
    let all = found.len();
    found.retain(|pid| *pid != 0);
    let ended = found.len() < all && sees_all();
    found.sort_unstable();
    found.dedup();
    (found, ended)
}

/// Whether airgap is in the first pid namespace, where each process has a number.
fn sees_all() -> bool {
    /// `PROC_PID_INIT_INO` (linux/proc_ns.h).
    const FIRST: u64 = 0xefff_fffc;
    fs::metadata("/proc/self/ns/pid").is_ok_and(|about| about.ino() == FIRST)
}

/// Threads of a process, the first that live first; at most `most`.
pub(super) fn threads(pid: u32, most: usize, budget: &mut Budget) -> Vec<u32> {
    let mut found = Vec::new();
    let entries = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries {
        if found.len() >= most {
            break;
        }
        let Some(thread) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if !budget.step_for("some threads of its processes") {
            break;
        }
        // One that has ended shows no namespaces.
        if fs::metadata(format!("/proc/{pid}/task/{thread}/ns/net")).is_ok() {
            found.push(thread);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, time::Duration};

    #[test]
    fn hands_out_whoever_is_new() {
        let mut seen = HashSet::new();
        assert_eq!(unseen(&mut seen, vec![1, 2, 7]), [7, 2, 1]);
        assert_eq!(unseen(&mut seen, vec![1, 7, 9]), [9]);
        // It was away: its number may be another's by now.
        assert_eq!(unseen(&mut seen, vec![1, 2, 7, 9]), [2]);
        assert!(unseen(&mut seen, vec![1, 2, 7, 9]).is_empty());
    }

    #[test]
    fn a_list_that_always_changes_is_not_settled() {
        let dir = std::env::temp_dir().join(format!("airgap-rounds-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let cgroups = [Cgroup {
            path: dir.clone(),
            id: 1,
            level: 1,
        }];
        let mut budget = Budget::of(Duration::from_secs(10));
        for changes in [false, true] {
            fs::write(dir.join("cgroup.procs"), "5\n4\n").unwrap();
            let mut rounds = Rounds::of(&cgroups);
            let mut handed = Vec::new();
            while let Some(pid) = rounds.next(&mut budget) {
                handed.push(pid);
                if changes {
                    let next = 100 + handed.len();
                    fs::write(dir.join("cgroup.procs"), format!("{next}\n")).unwrap();
                } else if handed.len() == 1 {
                    rounds.once_more(4);
                    rounds.once_more(4);
                }
            }
            assert_eq!(rounds.settled(), !changes, "{handed:?}");
            if !changes {
                assert_eq!(handed, [4, 5, 4]);
            }
        }
        assert!(budget.skipped().is_empty());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn sees_each_thread() {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            // SAFETY: takes no arguments.
            tell.send(unsafe { libc::gettid() } as u32).unwrap();
            let _ = ended.recv();
        });
        let other_id = told.recv().unwrap();
        let (me, mut found) = (std::process::id(), Vec::new());
        let mut budget = Budget::of(Duration::from_secs(10));
        let settled = each_thread(me, &mut budget, |thread, _| {
            found.push(thread);
            true
        });
        assert!(settled || found.len() > 1);
        assert!(
            found.contains(&me) && found.contains(&other_id),
            "{found:?}"
        );
        assert!(!each_thread(me, &mut budget, |_, _| false));
        drop(end);
        other.join().unwrap();
    }
}
