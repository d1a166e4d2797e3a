//! The probe's own side: a process that takes on what a container's process
//! has, then tries ways out as it is told.
//!
//! It stays in the host's pid and mount namespaces: no way out of the corpus
//! needs the container's, and so the container can neither see, trace nor end
//! it, nor give it files to load. The container's seccomp filter and AppArmor
//! profile are not carried, so the probe may try more than the container can.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead as _, Write as _},
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    container::locate,
    gate::cgroup_mount,
    host::procfs,
    preflight::NET_RAW,
    subtree,
    technique::{self, Report, target::Target},
};

/// Arguments of the process inside.
#[derive(Args, Debug)]
pub struct Probe {
    /// A process of what is sealed: of a container, its init process
    #[arg(long)]
    pub pid: u32,
    /// The container's whole id
    #[arg(long, required_unless_present_any = ["cgroup", "pod"])]
    pub id: Option<String>,
    /// Path of the pod's cgroup, of one of whose containers the process is
    #[arg(long, conflicts_with_all = ["id", "cgroup"])]
    pub pod: Option<String>,
    /// Path of the cgroup that is sealed, where it is no container
    #[arg(long, conflicts_with = "id", requires = "capabilities")]
    pub cgroup: Option<String>,
    /// What its tasks may do, as a mask in hex
    #[arg(long, value_parser = mask)]
    pub capabilities: Option<u64>,
    /// In the sealed cgroup, with no more capabilities
    #[arg(long)]
    pub sealed: bool,
    /// The network namespace to be in
    #[arg(long)]
    pub netns: PathBuf,
}

/// What the probe says, one JSON line each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// It is what it was asked to be.
    Ready,
    /// It could not become that.
    Failed(String),
    /// How an attempt ended.
    Tried(Report),
}

/// Becomes the probe for a container, and serves until stdin ends. Unless
/// sealed it stays in airgap's own cgroup, and has CAP_NET_RAW in any case.
/// The process has to be single-threaded.
///
/// # Errors
/// If stdout cannot be written; what else fails is said there.
pub fn run(args: &Probe) -> Result<()> {
    match become_inside(args) {
        Ok(()) => say(&Said::Ready)?,
        Err(error) => return say(&Said::Failed(format!("{error:#}"))),
    }
    for line in io::stdin().lock().lines() {
        let line = line.context("cannot read what to try")?;
        let words: Vec<&str> = line.split(' ').collect();
        let Some(way) = words.first().and_then(|name| technique::find(name)) else {
            say(&Said::Failed(format!("no technique in '{line}'")))?;
            continue;
        };
        let report = technique::attempt(way, &Target::parse(&words));
        say(&Said::Tried(report))?;
    }
    Ok(())
}

fn say(what: &Said) -> Result<()> {
    let mut line = serde_json::to_string(what).context("cannot write JSON")?;
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to stdout")
}

fn become_inside(args: &Probe) -> Result<()> {
    let &Probe { pid, sealed, .. } = args;
    die_with_parent()?;
    let namespaces = match args.cgroup {
        // All others are the host's, as far as its users may enter them.
        Some(_) => vec![opened(&args.netns, libc::CLONE_NEWNET)?],
        None => namespaces(pid, &args.netns, sealed)?,
    };
    let path = format!("/proc/{pid}/status");
    let status = procfs::text(&path).with_context(|| format!("cannot read {path}"))?;
    let root = cgroup_mount()?;
    // Read after the rest: the number has not been given to another process.
    let inner = match (args.cgroup.as_ref().or(args.pod.as_ref()), &args.id) {
        (Some(cgroup), _) => subtree::member(cgroup, pid)?.into_bytes(),
        (None, id) => {
            locate(&root, id.as_deref().unwrap_or_default(), pid)?;
            cgroup_of(pid)?
        }
    };
    if sealed {
        join(&root, &inner)?;
    }
    for (file, kind) in &namespaces {
        // SAFETY: takes an open descriptor and no pointers.
        check(unsafe { libc::setns(file.as_raw_fd(), *kind) })
            .context("cannot enter a namespace of the container")?;
    }
    let bounding = hex(&status, "CapBnd:").context("no capabilities in the status")?;
    let mut capabilities = args.capabilities.unwrap_or(bounding);
    if !sealed {
        capabilities |= 1 << NET_RAW;
    }
    limit(capabilities).context("cannot take on the container's capabilities")?;
    if field(&status, "NoNewPrivs:") == Some("1") {
        control(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    }
    // A change of credentials undoes it.
    die_with_parent()
}

/// In the order of joining; the user namespace last, as the others belong to
/// it or to the host's. A probe that is not sealed takes no more than it needs: it must not
/// be taken for somebody with whom the container shares.
fn namespaces(pid: u32, netns: &Path, sealed: bool) -> Result<Vec<(File, i32)>> {
    let kinds = [
        ("net", libc::CLONE_NEWNET),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("user", libc::CLONE_NEWUSER),
    ];
    let mut open = Vec::new();
    let needed = |name: &str| sealed || matches!(name, "net" | "user");
    for (name, kind) in kinds.into_iter().filter(|(name, _)| needed(name)) {
        let path = match name {
            "net" => netns.to_owned(),
            _ => format!("/proc/{pid}/ns/{name}").into(),
        };
        let shown = path.display();
        let theirs = fs::read_link(&path).with_context(|| format!("cannot read {shown}"))?;
        if fs::read_link(format!("/proc/self/ns/{name}")).ok() != Some(theirs) {
            open.push(opened(&path, kind)?);
        }
    }
    Ok(open)
}

fn opened(path: &Path, kind: i32) -> Result<(File, i32)> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok((file, kind))
}

/// The very cgroup of a process, nested or not, from the root of the v2 hierarchy.
fn cgroup_of(pid: u32) -> Result<Vec<u8>> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read(&path).with_context(|| format!("cannot read {path}"))?;
    let mut lines = text.split(|byte| *byte == b'\n');
    let inner = lines.find_map(|line| line.strip_prefix(b"0::"));
    let inner = inner.with_context(|| format!("no cgroup v2 in {path}"))?;
    Ok(inner.to_vec())
}

fn join(root: &Path, inner: &[u8]) -> Result<()> {
    let below = inner.strip_prefix(b"/").unwrap_or(inner);
    let procs = root.join(OsStr::from_bytes(below)).join("cgroup.procs");
    fs::write(&procs, std::process::id().to_string())
        .with_context(|| format!("cannot join {}", procs.display()))
}

/// Root of its user namespace with these capabilities and no way
/// to others.
fn limit(capabilities: u64) -> Result<()> {
    for capability in 0..64 {
        if capabilities & (1 << capability) == 0 {
            // SAFETY: takes no pointers. Fails for numbers that the kernel does not know.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong) };
        }
    }
    // SAFETY: takes no pointers.
    unsafe {
        check(libc::setresgid(0, 0, 0))?;
        check(libc::setresuid(0, 0, 0))?;
    }
    control(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
    )?;
    // struct __user_cap_header_struct: version 3, this process.
    let header = [0x2008_0522_u32, 0];
    let (low, high) = (capabilities as u32, (capabilities >> 32) as u32);
    // Twice effective, permitted, inheritable.
    let data = [low, low, 0, high, high, 0];
    // SAFETY: both arrays have the layout and length of version 3.
    let rc = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    check(rc as i32)?;
    Ok(())
}

fn die_with_parent() -> Result<()> {
    control(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
}

fn control(option: i32, value: libc::c_ulong) -> Result<()> {
    // SAFETY: these options take numbers.
    check(unsafe { libc::prctl(option, value, 0, 0, 0) }).context("prctl failed")
}

fn check(rc: i32) -> io::Result<()> {
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.map(str::trim)
}

fn mask(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|error| error.to_string())
}

fn hex(status: &str, name: &str) -> Option<u64> {
    u64::from_str_radix(field(status, name)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{field, hex};

    #[test]
    fn reads_the_status_file() {
        let status = "Name:\tx\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\n";
        assert_eq!(hex(status, "CapBnd:"), Some(0xa804_25fb));
        assert_eq!(field(status, "NoNewPrivs:"), Some("1"));
        assert_eq!(hex(status, "CapEff:"), None);
    }
}
