//! The outside world, recorded from before the engine starts.

use super::place::{HOST4, HOST6, NET4, NET6, OUTSIDE4, OUTSIDE6};
use crate::{Frame, Tap, cmd, netns::Netns, wait};
use std::{
    fs::{self, File},
    io::Write as _,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

/// The namespace.
pub const NAME: &str = "outside";
const RECORD: &str = "/run/airgap-sink";
/// Where [`barrier`] sends to.
const BARRIER: u16 = 9;

/// Makes the namespace, then records until killed.
///
/// # Panics
/// When it cannot be made, or nothing recorded.
pub fn run() -> ! {
    for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        let path = format!("/proc/sys/net/{path}");
        fs::write(&path, "1").unwrap_or_else(|e| panic!("{path}: {e}"));
    }
    for line in [
        format!("ip netns add {NAME}"),
        format!("ip link add sink0 type veth peer name out0 netns {NAME}"),
        format!("ip -n {NAME} link set lo up"),
        format!("ip -n {NAME} link set out0 up"),
        "ip link set sink0 up".to_owned(),
        format!("ip -4 addr add {HOST4}/28 dev sink0"),
        format!("ip -6 addr add {HOST6}/64 dev sink0 nodad"),
        format!("ip -n {NAME} -4 addr add {OUTSIDE4}/28 dev out0"),
        format!("ip -n {NAME} -6 addr add {OUTSIDE6}/64 dev out0 nodad"),
        format!("ip -n {NAME} -4 route add {NET4} via {HOST4}"),
        format!("ip -n {NAME} -6 route add {NET6} via {HOST6}"),
    ] {
        cmd::ok(&line);
    }
    let mut record = File::create(RECORD).unwrap_or_else(|e| panic!("{RECORD}: {e}"));
    let tap = Tap::inside(&Netns::named(NAME), "out0");
    airgap::host::sd_notify::notify("READY=1").expect("tell systemd");
    let mut seen = 0;
    loop {
        let frames = tap.frames();
        for frame in frames.iter().skip(seen).filter(|frame| !frame.outgoing) {
            writeln!(record, "{}", line(frame)).unwrap_or_else(|e| panic!("{RECORD}: {e}"));
        }
        seen = frames.len();
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Source, protocol, destination port, or what else it is.
fn line(frame: &Frame) -> String {
    match frame.ip() {
        _ if frame.is_neighbour_discovery() || frame.is_link_local() => "link".to_owned(),
        None => format!("ethertype {:04x}", frame.ethertype()),
        Some(ip) => {
            let port = frame.ports().map_or(0, |(_, to)| to);
            format!("{} {} {port}", ip.source, ip.protocol)
        }
    }
}

/// One frame that is neither neighbour discovery nor a kernel's own link-local chatter.
#[derive(Debug)]
pub struct Arrival {
    /// An address, or how else the frame is called.
    pub source: String,
    /// 6 for TCP, 17 for UDP.
    pub protocol: u8,
    /// Where to; 0 where there are no ports.
    pub port: u16,
}

/// What has arrived since this boot, but for the machine's own.
///
/// # Panics
/// When nothing is recorded.
#[must_use]
pub fn arrivals() -> Vec<Arrival> {
    let mut all = everything();
    all.retain(|arrival| arrival.source != HOST4 && arrival.source != HOST6);
    all
}

/// What has arrived since this boot, the machine's own and what it sent in its own name for a
/// container included: everything until now, as a datagram sent now comes last.
///
/// # Panics
/// When nothing is recorded.
#[must_use]
pub fn everything() -> Vec<Arrival> {
    let before = read().iter().filter(|a| a.port == BARRIER).count();
    let socket = UdpSocket::bind((HOST4, 0)).expect("bind");
    let outside: SocketAddr = format!("{OUTSIDE4}:{BARRIER}").parse().expect("an address");
    socket.send_to(b"barrier", outside).expect("send");
    wait::until("the sink records", wait::SOON, || {
        let now = read();
        (now.iter().filter(|a| a.port == BARRIER).count() > before).then_some(())
    });
    read()
}

fn read() -> Vec<Arrival> {
    let text = fs::read_to_string(RECORD).unwrap_or_else(|e| panic!("{RECORD}: {e}"));
    let lines = text
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'));
    let arrivals = lines.filter(|line| *line != "link").map(|line| {
        let mut words = line.split(' ');
        Arrival {
            source: words.next().unwrap_or_default().to_owned(),
            protocol: words.next().and_then(|w| w.parse().ok()).unwrap_or(0),
            port: words.next().and_then(|w| w.parse().ok()).unwrap_or(0),
        }
    });
    arrivals.collect()
}
