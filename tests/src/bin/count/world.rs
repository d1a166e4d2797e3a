//! A client, a host that forwards, and two containers; nothing has to be asked for on the way.

use std::{
    cell::Cell,
    ffi::CStr,
    fs,
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use airgap::host::{
    netlink::{End, Netlink},
    netns::Netns,
};
use airgap_tests::{SERVICE_PORT, cmd, engine::Described, wait};

use super::{client, operation::Operation};

const CGROUPS: &str = "/sys/fs/cgroup";
const PREFIX4: u8 = 28;
const PREFIX6: u8 = 64;
/// The measured container, the other one, and the client.
const MEASURED: u8 = 1;
const OTHER: u8 = 2;
const CLIENT: u8 = 4;
/// The first of the client's own ports.
const PORTS: u16 = 20_000;

/// All of it; gone when dropped.
pub(crate) struct World {
    pub(crate) measured: Container,
    pub(crate) other: Container,
    client: Netns,
    next: Cell<u16>,
    _link: Link,
}

/// The host's end of a veth; gone when dropped.
struct Link(u32);

impl Drop for Link {
    fn drop(&mut self) {
        // It may have gone with the other end's namespace.
        let _ = Netlink::route().and_then(|netlink| netlink.delete(self.0));
    }
}

/// The whole process and what it starts is the client's cgroup's.
pub(crate) fn join_client_cgroup() {
    let cgroup = format!("{CGROUPS}/client");
    fs::create_dir_all(&cgroup).expect("make the client's cgroup");
    fs::write(format!("{cgroup}/cgroup.procs"), "0").expect("join it");
}

impl World {
    /// The two containers have these parents.
    pub(crate) fn new([measured, other]: [&str; 2]) -> Self {
        for settings in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            set(settings, "1");
        }
        let client = Netns::fresh().expect("the client's network");
        let link = connect(CLIENT, &client);
        let world = Self {
            measured: Container::start(MEASURED, measured),
            other: Container::start(OTHER, other),
            client,
            next: Cell::new(PORTS),
            _link: link,
        };
        for family in [4, 6] {
            let at = SocketAddr::new(ip(MEASURED, family, true), SERVICE_PORT);
            wait::until("the server is reached", wait::SOON, || {
                let reached = world.client.run(|| Ok(TcpStream::connect(at)?));
                reached.ok().map(drop)
            });
        }
        world
    }

    /// Instructions of all repetitions.
    pub(crate) fn measure(&self, operation: Operation, family: u8) -> u64 {
        let (own, server) = (ip(CLIENT, family, true), ip(MEASURED, family, true));
        let mut next = self.next.get();
        let taken = self
            .client
            .run(|| Ok(client::measure(operation, own, server, &mut next)?));
        self.next.set(next);
        taken.unwrap_or_else(|e| panic!("{} over IPv{family}: {e:#}", operation.name()))
    }

    /// Where the clients are.
    pub(crate) fn clients(family: u8) -> String {
        match family {
            4 => "198.51.100.64/28".to_owned(),
            _ => format!(
                "{}/64",
                Ipv6Addr::new(0x2001, 0xdb8, CLIENT.into(), 0, 0, 0, 0, 0)
            ),
        }
    }

    /// The server's address.
    pub(crate) fn server(family: u8) -> IpAddr {
        ip(MEASURED, family, true)
    }
}

/// A container-like process that serves, and its link to the host.
pub(crate) struct Container {
    pub(crate) described: Described,
    parent: Child,
    cgroup: String,
    _link: Link,
}

impl Container {
    fn start(number: u8, parent: &str) -> Self {
        let id = format!("{number:02x}").repeat(32);
        let cgroup = format!("{CGROUPS}/{parent}/{id}");
        fs::create_dir_all(&cgroup).expect("make the cgroup");
        let mut process = Command::new("/proc/self/exe")
            .args(["contained", &cgroup])
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the container");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("stdout"))
            .read_line(&mut line)
            .expect("read its pid");
        let pid = line.trim().parse().expect("a pid");
        let link = connect(number, &Netns::of(pid).expect("its network"));
        Self {
            described: Described {
                id,
                name: "web".to_owned(),
                pid,
            },
            parent: process,
            cgroup,
            _link: link,
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

/// A veth from the host into a network: the far end is called eth0.
fn connect(number: u8, network: &Netns) -> Link {
    const NAMES: [&CStr; 5] = [c"", c"veth1", c"veth2", c"", c"vethc"];
    let (near, far) = (10 + 2 * u32::from(number), 11 + 2 * u32::from(number));
    let end = |name, index, end| End {
        name,
        index,
        mac: mac(number, end),
    };
    let netlink = Netlink::route().expect("netlink");
    let name = NAMES[usize::from(number)];
    netlink
        .add_veth(
            &end(name, near, false),
            &end(c"eth0", far, true),
            network.fd(),
        )
        .expect("a veth");
    let link = Link(near);
    configure(&netlink, near, name, number, false);
    let inside = network.run(|| {
        let netlink = Netlink::route()?;
        netlink.up(1, None)?;
        configure(&netlink, far, c"eth0", number, true);
        for family in [4, 6] {
            let via = ip(number, family, false);
            cmd::ok(&format!(
                "ip -{family} route add default via {via} dev eth0"
            ));
        }
        set("ipv4/tcp_no_metrics_save", "1");
        set("ipv4/tcp_max_tw_buckets", "100000");
        Ok(())
    });
    inside.expect("set up eth0");
    link
}

/// One end: up, with both addresses, and with the other end as a known neighbour.
fn configure(netlink: &Netlink, index: u32, name: &CStr, number: u8, far: bool) {
    let name = name.to_string_lossy();
    for setting in ["accept_dad", "accept_ra", "router_solicitations"] {
        set(&format!("ipv6/conf/{name}/{setting}"), "0");
    }
    netlink.up(index, None).expect("up");
    for (family, prefix) in [(4, PREFIX4), (6, PREFIX6)] {
        netlink
            .add_address(index, ip(number, family, far), prefix)
            .expect("an address");
        netlink
            .add_neighbour(index, ip(number, family, !far), mac(number, !far))
            .expect("a neighbour");
    }
}

/// A setting of this thread's network namespace.
fn set(name: &str, value: &str) {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}"));
}

fn mac(number: u8, far: bool) -> [u8; 6] {
    [2, 0, 0, 0, number, u8::from(far) + 1]
}

/// The address of one end of a link.
fn ip(number: u8, family: u8, far: bool) -> IpAddr {
    let end = u8::from(far) + 1;
    match family {
        4 => Ipv4Addr::new(198, 51, 100, 16 * number + end).into(),
        _ => Ipv6Addr::new(0x2001, 0xdb8, number.into(), 0, 0, 0, 0, end.into()).into(),
    }
}
