//! The command's side: a process that goes into the sealed cgroup, takes on what the
//! command may have and nothing else, starts it, and is its init until the last process
//! has ended.
//!
//! It is process 1 of a pid namespace of its own, so what loses its parent comes to it.
//! It has no more rights than the command: who gets hold of it gains nothing.

use std::{
    env,
    ffi::{CString, OsString},
    fs::{self, File},
    io::{self, Write as _},
    mem::{MaybeUninit, zeroed},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    ptr,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{filter, network, view};
use crate::host::procfs;

/// Arguments of the process inside.
#[derive(Args, Debug)]
pub struct Init {
    /// The sealed cgroup
    #[arg(long)]
    pub cgroup: PathBuf,
    /// Its path below the root
    #[arg(long)]
    pub path: String,
    /// Where the end is told: an open descriptor
    #[arg(long)]
    pub tell: i32,
    /// User id
    #[arg(long)]
    pub uid: u32,
    /// Group id
    #[arg(long)]
    pub gid: u32,
    /// All groups
    #[arg(long, value_delimiter = ',')]
    pub groups: Vec<u32>,
    /// Unix sockets may be made
    #[arg(long)]
    pub unix: bool,
    /// Security hooks look after sockets
    #[arg(long)]
    pub hooks: bool,
    /// It has a network of its own
    #[arg(long)]
    pub apart: bool,
    /// File systems that lead to a network were accepted
    #[arg(long)]
    pub network: bool,
    /// Signals that the command starts with blocked, as a set of bits
    #[arg(long)]
    pub blocked: u64,
    /// The command
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// What is told, one JSON line each.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It could not become what was asked for: the command did not run.
    Failed(String),
    /// The command cannot be started: `errno`.
    NotStarted(i32),
    /// The command's program runs.
    Started,
    /// The command has ended; how, as `wait` has it.
    Ended(i32),
}

/// Becomes the init of a command, and ends with its last process. The process has to be
/// single-threaded, the first of a pid namespace, and all signals are blocked.
///
/// # Errors
/// If nobody can be told how it ended.
pub fn run(args: &Init) -> Result<()> {
    // SAFETY: the descriptor is this process' own by the arguments' contract.
    let mut tell = unsafe { File::from_raw_fd(args.tell) };
    let started = enter(args, &mut tell).and_then(|()| start(args));
    let (main, mut answer) = match started {
        Ok(started) => started,
        Err(error) => return say(&mut tell, &Said::Failed(format!("{error:#}"))),
    };
    // Nothing comes if exec closes the other end.
    let mut errno = [0; 4];
    if io::Read::read_exact(&mut answer, &mut errno).is_ok() {
        let _ = wait(main, 0);
        return say(&mut tell, &Said::NotStarted(i32::from_ne_bytes(errno)));
    }
    drop(answer);
    let _ = say(&mut tell, &Said::Started);
    serve(main, tell)
}

fn say(tell: &mut File, what: &Said) -> Result<()> {
    let mut line = serde_json::to_string(what).context("cannot write JSON")?;
    line.push('\n');
    tell.write_all(line.as_bytes())
        .context("nobody listens any more")
}

/// Into the cgroup, and out of all else.
fn enter(args: &Init, tell: &mut File) -> Result<()> {
    if std::process::id() != 1 {
        bail!("it is not the first process of a pid namespace");
    }
    // The command may be of the same user: what this one holds is not for it.
    // SAFETY: takes no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
        .context("cannot keep others from its memory")?;
    fs::write(args.cgroup.join("cgroup.procs"), "0").context("cannot join the sealed cgroup")?;
    let at = procfs::text("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
    if !at
        .lines()
        .any(|line| line.strip_prefix("0::") == Some(&*args.path))
    {
        bail!("it is not in the sealed cgroup: {at}");
    }
    let here = env::current_dir().context("the current directory is not there")?;
    only(tell)?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWIPC) })
        .context("cannot make namespaces")?;
    view::build(args.network, !args.hooks)?;
    if args.apart {
        network::resolve()?;
        // SAFETY: takes no pointers.
        check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
            .context("cannot make a network namespace")?;
        network::build()?;
    }
    // By its path: as it was opened it would lead past what is covered.
    env::set_current_dir(&here)
        .with_context(|| format!("{} is not there any more", here.display()))?;
    drop_rights(args)?;
    filter::enforce(args.unix, args.hooks, args.apart).context("cannot set the seccomp filter")
}

/// Closes every descriptor that is no standard stream but this one.
fn only(tell: &mut File) -> Result<()> {
    let keep = tell.as_raw_fd();
    let entries = fs::read_dir("/proc/self/fd").context("cannot read /proc/self/fd")?;
    let open: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open {
        if fd > 2 && fd != keep {
            // SAFETY: nothing of this process uses it any more. One that the listing
            // itself had is closed already.
            unsafe { libc::close(fd) };
        }
    }
    // SAFETY: an open descriptor and a number.
    check(unsafe { libc::fcntl(keep, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(())
}

fn drop_rights(args: &Init) -> Result<()> {
    // Joining a new one: what the caller's has in it cannot be asked for.
    // SAFETY: a null name asks for a new keyring.
    unsafe { libc::syscall(libc::SYS_keyctl, 1, ptr::null::<u8>()) };
    for capability in 0..64 {
        // SAFETY: takes no pointers. Fails for numbers that the kernel does not know.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong, 0, 0, 0) };
    }
    // SAFETY: as many groups as said; the others take numbers.
    unsafe {
        check(libc::setgroups(args.groups.len(), args.groups.as_ptr()))
            .context("cannot set the groups")?;
        check(libc::setresgid(args.gid, args.gid, args.gid)).context("cannot set the group")?;
        check(libc::setresuid(args.uid, args.uid, args.uid)).context("cannot set the user")?;
    }
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    control(libc::PR_CAP_AMBIENT, clear)?;
    // struct __user_cap_header_struct: version 3, this process.
    let header = [0x2008_0522_u32, 0];
    let nothing = [0_u32; 6];
    // SAFETY: both arrays have the layout and length of version 3.
    let rc = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), nothing.as_ptr()) };
    check(rc as i32).context("cannot give the capabilities up")?;
    control(libc::PR_SET_NO_NEW_PRIVS, 1)
}

fn control(option: i32, value: libc::c_ulong) -> Result<()> {
    // SAFETY: these options take numbers.
    check(unsafe { libc::prctl(option, value, 0, 0, 0) }).context("prctl failed")
}

fn check(rc: i32) -> io::Result<()> {
    if rc == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Starts the command: its process, and where its `errno` comes if it cannot be.
fn start(args: &Init) -> Result<(i32, File)> {
    let words: Vec<CString> = args
        .command
        .iter()
        .map(|word| CString::new(word.as_bytes()))
        .collect::<Result<_, _>>()
        .context("an argument has a NUL in it")?;
    let mut list: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    list.push(ptr::null());
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: both are new, and each gets one owner.
    let (answer, question) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    check(pid).context("cannot fork")?;
    if pid != 0 {
        return Ok((pid, answer));
    }
    let question = question.into_raw_fd();
    // SAFETY: strings and the list are NUL-terminated, the sets are whole; nothing here
    // returns into Rust code that another process counts on.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let blocked = signals(args.blocked);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const blocked, ptr::null_mut());
        libc::execvp(list[0], list.as_ptr());
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        libc::write(question, errno.to_ne_bytes().as_ptr().cast(), 4);
        libc::_exit(127)
    }
}

/// The signals whose bits are set; bit 0 is signal 1.
pub fn signals(bits: u64) -> libc::sigset_t {
    // SAFETY: sigemptyset makes a whole set of it.
    unsafe {
        let mut set = zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in (1..=64).filter(|signal| bits & (1 << (signal - 1)) != 0) {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// Passes signals on to the command, and takes in whoever ends, until nobody is left.
fn serve(main: i32, tell: File) -> Result<()> {
    let mut tell = Some(tell);
    let all = signals(u64::MAX);
    loop {
        loop {
            match wait(-1, libc::WNOHANG) {
                Some((pid, status)) if pid == main => {
                    if let Some(mut tell) = tell.take() {
                        // Whoever asked may have been killed.
                        let _ = say(&mut tell, &Said::Ended(status));
                    }
                }
                Some((pid, _)) if pid > 0 => {}
                Some(_) => break,
                None => return Ok(()),
            }
        }
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: a whole set, and room for the answer.
        let signal = unsafe { libc::sigwaitinfo(&raw const all, info.as_mut_ptr()) };
        // SAFETY: all zero, or filled by the kernel.
        let sent = unsafe { info.assume_init() }.si_code == libc::SI_USER;
        // Those of the terminal reach the command by themselves.
        if signal > 0 && signal != libc::SIGCHLD && sent && tell.is_some() {
            // SAFETY: takes numbers; the process is not waited for yet, so it is this one.
            unsafe { libc::kill(main, signal) };
        }
    }
}

/// Process and status, process 0 if none has ended; `None`: there is none.
fn wait(pid: i32, options: i32) -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: room for the status.
    let ended = unsafe { libc::waitpid(pid, &raw mut status, options) };
    (ended >= 0).then_some((ended, status))
}

/// The path of a cgroup below the root, as `/proc/PID/cgroup` has it.
pub fn below(root: &Path, cgroup: &Path) -> String {
    let inner = cgroup.strip_prefix(root).unwrap_or(cgroup);
    format!("/{}", inner.display())
}

#[cfg(test)]
mod tests {
    use super::{Said, below, signals};
    use std::path::Path;

    #[test]
    fn sets_have_the_signals_of_their_bits() {
        let one = signals(1 << (libc::SIGTERM - 1));
        for signal in 1..=31 {
            // SAFETY: a whole set.
            let is = unsafe { libc::sigismember(&raw const one, signal) };
            assert_eq!(is == 1, signal == libc::SIGTERM);
        }
    }

    #[test]
    fn what_is_said_comes_back() {
        for said in [Said::Ended(256), Said::NotStarted(2), Said::Started] {
            let line = serde_json::to_string(&said).unwrap();
            assert_eq!(serde_json::from_str::<Said>(&line).unwrap(), said);
        }
        let root = Path::new("/sys/fs/cgroup");
        assert_eq!(below(root, &root.join("airgap/x")), "/airgap/x");
    }
}
