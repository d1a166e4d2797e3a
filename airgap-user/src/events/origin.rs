//! What /proc says of a process, for as long as it is there, and then the kernel's own note.

use std::{
    collections::HashMap,
    fs,
    io::Read as _,
    sync::mpsc::{self, Receiver, TryRecvError},
    thread,
    time::Duration,
};

use super::Process;
use crate::{gate::Attempts, host::clock::start_ticks};

/// Longest command line that is kept, bytes.
pub const COMMAND_LINE: usize = 256;
/// How many processes are remembered.
const REMEMBERED: usize = 512;

/// Program and arguments of a process, as far as they are known.
type Origin = (Option<String>, Option<String>);

/// Whose origin: process id, start and name, as `exec` changes the name.
type Key = (u32, u64, String);

/// Looks that a process makes last longer are left to themselves: so many at once.
const MOST_LATE: usize = 8;
/// A look may hold up the display so long,
const PATIENCE: Duration = Duration::from_millis(20);
/// and so long while others are late.
const SHORT: Duration = Duration::from_millis(4);

/// Programs and arguments of processes that made attempts.
#[derive(Debug)]
pub struct Origins {
    seen: HashMap<Key, Origin>,
    /// Looks that were not waited for.
    late: Vec<(Key, Receiver<Origin>)>,
    read: fn(u32, u64) -> Origin,
}

impl Default for Origins {
    fn default() -> Self {
        Self::by(origin)
    }
}

impl Origins {
    fn by(read: fn(u32, u64) -> Origin) -> Self {
        Self {
            seen: HashMap::new(),
            late: Vec::new(),
            read,
        }
    }

    /// Adds program and arguments to a process that the kernel named; leaves
    /// them unknown if it has ended, or another has its number now. A process can make
    /// `/proc` wait for it (`mmap_lock`): what does not come in time is unknown, too.
    pub fn complete(&mut self, process: &mut Process) {
        let Some(start) = process.start else { return };
        self.take_late();
        let key = (process.pid, start, process.name.clone());
        if !self.seen.contains_key(&key) {
            self.look(&key);
        }
        if let Some((executable, command_line)) = self.seen.get(&key) {
            process.executable.clone_from(executable);
            process.command_line.clone_from(command_line);
        }
    }

    /// As [`Self::complete`], with the arguments that the kernel has noted for one that has
    /// ended.
    pub fn complete_by(&mut self, process: &mut Process, attempts: &Attempts) {
        self.complete(process);
        if process.command_line.is_none()
            && let Some(start) = process.start
        {
            let noted = attempts.arguments(process.pid, start, process.name.as_bytes());
            process.command_line = noted.and_then(words);
        }
    }

    fn look(&mut self, key: &Key) {
        if self.late.len() >= MOST_LATE
            || self
                .late
                .iter()
                .any(|(late, _)| (late.0, late.1) == (key.0, key.1))
        {
            return;
        }
        let (sender, answer) = mpsc::channel();
        let (read, pid, start) = (self.read, key.0, key.1);
        thread::spawn(move || {
            // Nobody waits any more once the display has ended.
            let _ = sender.send(read(pid, start));
        });
        let patience = if self.late.is_empty() {
            PATIENCE
        } else {
            SHORT
        };
        match answer.recv_timeout(patience) {
            Ok(origin) => self.remember(key.clone(), origin),
            Err(_) => self.late.push((key.clone(), answer)),
        }
    }

    fn take_late(&mut self) {
        for (key, answer) in std::mem::take(&mut self.late) {
            match answer.try_recv() {
                Ok(origin) => self.remember(key, origin),
                Err(TryRecvError::Empty) => self.late.push((key, answer)),
                Err(TryRecvError::Disconnected) => {}
            }
        }
    }

    fn remember(&mut self, key: Key, origin: Origin) {
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(key, origin);
    }
}

/// Reads it, and believes it only if the process is the same before and after.
fn origin(pid: u32, start: u64) -> Origin {
    let same = || is_started_at(start_ticks(&pid.to_string()), start);
    if !same() {
        return (None, None);
    }
    let executable = fs::read_link(format!("/proc/{pid}/exe"))
        .ok()
        .map(|path| path.to_string_lossy().into_owned());
    let command_line = command_line(pid);
    if same() {
        (executable, command_line)
    } else {
        (None, None)
    }
}

/// Whether a start time of /proc, in clock ticks, is this one in nanoseconds.
fn is_started_at(ticks: u64, nanoseconds: u64) -> bool {
    // SAFETY: sysconf takes no pointers.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100);
    ticks != 0 && nanoseconds / (1_000_000_000 / per_second.max(1)) == ticks
}

/// Its arguments with a space between them; `None` if it has none left.
fn command_line(pid: u32) -> Option<String> {
    let mut bytes = Vec::with_capacity(COMMAND_LINE);
    fs::File::open(format!("/proc/{pid}/cmdline"))
        .ok()?
        .take(COMMAND_LINE as u64)
        .read_to_end(&mut bytes)
        .ok()?;
    words(bytes)
}

/// Arguments with a space between them; `None` if there are none.
fn words(mut bytes: Vec<u8>) -> Option<String> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    for byte in &mut bytes {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn me() -> Process {
        let ticks = start_ticks("self");
        Process {
            start: Some(ticks * 10_000_000 + 1),
            ..Process::example("me", std::process::id())
        }
    }

    #[test]
    fn a_live_process_has_a_program_and_arguments() {
        // On a busy machine the answer may come late, and counts then.
        let (mut process, mut origins, begun) = (me(), Origins::default(), Instant::now());
        while process.executable.is_none() && begun.elapsed() < Duration::from_secs(60) {
            origins.complete(&mut process);
        }
        let exe = std::env::current_exe().unwrap();
        assert_eq!(process.executable.as_deref(), exe.to_str());
        assert!(process.command_line.is_some_and(|c| !c.contains('\0')));
    }

    /// Process 1 never answers, others do at once.
    fn slow(pid: u32, _: u64) -> Origin {
        if pid == 1 {
            loop {
                thread::park();
            }
        }
        (Some(format!("/bin/{pid}")), None)
    }

    #[test]
    fn a_process_that_delays_a_look_delays_no_display() {
        let mut origins = Origins::by(slow);
        fn example(pid: u32, name: &str) -> Process {
            Process {
                start: Some(1),
                ..Process::example(name, pid)
            }
        }
        let began = Instant::now();
        // Each under a name of its own, as a container would try.
        for i in 0..100 {
            let name = format!("name{i}");
            let mut process = example(1, &name);
            origins.complete(&mut process);
            assert_eq!(process.executable, None);
        }
        assert_eq!(origins.late.len(), 1, "one look for one process");
        assert!(began.elapsed() < Duration::from_secs(5));
        let mut known = Origins::by(slow);
        let mut process = example(2, "other");
        // Late at most, on a machine that is busy.
        while process.executable.is_none() {
            known.complete(&mut process);
        }
        assert_eq!(process.executable.as_deref(), Some("/bin/2"));
    }

    #[test]
    fn a_number_that_was_used_again_blames_nobody() {
        let mut process = me();
        process.start = process.start.map(|s| s + 1_000_000_000);
        Origins::default().complete(&mut process);
        assert_eq!((process.executable, process.command_line), (None, None));
    }
}
