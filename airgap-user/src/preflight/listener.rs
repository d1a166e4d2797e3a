//! Who listens on a port of this host.

use std::{fs, path::Path};

use crate::policy::{Ports, Protocol, To};

/// The process that listens where an exception leads, in words; `None`: nobody that can be
/// told, or there are several ports.
pub(super) fn of(to: &To) -> Option<String> {
    let Ports::Range(port, last) = to.ports else {
        return None;
    };
    if port != last {
        return None;
    }
    let (files, state) = match to.protocol {
        Protocol::Tcp => (["tcp", "tcp6"], "0A"),
        Protocol::Udp => (["udp", "udp6"], "07"),
    };
    let inode = files.iter().find_map(|file| {
        let text = fs::read_to_string(format!("/proc/self/net/{file}")).ok()?;
        text.lines()
            .skip(1)
            .find_map(|line| bound(line, port, state))
    })?;
    holder(&format!("socket:[{inode}]"))
}

/// The inode of a socket that waits on this port (Documentation/networking/proc_net_tcp.rst).
/// Pure.
fn bound(line: &str, port: u16, state: &str) -> Option<u64> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, own) = fields.get(1)?.split_once(':')?;
    let found = u16::from_str_radix(own, 16).ok()? == port && *fields.get(3)? == state;
    found.then(|| fields.get(9)?.parse().ok()).flatten()
}

fn holder(socket: &str) -> Option<String> {
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let dir = entry.path();
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
            continue;
        };
        let fds = fs::read_dir(dir.join("fd")).into_iter().flatten().flatten();
        let is_held = |fd: fs::DirEntry| {
            fs::read_link(fd.path()).is_ok_and(|target| target == Path::new(socket))
        };
        if !fds.into_iter().any(is_held) {
            continue;
        }
        let text = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        let cgroup = text("cgroup");
        let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
        return Some(format!(
            "'{}' ({pid}) of the cgroup {}",
            text("comm").trim(),
            cgroup.unwrap_or("?")
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn the_owner_of_a_port_is_found() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = format!("({}) of the cgroup /", std::process::id());
        for (port, protocol) in [
            (tcp.local_addr().unwrap().port(), "tcp"),
            (udp.local_addr().unwrap().port(), "udp"),
        ] {
            let to = To::near_or_far(&format!("127.0.0.1:{port}/{protocol}")).unwrap();
            let who = of(&to).unwrap();
            assert!(who.contains(&own), "{who}");
        }
        drop(tcp);
        assert_eq!(of(&To::near_or_far("127.0.0.1:1-9").unwrap()), None);
    }
}
