//! The network interfaces of a container, and their other ends on the host.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    path::Path,
    ptr::null,
    thread,
};

use anyhow::{Context as _, Result, anyhow};

/// An interface of a container, other than lo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name in the container.
    pub name: String,
    /// The other end of its veth pair on this host, if it has one here.
    pub host: Option<HostEnd>,
}

/// The host's end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEnd {
    /// Name on the host.
    pub name: String,
    /// Index on the host.
    pub index: u32,
}

/// One directory of `/sys/class/net`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    name: String,
    index: u32,
    /// Index of the interface this one is bound to; for a veth, its peer.
    peer: u32,
}

/// The interfaces in the network namespace of the process `pid`.
///
/// # Errors
/// If the namespace cannot be entered, for example because the process ended.
pub fn interfaces(pid: u32) -> Result<Vec<Interface>> {
    let path = format!("/proc/{pid}/ns/net");
    let netns = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let host = links(Path::new("/sys/class/net")).context("cannot read /sys/class/net")?;
    if fs::read_link(&path).ok() == fs::read_link("/proc/self/ns/net").ok() {
        return Ok(pair(&host, &[]));
    }
    // A thread of its own: it never comes back from that namespace.
    let inside = thread::spawn(move || links_in(&netns))
        .join()
        .map_err(|_panic| anyhow!("the look into {path} failed"))?
        .with_context(|| format!("cannot look into {path}"))?;
    Ok(pair(&inside, &host))
}

/// Two interfaces are one pair if each names the other. Indices repeat across
/// namespaces, so one direction alone proves nothing.
fn pair(inside: &[Link], host: &[Link]) -> Vec<Interface> {
    inside
        .iter()
        .filter(|link| link.name != "lo")
        .map(|link| Interface {
            name: link.name.clone(),
            host: host
                .iter()
                .find(|h| h.index == link.peer && h.peer == link.index && link.peer != link.index)
                .map(|h| HostEnd {
                    name: h.name.clone(),
                    index: h.index,
                }),
        })
        .collect()
}

/// Lists the links of another network namespace by a sysfs mounted there; the
/// container's own `/sys` is not asked, as its image may hold anything.
fn links_in(netns: &File) -> io::Result<Vec<Link>> {
    // SAFETY: acts on this thread only, which has a mount namespace of its own
    // from the first call on; all strings are NUL-terminated literals.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(null(), c"/".as_ptr(), null(), private, null()))?;
        check(libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET))?;
        let sysfs = c"sysfs".as_ptr();
        check(libc::mount(
            sysfs,
            c"/sys".as_ptr(),
            sysfs,
            libc::MS_RDONLY,
            null(),
        ))?;
    }
    links(Path::new("/sys/class/net"))
}

fn check(ret: i32) -> io::Result<()> {
    if ret == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn links(dir: &Path) -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let read = |file: &str| -> Option<u32> {
            fs::read_to_string(entry.path().join(file))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        // Not an interface (bonding_masters), or gone since.
        let (Some(index), Some(peer)) = (read("ifindex"), read("iflink")) else {
            continue;
        };
        links.push(Link {
            name: entry.file_name().to_string_lossy().into_owned(),
            index,
            peer,
        });
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, index: u32, peer: u32) -> Link {
        Link {
            name: name.into(),
            index,
            peer,
        }
    }

    #[test]
    fn pairs_only_what_names_each_other() {
        let inside = [
            link("lo", 1, 1),
            link("eth0", 5, 9),
            link("eth1", 6, 9),
            link("dummy0", 7, 7),
            link("macvlan0", 8, 2),
        ];
        let host = [
            link("lo", 1, 1),
            link("eth0", 2, 2),
            link("veth1", 9, 5),
            link("dummy0", 7, 7),
        ];
        let found: Vec<_> = pair(&inside, &host)
            .into_iter()
            .map(|i| (i.name, i.host.map(|h| h.name)))
            .collect();
        assert_eq!(
            found,
            [
                ("eth0".into(), Some("veth1".into())),
                ("eth1".into(), None),
                ("dummy0".into(), None),
                ("macvlan0".into(), None),
            ]
        );
    }
}
