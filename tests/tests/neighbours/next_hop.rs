//! Promise: a neighbour on the bridge does not get what is meant for a client beyond it, neither
//! when it takes the gateway's address, nor when root inside sends as if the client were on the
//! link. Both are tried over both protocols and both versions of IP, each with its control.

use super::sender::{IPV6, MOMENT, Mac, Neighbour, bridge_mac, mac_of};
use airgap::technique::packet::frame;
use airgap::technique::raw::{ipv6, pseudo_sum};
use airgap_tests::airgap::{airgap, seal};
use airgap_tests::internal::Internal;
use airgap_tests::reach::Reach;
use airgap_tests::udp::refused;
use airgap_tests::{Container, Frame, Outside, SERVICE_PORT, cmd, wait};
use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Of TCP; of UDP it is the usual one.
const PORT: u16 = 8000;
const VERSIONS: [&str; 2] = ["4", "6"];

fn address(web: &Container, version: &str) -> IpAddr {
    match version {
        "6" => web.ip6().into(),
        _ => web.ip4().into(),
    }
}

fn client(outside: &Outside, version: &str) -> IpAddr {
    match version {
        "6" => outside.plan.outside6.into(),
        _ => outside.plan.outside4.into(),
    }
}

fn gateway(outside: &Outside, version: &str) -> IpAddr {
    match version {
        "6" => outside.plan.gateway6.into(),
        _ => outside.plan.gateway4.into(),
    }
}

/// Says to `web` that `mac` has this address, by ARP or a neighbour advertisement (RFC 4861 §4.4).
fn claim(neighbour: &Neighbour<'_>, web: &Container, address: IpAddr, mac: Mac) {
    let target = match address {
        IpAddr::V4(address) => return neighbour.claim_as(web, address, mac),
        IpAddr::V6(target) => target,
    };
    let from = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
    let protocol = libc::IPPROTO_ICMPV6 as u8;
    // Solicited, and to override what is known.
    let mut body = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
    body.extend(target.octets());
    body.extend([2, 1]);
    body.extend(mac);
    let sum = pseudo_sum(from.into(), web.ip6().into(), protocol, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = ipv6(from, web.ip6(), protocol, &body);
    packet[7] = 255;
    let own = mac_of(&neighbour.container);
    neighbour.put(mac_of(web), &frame(mac_of(web), own, IPV6, &packet));
}

/// As after a minute without a word.
fn forget_neighbours(container: &Container) {
    let pid = container.pid();
    cmd::ok(&format!("nsenter -t {pid} -n ip neigh flush dev eth0"));
}

/// How root inside sends, and whose address the neighbour takes for it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Gateway,
    OnLink,
}

struct World<'a> {
    outside: &'a Outside,
    web: &'a Container,
    neighbour: &'a Neighbour<'a>,
    reach: Reach,
}

impl World<'_> {
    /// Whether `marker`, sent by this order, reaches the neighbour before `refusals` of the container's are counted.
    fn gets(
        &mut self,
        way: Way,
        version: &str,
        (order, marker): (&str, &str),
        refusals: Option<u64>,
    ) -> bool {
        let taken = match way {
            Way::Gateway => gateway(self.outside, version),
            Way::OnLink => client(self.outside, version),
        };
        let what = format!("{marker} arrives, or is refused");
        wait::until(&what, wait::SOON, || {
            self.reach.does(&format!("{order} {marker}"));
            claim(
                self.neighbour,
                self.web,
                taken,
                mac_of(&self.neighbour.container),
            );
            let own = mac_of(&self.neighbour.container);
            let got = |f: &Frame| f.contains(marker) && f.bytes.starts_with(&own);
            if self.neighbour.tap.watch(MOMENT, got).is_some() {
                return Some(true);
            }
            let refused = || refused(self.web, "next-hop");
            refusals
                .is_some_and(|most| refused() > most)
                .then_some(false)
        })
    }

    /// The gateway is who it was.
    fn repair(&self) {
        forget_neighbours(self.web);
    }

    /// A connection that a client outside opened, as `c`, and its far end.
    fn opened(&mut self, version: &str) -> TcpStream {
        let to = SocketAddr::new(address(self.web, version), PORT);
        let connect = || TcpStream::connect_timeout(&to, wait::SOON).expect("a client outside");
        let far = self.outside.netns.run(connect);
        far.set_read_timeout(Some(wait::SOON)).expect("setsockopt");
        self.reach.does(&format!("accept c l{version}"));
        self.reach.does("send c greeting");
        let mut greeting = [0; 8];
        (&far).read_exact(&mut greeting).expect("it is served");
        far
    }

    /// Whether bytes for that client reach the neighbour.
    fn leaks_tcp(&mut self, way: Way, version: &str, refusals: Option<u64>) -> bool {
        let far = self.opened(version);
        if way == Way::OnLink {
            self.reach.does("onlink c eth0");
        } else {
            let own = mac_of(&self.neighbour.container);
            claim(
                self.neighbour,
                self.web,
                gateway(self.outside, version),
                own,
            );
        }
        let marker = format!("tcp-{way:?}-{version}-{}", refusals.is_some());
        let got = self.gets(way, version, ("send c", &marker), refusals);
        self.reach.does("close c");
        self.repair();
        drop(far);
        got
    }

    /// The same of a datagram, from a socket that answered by the host before.
    fn leaks_udp(&mut self, way: Way, version: &str, refusals: Option<u64>) -> bool {
        let at = SocketAddr::new(client(self.outside, version), 0);
        let far = self
            .outside
            .netns
            .run(|| UdpSocket::bind(at).expect("bind"));
        far.set_read_timeout(Some(wait::SOON)).expect("setsockopt");
        let to = SocketAddr::new(address(self.web, version), SERVICE_PORT);
        let at = far.local_addr().expect("getsockname");
        self.reach
            .does(&format!("serve u {version} {SERVICE_PORT}"));
        far.send_to(b"question", to).expect("a client outside");
        self.reach.does("hear u");
        self.reach.does(&format!("to u {at} answer"));
        far.recv(&mut [0; 16]).expect("it is served");
        if way == Way::OnLink {
            self.reach.does("onlink u eth0");
        } else {
            let own = mac_of(&self.neighbour.container);
            claim(
                self.neighbour,
                self.web,
                gateway(self.outside, version),
                own,
            );
        }
        let marker = format!("udp-{way:?}-{version}-{}", refusals.is_some());
        let got = self.gets(way, version, (&format!("to u {at}"), &marker), refusals);
        self.reach.does("close u");
        self.repair();
        got
    }
}

#[test]
fn what_is_for_a_far_client_goes_by_the_host_alone() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    let neighbour = Neighbour::of(&outside);
    let mut world = World {
        outside: &outside,
        web: &web,
        neighbour: &neighbour,
        reach: Reach::new(&web),
    };
    for version in VERSIONS {
        world.reach.does(&format!("bare l{version} {version}"));
        world.reach.does(&format!("listen l{version} {PORT}"));
    }
    // IPv6 knows no SO_DONTROUTE.
    let all = [(Way::Gateway, "4"), (Way::Gateway, "6"), (Way::OnLink, "4")];
    for (way, version) in all {
        assert!(
            world.leaks_tcp(way, version, None),
            "the control: {way:?} {version}"
        );
        assert!(
            world.leaks_udp(way, version, None),
            "the control: {way:?} {version}"
        );
    }
    let (far4, far6) = (
        client(&outside, "4").to_string(),
        client(&outside, "6").to_string(),
    );
    let port = PORT.to_string();
    let options = [
        "-p", &port, "-p", "5060/udp", "--from", &far4, "--from", &far6,
    ];
    seal(&web.name, &options);
    for (way, version) in all {
        let before = refused(&web, "next-hop");
        assert!(
            !world.leaks_tcp(way, version, Some(before)),
            "TCP, {way:?} {version}"
        );
        let before = refused(&web, "next-hop");
        assert!(
            !world.leaks_udp(way, version, Some(before)),
            "UDP, {way:?} {version}"
        );
    }
    let secrets = |f: &Frame| f.contains("-true");
    assert!(!neighbour.tap.incoming().iter().any(secrets));
    // And whoever is who they say is served.
    for version in VERSIONS {
        world.opened(version);
        world.reach.does("close c");
    }
}

/// Whether it is served by the service's own HTTP.
fn is_served(outside: &Outside, at: IpAddr, port: u16) -> bool {
    let get = || outside.get(at, port, "/").is_ok();
    wait::within(Duration::from_secs(3), || get().then_some(())).is_some()
}

#[test]
fn who_is_served_stays_served() {
    let outside = Outside::new();
    let web = outside.container("web").publish(SERVICE_PORT).run();
    let neighbour = Neighbour::of(&outside);
    let internal = Internal::new(&outside);
    let plan = &outside.plan;
    let from: Vec<String> = [
        IpAddr::from(plan.outside4),
        plan.outside6.into(),
        neighbour.container.ip4().into(),
        neighbour.container.ip6().into(),
        internal.plan.gateway4.into(),
        plan.host4.into(),
        plan.gateway4.into(),
        plan.gateway6.into(),
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    let mut options: Vec<&str> = from.iter().flat_map(|f| ["--from", f.as_str()]).collect();
    options.extend(["--accept", "proxied-clients"]);
    seal(&web.name, &options);
    let fetch = |from: &Container, at: SocketAddr| {
        let service = at.to_string();
        from.exec(&["airgap-probe", "get", &service, "/"]).code == 0
    };
    // Later it has more than one.
    let (ip4, ip6) = (web.ip4(), web.ip6());
    let everybody = |when: &str| {
        assert!(is_served(&outside, ip4.into(), SERVICE_PORT), "{when}: far");
        assert!(
            is_served(&outside, ip6.into(), SERVICE_PORT),
            "{when}: far, IPv6"
        );
        let published = web.published(SERVICE_PORT);
        assert!(
            is_served(&outside, plan.host4.into(), published),
            "{when}: published"
        );
        for at in [IpAddr::from(ip4), ip6.into()] {
            let at = SocketAddr::new(at, SERVICE_PORT);
            airgap_tests::http::get(at, "/").expect("the host itself");
            assert!(
                fetch(&neighbour.container, at),
                "{when}: the neighbour, {at}"
            );
        }
        let proxied = SocketAddr::new(plan.gateway4.into(), published);
        assert!(
            fetch(&neighbour.container, proxied),
            "{when}: by the host's proxy"
        );
    };
    everybody("sealed");
    // The bridge may get another address: nobody tells airgap.
    let set = |mac: Mac| {
        let text = mac.map(|byte| format!("{byte:02x}")).join(":");
        cmd::ok(&format!("ip link set {} address {text}", plan.bridge));
        // Those that knew the old one ask anew.
        forget_neighbours(&web);
        forget_neighbours(&neighbour.container);
    };
    let first = bridge_mac(&outside);
    set([2, 0x42, 9, 9, 9, 9]);
    everybody("with another address of the bridge");
    set(first);

    // A second network, and without it again.
    let connect = |verb: &str| {
        let line = format!("docker network {verb} {} {}", internal.plan.name, web.name);
        cmd::ok(&line);
    };
    connect("connect");
    seal(&web.name, &options);
    let network = &internal.plan.name;
    let on_second = cmd::run(
        "docker",
        &[
            "inspect",
            "-f",
            &format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"),
            &web.name,
        ],
    );
    let on_second: IpAddr = on_second.stdout.trim().parse().expect("an address");
    let at = SocketAddr::new(on_second, SERVICE_PORT);
    airgap_tests::http::get(at, "/").expect("the host, on the second network");
    everybody("with a second network");
    connect("disconnect");
    everybody("without it");
    assert_eq!(refused(&web, "next-hop"), 0);
    let status = airgap(&["status", &web.name]).stdout;
    assert!(
        status.contains("can pose as one that is there, too"),
        "{status}"
    );
}
