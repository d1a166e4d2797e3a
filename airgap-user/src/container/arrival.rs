//! Whose a veth is that has just come up: what the kernel says of its other end, and of
//! the tasks there. Nothing of it is the container's word.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use airgap_common::cgroup::container_id;
use anyhow::{Context as _, Result};

use super::{HostEnd, cgroup::v2_path, interfaces};
use crate::host::{
    netlink::Netlink,
    netns::{Netns, kept},
};

/// Where the other end of a veth is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherEnd {
    /// There is no such interface (any more), or it is no veth.
    None,
    /// In this namespace still, as after its making; `plugged`: a bridge has this end.
    Here {
        /// The interface that was asked for.
        end: HostEnd,
        /// Whether it is a port of something.
        plugged: bool,
    },
    /// In the namespace of this number.
    There {
        /// The interface that was asked for.
        end: HostEnd,
        /// Whether it is a port of something.
        plugged: bool,
        /// This namespace's number for the other one.
        number: i32,
    },
}

/// Where the other end of the interface `index` is.
///
/// # Errors
/// If the kernel cannot list interfaces.
pub fn other_end(index: u32) -> Result<OtherEnd> {
    let netlink = Netlink::route().context("cannot open a netlink socket")?;
    let ports = netlink.ports().context("cannot list network interfaces")?;
    let links = netlink.links().context("cannot list network interfaces")?;
    let port = ports.iter().find(|port| port.index == index);
    let link = links.iter().find(|link| link.index == index);
    let (Some(port), Some(link)) = (port, link) else {
        return Ok(OtherEnd::None);
    };
    if port.kind != "veth" {
        return Ok(OtherEnd::None);
    }
    let plugged = port.master != 0;
    let end = HostEnd {
        name: link.name.clone(),
        index,
        native_xdp: link.native_xdp,
        mac: None,
        addresses: Vec::new(),
        prefixes: Vec::new(),
    };
    Ok(match link.peer_netns {
        Some(number) => OtherEnd::There {
            end,
            plugged,
            number,
        },
        None => OtherEnd::Here { end, plugged },
    })
}

/// A network namespace, and who is in it.
#[derive(Debug)]
pub struct Behind {
    /// The namespace; `None` if nothing was found that keeps it.
    pub network: Option<Netns>,
    /// Processes in it.
    pub tasks: Vec<u32>,
}

/// The namespace that this one knows by a number. Looks at each process of the host once,
/// and at what is mounted.
///
/// # Errors
/// If there is no `/proc`, or no netlink.
pub fn behind(number: i32) -> Result<Behind> {
    let netlink = Netlink::route().context("cannot open a netlink socket")?;
    let own = Netns::own()
        .and_then(|own| own.inode())
        .context("cannot read /proc/self/ns/net")?;
    let mut known: HashMap<u64, bool> = HashMap::from([(own, false)]);
    let mut found = Behind {
        network: None,
        tasks: Vec::new(),
    };
    let mut leads_there = |path: &Path, inode: u64, network: &mut Option<Netns>| {
        *known.entry(inode).or_insert_with(|| {
            let Ok(netns) = Netns::at(path) else {
                return false;
            };
            let is = netlink.number_of(netns.fd()).ok().flatten() == Some(number);
            if is {
                *network = Some(netns);
            }
            is
        })
    };
    for entry in fs::read_dir("/proc")
        .context("cannot read /proc")?
        .flatten()
    {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(pid) = pid else {
            continue;
        };
        let path = entry.path().join("ns/net");
        // A kernel thread has this namespace, a process that has ended none.
        if let Ok(about) = fs::metadata(&path)
            && leads_there(&path, about.ino(), &mut found.network)
        {
            found.tasks.push(pid);
        }
    }
    if found.network.is_none() {
        // An engine may make it before there is a process for it.
        for (inode, path) in kept()? {
            if leads_there(&path, inode, &mut found.network) {
                break;
            }
        }
    }
    Ok(found)
}

/// The ids of the cgroups that a process is in, from its own outwards, and whether one of
/// them is a container's by its name.
pub fn cgroups_of(root: &Path, pid: u32) -> (Vec<u64>, bool) {
    let text = fs::read(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let Some(relative) = v2_path(&text) else {
        return (Vec::new(), false);
    };
    let path = PathBuf::from(root.as_os_str()).join(relative.trim_start_matches('/'));
    let below = path.ancestors().take_while(|dir| *dir != root);
    let mut container = false;
    let ids = below.filter_map(|dir| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        container |= container_id(&name).is_some();
        fs::metadata(dir).ok().map(|about| about.ino())
    });
    let ids = ids.collect();
    (ids, container)
}

/// Whether a process has started a program since it was forked: the engine's runtime
/// forks, and then starts the container's program. What is not known counts as that.
pub fn has_started(pid: u32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    !is_forked(&stat)
}

/// Waits until a runtime's process has become all that the container's program will be, and
/// waits itself to be told to start that: it opens a FIFO, which nobody else has opened yet
/// (runc's and crun's `exec.fifo`). Until then it has more than it will have: capabilities,
/// mounts, no filter. False if it does not come to that in so long.
pub fn await_start(pid: u32, patience: Duration) -> bool {
    const STEP: Duration = Duration::from_millis(2);
    let end = Instant::now() + patience;
    let mut before = None;
    loop {
        let now = blocked(pid);
        if now.is_some() && now == before {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        before = now;
        sleep(STEP);
    }
}

/// The call that a process is blocked in, and how often it was blocked, if it opens something
/// (proc_pid_syscall(5)).
fn blocked(pid: u32) -> Option<(String, String)> {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let number: i64 = call.split(' ').next()?.parse().ok()?;
    if number != libc::SYS_openat {
        return None;
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let times = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Some((call, times?.to_owned()))
}

/// Pure. `PF_FORKNOEXEC` of the ninth field (proc_pid_stat(5), include/linux/sched.h); a
/// name may hold anything, so fields are counted behind it.
fn is_forked(stat: &[u8]) -> bool {
    const PF_FORKNOEXEC: u64 = 0x40;
    let Some(end) = stat.iter().rposition(|byte| *byte == b')') else {
        return false;
    };
    let rest = String::from_utf8_lossy(&stat[end + 1..]);
    let flags = rest.split_whitespace().nth(6);
    flags
        .and_then(|flags| flags.parse::<u64>().ok())
        .is_some_and(|flags| flags & PF_FORKNOEXEC != 0)
}

/// The host's end with what its other end may announce.
///
/// # Errors
/// If the namespace cannot be looked into.
pub fn with_addresses(end: HostEnd, network: &Netns) -> Result<HostEnd> {
    let found = interfaces([network])?.into_iter();
    let same = found
        .filter_map(|interface| interface.host)
        .find(|host| host.index == end.index);
    Ok(same.unwrap_or(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_fork_from_a_program() {
        let stat = |flags: u64| format!("7 (a b) c) S 1 7 7 0 -1 {flags} 0 0").into_bytes();
        assert!(is_forked(&stat(0x40)) && is_forked(&stat(0x0040_0040)));
        assert!(!is_forked(&stat(0x0040_0000)) && !is_forked(b"") && !is_forked(b"7 (a) S"));
        // This process was started as a program.
        assert!(has_started(std::process::id()) && has_started(0));
    }

    #[test]
    fn waits_for_one_that_opens_a_fifo() {
        let path = std::env::temp_dir().join(format!("airgap-fifo-{}", std::process::id()));
        let named = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a path that ends in a zero.
        assert_eq!(unsafe { libc::mkfifo(named.as_ptr(), 0o600) }, 0);
        let line = format!("exec > {}", path.display());
        let mut child = std::process::Command::new("sh")
            .args(["-c", &line])
            .spawn()
            .unwrap();
        let waits = await_start(child.id(), Duration::from_secs(10));
        drop(child.kill());
        drop(child.wait());
        fs::remove_file(path).unwrap();
        assert!(waits);
        // This one runs, and the other is gone.
        assert!(!await_start(std::process::id(), Duration::from_millis(20)));
        assert!(!await_start(child.id(), Duration::ZERO));
    }

    #[test]
    fn this_process_is_in_its_cgroups() {
        let (_, container) = cgroups_of(Path::new("/nowhere"), std::process::id());
        assert!(!container);
        assert!(cgroups_of(Path::new("/"), 0).0.is_empty());
    }
}
