//! One emulated machine: a kernel, an initial file system, disks if it has any, two serial ports,
//! and no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::host::Host;
use super::outcome::{Ending, Outcome};
use crate::command;

/// Until the tests start; boots took 2 to 17 s when measured.
const BOOT: Duration = Duration::from_secs(180);
/// What would differ from boot to boot, or take part in what is counted.
const COUNTING: &str = "nokaslr tsc=reliable cryptomgr.notests";
const POLL: Duration = Duration::from_millis(50);

/// How a machine ended, and what it wrote.
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    /// What the tests printed.
    pub(super) output: String,
    /// The kernel's own messages.
    pub(super) console: PathBuf,
}

impl Ran {
    /// What the tests printed, and where to look when they failed.
    pub(super) fn show(&self) {
        println!("{}", self.output);
        if !self.outcome.is_good() {
            println!("the kernel's messages: {}", self.console.display());
        }
    }
}

/// What a machine needs, and where its serial ports write.
pub(super) struct Machine<'a> {
    pub(super) host: &'a Host,
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a Path,
    /// Added to the kernel's command line.
    pub(super) arguments: &'a str,
    /// File systems on virtio disks, in the order of their letters. It writes to a snapshot, which
    /// lasts as long as the machine is on.
    pub(super) disks: &'a [PathBuf],
    /// Whether it may start again by itself; otherwise that is its end.
    pub(super) restarts: bool,
    /// The seed of a machine with one processor, whose clock is that processor's instructions.
    pub(super) counting: Option<u32>,
    /// For the whole run, once it has begun.
    pub(super) limit: Duration,
    /// Without an extension; `.console` and `.tests` are added.
    pub(super) log: PathBuf,
}

impl Machine<'_> {
    fn console(&self) -> PathBuf {
        self.log.with_added_extension("console")
    }

    fn tests(&self) -> PathBuf {
        self.log.with_added_extension("tests")
    }

    fn output(&self) -> Result<String> {
        let path = self.tests();
        fs::read(&path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .with_context(|| format!("cannot read {}", path.display()))
    }

    /// Boots, and waits until it is off or out of time. One that never reaches its tests is booted
    /// once more; a result stands.
    ///
    /// # Errors
    /// When the emulator cannot be started, or a log cannot be written or read.
    pub(super) fn run(&self) -> Result<Ran> {
        let mut outcome = self.boot()?;
        if outcome.is_no_boot() {
            println!("{}; once more", outcome.complaint.unwrap_or_default());
            outcome = self.boot()?;
        }
        Ok(Ran {
            outcome,
            output: self.output()?,
            console: self.console(),
        })
    }

    fn boot(&self) -> Result<Outcome> {
        let tests = self.tests();
        for file in [&tests, &self.console()] {
            fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
        }
        let start = Instant::now();
        let mut running = Running(self.start()?);
        let mut booted = None;
        let ending = loop {
            // Asked before the log is read: what it wrote last is then in there.
            let off = running.is_over()?;
            if booted.is_none() && Outcome::has_begun(&self.output()?) {
                booted = Some(start.elapsed());
            }
            let limit = if booted.is_some() { self.limit } else { BOOT };
            if off {
                break Ending::Off;
            }
            if start.elapsed() > limit {
                break Ending::TimedOut(limit);
            }
            thread::sleep(POLL);
        };
        Ok(Outcome::new(
            &self.output()?,
            ending,
            booted,
            start.elapsed(),
        ))
    }

    fn start(&self) -> Result<Child> {
        let mut emulator = Command::new("setpriv");
        emulator
            // So that nothing runs on where this process is killed.
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.host.emulator)
            // Never KVM: nested, it hangs. One thread: with more, a kernel that patches its own
            // text, as attaching BPF does, now and then oopses.
            .args(["-M", "q35", "-accel", "tcg,thread=single"])
            .args(["-nodefaults", "-no-user-config"])
            .args(["-nic", "none", "-display", "none"])
            .args([
                "-m",
                if self.disks.is_empty() {
                    "1024"
                } else {
                    "2048"
                },
            ])
            .args(["-serial", &format!("file:{}", self.console().display())])
            .args(["-serial", &format!("file:{}", self.tests().display())])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 panic=-1 loglevel=4 edd=off mitigations=off nowatchdog {} {}",
                self.counting.map_or("", |_| COUNTING),
                self.arguments
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        match self.counting {
            None => emulator.args(["-cpu", "max", "-smp", "2"]),
            // An instruction is a nanosecond, and idle time none. Without fast string moves: each
            // byte of one counts as an instruction.
            Some(seed) => emulator
                .args(["-icount", "shift=0,sleep=off,align=off"])
                .args(["-seed", &seed.to_string()])
                .args(["-rtc", "clock=vm,base=2026-01-01"])
                .args(["-cpu", "max,-erms,-fsrm", "-smp", "1"]),
        };
        if !self.restarts {
            emulator.arg("-no-reboot");
        }
        for disk in self.disks {
            let drive = "format=raw,if=virtio,snapshot=on,cache=unsafe,file=";
            emulator.args(["-drive", &format!("{drive}{}", disk.display())]);
        }
        emulator
            .spawn()
            .with_context(|| format!("cannot start `{}`", command::line(&emulator)))
    }
}

/// A started emulator, which does not outlive its owner.
struct Running(Child);

impl Running {
    fn is_over(&mut self) -> Result<bool> {
        let status = self.0.try_wait().context("cannot wait for the emulator")?;
        Ok(status.is_some())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be off already, and then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
