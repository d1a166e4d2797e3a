//! The process outside: starts the command's init, passes signals on, waits.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead as _, BufReader},
    mem::zeroed,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Child, Command, ExitStatus},
    ptr,
};

use anyhow::{Context as _, Result, bail};

use super::{NOT_FOUND, NOT_STARTED};
use crate::{
    command::{Confined, Nest, Said, User, below, signals},
    failure::Failure,
};

/// What is to be run, and how.
pub(super) struct Task<'a> {
    pub(super) nest: &'a Nest,
    pub(super) root: &'a Path,
    pub(super) user: &'a User,
    pub(super) confined: Confined,
    pub(super) network: bool,
    pub(super) command: &'a [OsString],
}

/// How it ended.
pub(super) struct Outcome {
    /// The command's exit code, 128 and the signal's number where one ended it.
    pub(super) code: u8,
    /// Processes of it run still: somebody did not want to wait for them.
    pub(super) left: bool,
}

/// Runs it until its last process has ended, or a signal comes after the command's own end;
/// does not begin if one came before.
///
/// # Errors
/// If the command did not run.
pub(super) fn run(task: &Task<'_>, signals: &Signals) -> Result<Outcome> {
    while let Some(sent) = signals.next() {
        let signal = sent.ssi_signo as i32;
        if is_end(signal) {
            let code = u8::try_from(128 + signal).unwrap_or(u8::MAX);
            return Ok(Outcome { code, left: false });
        }
    }
    let (tell, told) = pipe()?;
    let mut child = start(task, &tell, signals.before)?;
    // Only the init has one: its end is read as one.
    drop(tell);
    let mut told = BufReader::new(told);
    let mut code = None;
    let mut open = true;
    loop {
        let mut ready = [
            libc::pollfd {
                fd: signals.fd.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            },
            libc::pollfd {
                // A negative one is not looked at.
                fd: if open { told.get_ref().as_raw_fd() } else { -1 },
                events: libc::POLLIN,
                revents: 0,
            },
        ];
        // SAFETY: two of them.
        if unsafe { libc::poll(ready.as_mut_ptr(), 2, -1) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error).context("cannot wait for the command");
        }
        // Before what the init has said: a signal that ended the command came earlier.
        while let Some(sent) = signals.next() {
            match (sent.ssi_signo as i32, code) {
                (libc::SIGCHLD, _) => {}
                // The terminal's reach the command by themselves.
                (signal, None) if sent.ssi_code == libc::SI_USER => {
                    // SAFETY: takes numbers; the child is not waited for yet.
                    unsafe { libc::kill(child.id() as i32, signal) };
                }
                (signal, Some(code)) if is_end(signal) => {
                    return Ok(Outcome { code, left: true });
                }
                _ => {}
            }
        }
        if ready[1].revents != 0 {
            loop {
                let mut line = String::new();
                if told.read_line(&mut line).unwrap_or(0) == 0 {
                    open = false;
                    break;
                }
                code = heard(task, &line)?.or(code);
                // Several may have come at once.
                if told.buffer().is_empty() {
                    break;
                }
            }
        }
        if child
            .try_wait()
            .context("cannot wait for the command")?
            .is_some()
        {
            // What it said before it ended.
            for line in told.lines().map_while(Result::ok) {
                code = heard(task, &line)?.or(code);
            }
            let Some(code) = code else {
                bail!("the command's init was ended, and all of it with that");
            };
            return Ok(Outcome { code, left: false });
        }
    }
}

const fn is_end(signal: i32) -> bool {
    matches!(
        signal,
        libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT
    )
}

/// The exit code, if that is what was said.
fn heard(task: &Task<'_>, line: &str) -> Result<Option<u8>> {
    let said = serde_json::from_str(line).context("the command's init says what it should not")?;
    let name = task.command.first().map(|word| word.display().to_string());
    let name = name.unwrap_or_default();
    match said {
        Said::Started => Ok(None),
        Said::Ended(status) => {
            let status = ExitStatus::from_raw(status);
            let code = status.code().or(status.signal().map(|signal| 128 + signal));
            Ok(Some(
                code.and_then(|code| u8::try_from(code).ok())
                    .unwrap_or(u8::MAX),
            ))
        }
        Said::NotStarted(errno) => {
            let why = io::Error::from_raw_os_error(errno);
            let code = match errno {
                libc::ENOENT => NOT_FOUND,
                _ => NOT_STARTED,
            };
            let what = format!("cannot run '{name}' as {}: {why}", task.user.name);
            let hint = "that user must be able to reach and to run it";
            Err(Failure::new(what, hint).with_code(code).into())
        }
        Said::Failed(why) => Err(Failure::new(
            format!("'{name}' was not started: {why}"),
            "airgap exec needs namespaces for mounts, processes and IPC, and seccomp",
        )
        .into()),
    }
}

/// A pipe: the end to write to, which a child gets, and the end to read from.
fn pipe() -> Result<(OwnedFd, File)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error()).context("cannot make a pipe");
    }
    // SAFETY: both are new, and each gets one owner.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[1]), File::from_raw_fd(ends[0])) })
}

/// Starts the init as process 1 of a pid namespace.
fn start(task: &Task<'_>, tell: &OwnedFd, blocked: u64) -> Result<Child> {
    let own = File::open("/proc/self/ns/pid").context("cannot open /proc/self/ns/pid")?;
    let groups: Vec<_> = task.user.groups.iter().map(ToString::to_string).collect();
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("command-init")
        .arg("--cgroup")
        .arg(&task.nest.cgroup.path)
        .args(["--path", &below(task.root, &task.nest.cgroup.path)])
        .args(["--tell", &tell.as_raw_fd().to_string()])
        .args(["--uid", &task.user.uid.to_string()])
        .args(["--gid", &task.user.gid.to_string()])
        .args(["--groups", &groups.join(",")])
        .args(["--blocked", &blocked.to_string()]);
    for (flag, wanted) in [
        ("--unix", task.confined.unix),
        ("--hooks", task.confined.hooks),
        ("--apart", task.confined.apart),
        ("--network", task.network),
    ] {
        command.args(wanted.then_some(flag));
    }
    command.arg("--").args(task.command);
    for name in ["USER", "LOGNAME"] {
        command.env(name, &task.user.name);
    }
    if let Some((home, shell)) = &task.user.home {
        command.env("HOME", home).env("SHELL", shell);
    }
    let fd = tell.as_raw_fd();
    let inherit = move || {
        // SAFETY: an open descriptor and a number.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // The library has emptied the set.
        let all = signals(u64::MAX);
        // SAFETY: a whole set.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut()) };
        Ok(())
    };
    // SAFETY: it makes two system calls, and touches no memory but its own stack.
    unsafe { command.pre_exec(inherit) };
    // SAFETY: takes no pointers. For children alone, until it is set back.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return Err(io::Error::last_os_error()).context("cannot make a pid namespace");
    }
    let child = command.spawn();
    // SAFETY: an open descriptor. Threads can be made only in the process' own.
    if unsafe { libc::setns(own.as_raw_fd(), libc::CLONE_NEWPID) } != 0 {
        let error = io::Error::last_os_error();
        return Err(error).context("cannot go back to the own pid namespace");
    }
    child.context("cannot start the command's init")
}

/// All signals but those that stop, taken one by one; as before when dropped.
pub(super) struct Signals {
    fd: OwnedFd,
    old: libc::sigset_t,
    /// What was blocked before, a bit a signal.
    before: u64,
}

impl Signals {
    /// # Errors
    /// If the kernel has no descriptor for them.
    pub(super) fn take() -> Result<Self> {
        // Those that stop or are of this process' own errors do what they always do.
        let own = [
            libc::SIGTSTP,
            libc::SIGTTIN,
            libc::SIGTTOU,
            libc::SIGCONT,
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGABRT,
            libc::SIGPIPE,
        ];
        let bits = own.iter().fold(u64::MAX, |bits, s| bits & !(1 << (s - 1)));
        let taken = signals(bits);
        // SAFETY: a set that the call fills; whole sets.
        let (old, fd) = unsafe {
            let mut old = zeroed();
            libc::sigprocmask(libc::SIG_BLOCK, &raw const taken, &raw mut old);
            let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
            (old, libc::signalfd(-1, &raw const taken, flags))
        };
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("cannot wait for signals");
        }
        // SAFETY: a whole set.
        let is = |signal| unsafe { libc::sigismember(&raw const old, signal) } == 1;
        let before = (1..=64)
            .filter(|s| is(*s))
            .fold(0, |bits, s| bits | 1 << (s - 1));
        Ok(Self {
            // SAFETY: a new descriptor.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            old,
            before,
        })
    }

    fn next(&self) -> Option<libc::signalfd_siginfo> {
        // SAFETY: integers alone: all zero is one.
        let mut info: libc::signalfd_siginfo = unsafe { zeroed() };
        let size = size_of_val(&info);
        // SAFETY: an open descriptor, and room for as much as said.
        let got = unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut info).cast(), size) };
        (got == size as isize).then_some(info)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: the set that was before.
        unsafe {
            libc::sigprocmask(libc::SIG_SETMASK, &raw const self.old, ptr::null_mut());
        }
    }
}
