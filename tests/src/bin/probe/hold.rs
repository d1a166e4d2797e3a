//! Sockets opened once, to be used again and again: what is older than a seal.

use airgap::technique::icmp::echo;
use airgap::technique::sys::{Fail, Socket, Step};
use airgap::technique::target::Target;
use airgap::technique::{join, packet, raw, xdp};
use airgap_tests::SERVICE_PORT;
use serde_json::json;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::serve;

/// Opens one socket of each kind, says so, then sends `held-KIND` on each every 50 ms.
pub(crate) fn run(kinds: &str, target: &Target) -> Result<(), String> {
    let mut held = Vec::new();
    for kind in kinds.split(',') {
        // With a question mark: if it can be had, as after a restart under a seal.
        let (kind, wanted) = match kind.strip_suffix('?') {
            Some(kind) => (kind, false),
            None => (kind, true),
        };
        match open(kind, target) {
            Ok(socket) => held.push((kind, socket)),
            Err(Fail::Os { step, errno }) if wanted => {
                return Err(format!("{kind}: {step}: errno {errno}"));
            }
            Err(Fail::Skip(why)) if wanted => return Err(format!("{kind}: {why}")),
            Err(_) => {}
        }
    }
    println!("{}", json!({ "technique": "hold", "outcome": "holding" }));
    loop {
        for (kind, socket) in &held {
            // Failing is what a seal is for.
            drop(send(kind, socket, target));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Tries for a while: the first second of a container's IPv6 is duplicate address detection.
fn connected(open: fn(SocketAddr) -> Step<Socket>, at: SocketAddr) -> Step<Socket> {
    let mut tries = 10;
    loop {
        let socket = open(at)?;
        match socket.connect(at) {
            Ok(()) => return Ok(socket),
            Err(_) if tries > 0 => tries -= 1,
            Err(fail) => return Err(fail),
        }
    }
}

/// What is held.
enum Held {
    Socket(Socket),
    /// A member of a group, which it leaves and joins again.
    Member(Socket),
    /// A socket that sends frames from memory.
    Xdp(xdp::Loaded),
}

fn open(kind: &str, t: &Target) -> Step<Held> {
    match kind {
        "group4" => join::member4(t).map(Held::Member),
        "group6" => join::member6(t).map(Held::Member),
        "node6" => node(t).map(Held::Socket),
        "xdp" => xdp::load(t, &frame("held-xdp", t)?).map(Held::Xdp),
        _ => socket(kind, t).map(Held::Socket),
    }
}

fn frame(marker: &str, t: &Target) -> Step<Vec<u8>> {
    let datagram = raw::udp(5060, t.port, marker.as_bytes());
    let packet = raw::ipv4(t.own4()?, t.v4, libc::IPPROTO_UDP, &datagram);
    Ok(packet::frame(
        t.gateway_mac,
        t.own_mac()?,
        packet::IPV4,
        &packet,
    ))
}

fn socket(kind: &str, t: &Target) -> Step<Socket> {
    match kind {
        "tcp4" => connected(Socket::tcp, t.at4()),
        "service4" => service(t),
        "tcp6" => connected(Socket::tcp, t.at6()),
        "udp4" => connected(Socket::udp, t.at4()),
        "udp6" => connected(Socket::udp, t.at6()),
        "raw4" => Socket::new(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        "raw6" => {
            let socket = Socket::new(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6)?;
            let (level, hops) = (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS);
            socket.set("IPV6_UNICAST_HOPS", level, hops, &255_i32)?;
            Ok(socket)
        }
        "packet" | "announce" => Socket::open(libc::AF_PACKET, libc::SOCK_RAW, 0),
        _ => Err(Fail::Skip("no such kind".to_owned())),
    }
}

/// An ARP announcement of the own address (RFC 5227), as arping(8) makes it.
fn announcement(t: &Target) -> Step<Vec<u8>> {
    let (mac, own) = (t.own_mac()?, t.own4()?.octets());
    let body = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &mac, &own, &[0xff; 6], &own].concat();
    Ok(packet::frame([0xff; 6], mac, packet::ARP, &body))
}

/// A member of the solicited-node group of an address that is not its own.
fn node(t: &Target) -> Step<Socket> {
    let socket = Socket::udp(t.at6())?;
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, 0x3456);
    let mut request = group.octets().to_vec();
    request.extend(t.index()?.to_ne_bytes());
    let option = libc::IPV6_ADD_MEMBERSHIP;
    socket.set_bytes("join", libc::IPPROTO_IPV6, option, &request)?;
    Ok(socket)
}

/// A connection of its own out of the port that it serves.
fn service(t: &Target) -> Step<Socket> {
    std::thread::spawn(|| serve::run(SERVICE_PORT));
    let socket = Socket::tcp(t.at4())?;
    socket.share_port()?;
    socket.bind(SocketAddr::new(t.own4()?.into(), SERVICE_PORT))?;
    let mut tries = 10;
    while let Err(fail) = socket.connect(t.at4()) {
        tries -= 1;
        if tries == 0 {
            return Err(fail);
        }
    }
    Ok(socket)
}

fn send(kind: &str, held: &Held, t: &Target) -> Step<()> {
    let socket = match held {
        Held::Socket(socket) => socket,
        Held::Member(socket) => return join::again(socket, kind == "group4", t),
        Held::Xdp(loaded) => {
            loaded.post();
            return loaded.kick().and(loaded.poll());
        }
    };
    let marker = format!("held-{kind}");
    match kind {
        "raw4" => {
            let at = SocketAddr::new(t.v4.into(), 0);
            socket.send_to(&echo(8, marker.as_bytes()), 0, at)
        }
        "raw6" => {
            // Dressed up as neighbour discovery; the asked address carries the marker.
            let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
            message.extend(marker.as_bytes());
            message.resize(24, 0);
            socket.send_to(&message, 0, SocketAddr::new(t.v6.into(), 0))
        }
        "announce" => packet::send(socket, &t.device, [0xff; 6], &announcement(t)?),
        "packet" => packet::send(socket, &t.device, t.gateway_mac, &frame(&marker, t)?),
        _ => socket.send(marker.as_bytes(), 0),
    }
}
