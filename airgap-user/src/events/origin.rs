//! What /proc says of a process, for as long as it is there.

use std::{collections::HashMap, fs, io::Read as _};

use super::Process;
use crate::clock::start_ticks;

/// Longest command line that is kept, bytes.
pub const COMMAND_LINE: usize = 256;
/// How many processes are remembered.
const REMEMBERED: usize = 512;

/// Program and arguments of a process, as far as they are known.
type Origin = (Option<String>, Option<String>);

/// Programs and arguments of processes that made attempts.
#[derive(Debug, Default)]
pub struct Origins {
    /// By process id, start and name: `exec` changes the name.
    seen: HashMap<(u32, u64, String), Origin>,
}

impl Origins {
    /// Adds program and arguments to a process that the kernel named; leaves
    /// them unknown if it has ended, or another has its number now.
    pub fn complete(&mut self, process: &mut Process) {
        let Some(start) = process.start else { return };
        let key = (process.pid, start, process.name.clone());
        if !self.seen.contains_key(&key) {
            if self.seen.len() >= REMEMBERED {
                self.seen.clear();
            }
            self.seen.insert(key.clone(), origin(process.pid, start));
        }
        if let Some((executable, command_line)) = self.seen.get(&key) {
            process.executable.clone_from(executable);
            process.command_line.clone_from(command_line);
        }
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
        let mut process = me();
        Origins::default().complete(&mut process);
        let exe = std::env::current_exe().unwrap();
        assert_eq!(process.executable.as_deref(), exe.to_str());
        assert!(process.command_line.is_some_and(|c| !c.contains('\0')));
    }

    #[test]
    fn a_number_that_was_used_again_blames_nobody() {
        let mut process = me();
        process.start = process.start.map(|s| s + 1_000_000_000);
        Origins::default().complete(&mut process);
        assert_eq!((process.executable, process.command_line), (None, None));
    }
}
