//! A process that an engine would call a container.

use airgap::{
    container::Cgroup,
    host::{
        netlink::{End, Netlink},
        netns::Netns,
    },
};
use airgap_tests::{SERVICE_PORT, engine::Described, http, wait};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    process::{Child, Command, Stdio},
};

pub(crate) const HOST4: &str = "198.51.100.1";

pub(crate) const OWN4: &str = "198.51.100.2";

pub(crate) const HOST6: &str = "2001:db8:1::1";

pub(crate) const OWN6: &str = "2001:db8:1::2";

/// Index of the host's end of its veth.
pub(crate) const HOST_END: u32 = 11;

/// A container-like process, its cgroup and its veth; all goes with it.
pub(crate) struct Container {
    pub(crate) parent: Child,
    pub(crate) described: Described,
    pub(crate) cgroup: String,
}

impl Container {
    pub(crate) fn start(id: &str) -> Self {
        let cgroup = format!("/sys/fs/cgroup/docker/{id}");
        fs::create_dir_all(&cgroup).expect("make the cgroup");
        let probe = std::env::var("AIRGAP_PROBE").expect("AIRGAP_PROBE is not set");
        let mut parent = Command::new(probe)
            .args(["contained", &cgroup])
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the container");
        let mut line = String::new();
        BufReader::new(parent.stdout.take().expect("stdout"))
            .read_line(&mut line)
            .expect("read its pid");
        let pid = line.trim().parse().expect("a pid");
        let described = Described {
            id: id.to_owned(),
            name: "web".to_owned(),
            pid,
        };
        let container = Self {
            parent,
            described,
            cgroup,
        };
        container.connect();
        let at = SocketAddr::new(OWN4.parse().expect("an address"), SERVICE_PORT);
        wait::until("the container serves", wait::SOON, || {
            http::get(at, "/alive").ok()
        });
        container
    }

    /// eth0 with both families, its other end on this machine.
    pub(crate) fn connect(&self) {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let netns = Netns::of(self.described.pid).expect("its network namespace");
        let end = |name, index| End {
            name,
            index,
            mac: [2, 0, 0, 0, 0, index as u8],
        };
        let link = Netlink::route().expect("netlink");
        link.add_veth(&end(c"vethweb", HOST_END), &end(c"eth0", 12), netns.fd())
            .expect("veth");
        link.up(11, None).expect("up");
        link.add_address(11, ip(HOST4), 28).expect("address");
        link.add_address(11, ip(HOST6), 64).expect("address");
        let inside = netns.run(|| {
            let link = Netlink::route()?;
            link.up(1, None)?;
            link.up(12, None)?;
            link.add_address(12, ip(OWN4), 28)?;
            link.add_address(12, ip(OWN6), 64)?;
            Ok(())
        });
        inside.expect("set up eth0");
    }

    pub(crate) fn serves(&self, times: usize) {
        for turn in 0..times {
            let own: IpAddr = [OWN4, OWN6][turn % 2].parse().expect("an address");
            let body = http::get(SocketAddr::new(own, SERVICE_PORT), "/alive");
            body.unwrap_or_else(|e| panic!("request {turn} of {times} to {own}: {e:#}"));
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.parent.kill();
        let _ = self.parent.wait();
        let gone = wait::within(wait::SOON, || fs::remove_dir(&self.cgroup).ok());
        if gone.is_none() {
            eprintln!("{} stays", self.cgroup);
        }
    }
}

pub(crate) fn cgroup_of(container: &Container) -> Cgroup {
    Cgroup {
        id: fs::metadata(&container.cgroup).expect("the cgroup").ino(),
        level: 2,
        path: container.cgroup.clone().into(),
    }
}
