//! Promise: a neighbour on the bridge that has CAP_NET_RAW does not come in under a far client's
//! address, and moves no route of a sealed container. What it sends is sent here from its network
//! namespace, by a packet socket, which is all that it needs.

#[path = "neighbours/flood.rs"]
mod flood;
#[path = "neighbours/links.rs"]
mod links;
#[path = "neighbours/next_hop.rs"]
mod next_hop;
#[path = "neighbours/sender.rs"]
mod sender;

use self::flood::Flood;
use self::sender::{ARP, IPV4, IPV6, MOMENT, Mac, Neighbour, SYN_ACK, bridge_mac, mac_of, why};
use airgap::technique::packet::{frame, send};
use airgap::technique::raw::{ipv4, ipv6, pseudo_sum, tcp};
use airgap::technique::sys::{Socket, Step};
use airgap_tests::airgap::{airgap, seal};
use airgap_tests::{Container, Frame, Outside, SERVICE_PORT, Tap, cmd, wait};
use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

fn inbound(web: &Container) -> u64 {
    let status = airgap(&["status", "--json", &web.name]).stdout;
    let json: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let reasons = json["denials"]["by_reason"].as_array().expect("a list");
    let inbound = reasons.iter().find(|pair| pair[0] == "inbound");
    inbound.and_then(|pair| pair[1].as_u64()).unwrap_or(0)
}

#[test]
fn a_neighbour_is_no_far_client() {
    let outside = Outside::new();
    let web = outside.container("web").publish(SERVICE_PORT).run();
    let neighbour = Neighbour::of(&outside);
    let (far4, far6) = (outside.plan.outside4, outside.plan.outside6);
    let served = || outside.get(web.ip4(), SERVICE_PORT, "/").is_ok();
    let gateway = bridge_mac(&outside);
    // The neighbour's port is known, and so is the gateway's address.
    assert!(served(), "the control: the far client");
    assert!(
        neighbour.gets_an_answer(&web, 40_000..40_050),
        "the control: unsealed, the neighbour gets the answer"
    );
    neighbour.claim(&web, gateway);
    for (port, via) in [(41_000, mac_of(&web)), (41_001, gateway)] {
        assert!(
            neighbour.speaks_for(&web, via, far6.into(), port),
            "the control: unsealed, IPv6 by {via:02x?}"
        );
    }
    let from: Vec<String> = [
        IpAddr::from(far4),
        far6.into(),
        neighbour.container.ip4().into(),
        outside.plan.host4.into(),
        outside.plan.gateway4.into(),
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    let mut options: Vec<&str> = from.iter().flat_map(|f| ["--from", f.as_str()]).collect();
    // The host asks by the gateway's address.
    options.extend(["--accept", "proxied-clients"]);
    seal(&web.name, &options);

    let before = inbound(&web);
    assert!(
        !neighbour.gets_an_answer(&web, 43_000..43_020),
        "sealed, IPv4"
    );
    neighbour.claim(&web, gateway);
    for (port, via) in [(42_000, mac_of(&web)), (42_001, gateway)] {
        for far in [IpAddr::from(far4), far6.into()] {
            assert!(!neighbour.speaks_for(&web, via, far, port), "{far} {via:?}");
        }
    }
    // As refused clients, and nothing of it the container's.
    let after = inbound(&web);
    assert!(after >= before + 20, "{before}, {after}");

    // Whoever is who they say is served: far away, by a published port, the host, the neighbour.
    assert!(served(), "the far client");
    let get = |address: IpAddr, port: u16| outside.get(address, port, "/");
    get(web.ip6().into(), SERVICE_PORT).expect("the far client by IPv6");
    let published = web.published(SERVICE_PORT);
    get(outside.plan.host4.into(), published).expect("a published port");
    airgap_tests::http::get(SocketAddr::new(web.ip4().into(), SERVICE_PORT), "/")
        .expect("the host itself");
    let service = format!("{}:{SERVICE_PORT}", web.ip4());
    let fetch = ["airgap-probe", "get", &service, "/"];
    neighbour.container.exec(&fetch).expect_code(0);
}

/// All nodes of a link.
const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A router advertisement for `prefix` (RFC 4861 §4.2, §4.6.2), without its sum.
fn advertisement(prefix: Ipv6Addr) -> Vec<u8> {
    let mut body = vec![134, 0, 0, 0, 64, 0, 0, 60];
    body.extend([0; 8]);
    // On-link, autonomous; valid and preferred for ten minutes.
    body.extend([3, 4, 64, 0xc0]);
    for seconds in [600_u32, 600, 0] {
        body.extend(seconds.to_be_bytes());
    }
    body.extend(prefix.octets());
    body
}

/// The same as a frame of a router with this MAC.
fn advertised(mac: Mac, prefix: Ipv6Addr) -> Vec<u8> {
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
    let protocol = libc::IPPROTO_ICMPV6 as u8;
    let mut body = advertisement(prefix);
    let sum = pseudo_sum(router.into(), ALL.into(), protocol, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = ipv6(router, ALL, protocol, &body);
    packet[7] = 255;
    frame([0x33, 0x33, 0, 0, 0, 1], mac, IPV6, &packet)
}

/// The same with two tags of no VLAN, which a container takes off. The first bytes behind the
/// outer one look like a TCP segment of IPv6 to whoever takes the inner one for no tag.
fn advertised_in_tags(mac: Mac, prefix: Ipv6Addr) -> Vec<u8> {
    const OUTER: [u8; 4] = [0x81, 0, 0, 0];
    // Priority 3, no VLAN: a 6, as the version of IPv6.
    const INNER: [u8; 4] = [0x81, 0, 0x60, 0];
    let mut frame = advertised(mac, prefix);
    // In the flow label, which says nothing.
    frame[16] = libc::IPPROTO_TCP as u8;
    frame.splice(12..12, [OUTER, INNER].concat());
    frame
}

/// As a router on the host does it.
fn advertise(device: &str, prefix: Ipv6Addr) {
    let attempt = || -> Step<()> {
        let socket = Socket::new(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6)?;
        let device = CString::new(device).expect("a name");
        // And nowhere else, whatever the routes say.
        socket.bind_device(&device)?;
        let (level, hops) = (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS);
        socket.set("hops", level, hops, &255_i32)?;
        socket.send_to(&advertisement(prefix), 0, (ALL, 0).into())
    };
    if let Err(fail) = attempt() {
        panic!("cannot advertise on {device}: {}", why(fail));
    }
}

fn has_prefix(container: &Container, prefix: Ipv6Addr) -> bool {
    let line = format!("nsenter -t {} -n ip -6 addr show dev eth0", container.pid());
    let text = prefix.to_string();
    cmd::ok(&line).contains(text.trim_end_matches("::"))
}

#[test]
fn a_neighbour_is_no_router() {
    let outside = Outside::new();
    let accept = ["--sysctl", "net.ipv6.conf.all.accept_ra=2"];
    let accept = accept
        .into_iter()
        .chain(["--sysctl", "net.ipv6.conf.default.accept_ra=2"]);
    let accept: Vec<_> = accept.collect();
    let web = outside.container("web").options(&accept).run();
    let other = outside.container("other").options(&accept).run();
    let neighbour = Neighbour::of(&outside);
    let to_all = [0x33, 0x33, 0, 0, 0, 1];
    let prefix = |net| Ipv6Addr::new(0x2001, 0xdb8, net, 1, 0, 0, 0, 0);
    let [a, b, c] = [0xdead, 0xbeef, 0xcafe].map(prefix);
    let own = mac_of(&neighbour.container);
    seal(&web.name, &[]);
    let before = inbound(&web);
    wait::until("the control: it takes one in tags, too", wait::SOON, || {
        neighbour.put(to_all, &advertised_in_tags(own, c));
        has_prefix(&other, c).then_some(())
    });
    wait::until("the control: the unsealed one takes it", wait::SOON, || {
        neighbour.put(to_all, &advertised(own, a));
        has_prefix(&other, a).then_some(())
    });
    wait::until("the host's own is taken", wait::SOON, || {
        advertise(&outside.plan.bridge, b);
        has_prefix(&web, b).then_some(())
    });
    assert!(!has_prefix(&web, a), "the sealed one took a neighbour's");
    assert!(!has_prefix(&web, c), "the sealed one took one in tags");
    assert!(inbound(&web) > before, "and it is counted");
}

/// IPv4 redirects change the route to one address (RFC 792); a neighbour's do not arrive.
#[test]
fn a_neighbour_redirects_nothing() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    let neighbour = Neighbour::of(&outside);
    let tap = Tap::inside(&web.netns(), "eth0");
    let redirect = |mark: u8| {
        let (gateway, own): (Ipv4Addr, Mac) = (outside.plan.gateway4, mac_of(&neighbour.container));
        let inner = tcp(
            (web.ip4().into(), SERVICE_PORT),
            SocketAddr::new(outside.plan.outside4.into(), 40_000),
            SYN_ACK,
            b"",
        );
        let mut body = vec![5, 1, 0, 0];
        body.extend(neighbour.container.ip4().octets());
        body.extend(ipv4(
            web.ip4(),
            outside.plan.outside4,
            libc::IPPROTO_TCP,
            &inner,
        ));
        body.push(mark);
        let sum = airgap::technique::icmp::checksum(&[&body]);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        let packet = ipv4(gateway, web.ip4(), libc::IPPROTO_ICMP, &body);
        neighbour.put(mac_of(&web), &frame(mac_of(&web), own, IPV4, &packet));
        tap.watch(MOMENT, |f| {
            f.ip().is_some_and(|ip| {
                ip.protocol == 1
                    && f.bytes.get(ip.transport) == Some(&5)
                    && f.bytes.last() == Some(&mark)
            })
        })
        .is_some()
    };
    let arrives = |mark| wait::until("it arrives", wait::SOON, || redirect(mark).then_some(()));
    arrives(1);
    seal(&web.name, &[]);
    assert!(!(0..5).any(|_| redirect(2)), "sealed");
}

/// What an engine says of a container from outside its cgroup is no attempt of the container's;
/// the container's own packet sockets say nothing.
#[test]
fn others_announce_the_containers_own_address() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    let bridge = Tap::host(&outside.plan.bridge);
    let mac = mac_of(&web);
    // From its network namespace, on a socket of this process.
    let heard = |address: Ipv4Addr, kind: u8, target: Mac, window: Duration| {
        let mut body = vec![0, 1, 8, 0, 6, 4, 0, kind];
        body.extend(mac);
        body.extend(address.octets());
        body.extend(target);
        body.extend(address.octets());
        let bytes = frame([0xff; 6], mac, ARP, &body);
        bridge.barrier();
        bridge.clear();
        let sent = web.netns().run(|| {
            let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
            send(&socket, c"eth0", [0xff; 6], &bytes)
        });
        if let Err(fail) = sent {
            panic!("cannot send: {}", why(fail));
        }
        bridge
            .watch(window, |f| f.bytes.starts_with(&bytes))
            .is_some()
    };
    let other = outside.plan.gateway4;
    assert!(heard(other, 2, mac, wait::SOON), "the control");
    seal(&web.name, &[]);
    for (kind, target) in [(1, [0; 6]), (1, [0xff; 6]), (2, mac)] {
        assert!(
            heard(web.ip4(), kind, target, wait::SOON),
            "{kind} {target:?}"
        );
    }
    assert!(!heard(other, 2, mac, MOMENT), "another's address");
    assert!(!heard(web.ip4(), 3, mac, MOMENT), "another kind");
    assert!(!heard(web.ip4(), 1, *b"secret", MOMENT), "with a word");
    assert_eq!(told(&web), Vec::<String>::new());

    // The same frame from inside.
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let line = [
        "airgap-probe",
        "hold",
        "announce",
        "--v4",
        &v4,
        "--v6",
        &v6,
        "--port",
        "20000",
    ];
    let inside = outside.container("announcer").command(&line).run();
    let own = mac_of(&inside);
    let announced = |window| {
        let announcement = |f: &Frame| {
            f.ethertype() == ARP && f.source_mac() == own && f.bytes.get(32..38) == Some(&[0xff; 6])
        };
        bridge.watch(window, announcement).is_some()
    };
    assert!(announced(wait::SOON), "the control");
    seal(&inside.name, &[]);
    bridge.barrier();
    bridge.clear();
    assert!(!announced(MOMENT), "from inside");
    assert_eq!(told(&inside), ["frame"]);
}

/// Neighbours that ask pay for the answers themselves: the flood of one takes them from nobody.
#[test]
fn a_flood_of_questions_silences_no_service() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    let neighbour = Neighbour::of(&outside);
    let tap = Tap::inside(&web.netns(), "eth0");
    // Once: the engine is asked for it.
    let own = mac_of(&neighbour.container);
    let served = |under: &str| {
        let flood = Flood::start(&neighbour, &web);
        let asked = |f: &Frame| f.ethertype() == ARP && f.source_mac() == own;
        tap.clear();
        wait::until("the flood arrives", wait::SOON, || {
            (tap.frames().iter().filter(|f| asked(f)).count() > 500).then_some(())
        });
        let served = (0..8).filter(|_| is_served(&outside, &web)).count();
        drop(flood);
        assert_eq!(served, 8, "{under}");
    };
    served("unsealed");
    seal(&web.name, &[]);
    served("sealed");
    let reasons = told(&web);
    assert!(reasons.is_empty(), "{reasons:?}");
}

/// Whether a client that knows no hardware address yet is served, by both versions of IP.
fn is_served(outside: &Outside, web: &Container) -> bool {
    cmd::ok(&format!("ip neigh flush dev {}", outside.plan.bridge));
    let get = |ip: IpAddr| outside.get(ip, SERVICE_PORT, "/fresh").is_ok();
    get(web.ip4().into()) && get(web.ip6().into())
}

/// Reasons of what `tail` would show.
fn told(web: &Container) -> Vec<String> {
    let status = airgap(&["status", "--json", &web.name]).stdout;
    let json: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let reasons = json["denials"]["by_reason"].as_array().expect("a list");
    let told = reasons.iter().filter_map(|pair| pair[0].as_str());
    let told = told.filter(|reason| !["inbound", "kernel-chatter"].contains(reason));
    told.map(str::to_owned).collect()
}
