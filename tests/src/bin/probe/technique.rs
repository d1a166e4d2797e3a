//! The table of ways out and the report about one of them.

use crate::sys::{Fail, Step};
use crate::target::Target;
use crate::{dns, icmp, join, options, packet, raw, reflect, tcp, udp, uring};
use serde_json::json;
use std::time::{Duration, Instant};

type Technique = fn(&Target) -> Step<()>;

/// Every way out. A line here and one in the harness's `techniques.rs` add one.
pub(crate) const TABLE: &[(&str, Technique)] = &[
    ("tcp4", tcp::v4),
    ("tcp6", tcp::v6),
    ("tcp-mapped", tcp::mapped),
    ("tcp4-nonblocking", tcp::nonblocking),
    ("tcp4-fastopen", tcp::fastopen4),
    ("tcp6-fastopen", tcp::fastopen6),
    ("tcp4-fastopen-connect", tcp::fastopen_connect),
    ("tcp4-sport5060", tcp::sport4),
    ("tcp6-sport5060", tcp::sport6),
    ("tcp4-bindtodevice", tcp::bind_to_device),
    ("tcp4-listener", tcp::listener_connect),
    ("tcp4-accepted", tcp::accepted_connect),
    ("tcp4-gateway", tcp::gateway),
    ("mptcp4", tcp::mptcp4),
    ("mptcp6", tcp::mptcp6),
    ("udp4", udp::v4),
    ("udp6", udp::v6),
    ("udp-mapped", udp::mapped),
    ("udp4-connected", udp::connected4),
    ("udp6-connected", udp::connected6),
    ("udp-mapped-connected", udp::connected_mapped),
    ("udp4-sendmmsg", udp::sendmmsg),
    ("udp4-corked", udp::corked),
    ("udp4-sport5060", udp::sport4),
    ("udp4-gateway", udp::gateway),
    ("udp4-broadcast", udp::broadcast),
    ("udp4-multicast", udp::multicast4),
    ("udp6-multicast", udp::multicast6),
    ("udplite4", udp::lite4),
    ("udplite6", udp::lite6),
    ("ping4", icmp::ping4),
    ("ping6", icmp::ping6),
    ("raw4-icmp", icmp::raw4),
    ("raw6-icmp", icmp::raw6),
    ("raw6-ns", icmp::neighbour_solicitation),
    ("raw4-udp", raw::udp4),
    ("raw4-tcp-syn", raw::syn4),
    ("raw4-tcp-data", raw::data4),
    ("raw4-tcp-rst", raw::rst4),
    ("raw4-ipip", raw::ipip),
    ("raw6-tcp", raw::tcp6),
    ("raw6-hdrincl", raw::hdrincl6),
    ("raw6-proto253", raw::proto253),
    ("raw4-lo-echo", raw::lo_echo4),
    ("raw6-lo-echo", raw::lo_echo6),
    ("lo-lsrr-tcp4", options::lsrr_tcp),
    ("lo-lsrr-udp4", options::lsrr_udp),
    ("lo-srh-udp6", options::srh_udp),
    ("lo-srh-tcp6", options::srh_tcp),
    ("transparent-synack4", reflect::transparent_synack),
    (
        "transparent-synack4-int80",
        reflect::transparent_synack_int80,
    ),
    ("transparent-unreach4", reflect::transparent_unreach),
    ("freebind-synack6", reflect::freebind_synack),
    ("freebind-unreach6", reflect::freebind_unreach),
    ("dns-embedded", dns::embedded),
    ("dns-embedded-connected", dns::embedded_connected),
    ("dns-embedded-mapped", dns::embedded_mapped),
    ("dns-embedded-tcp", dns::embedded_tcp),
    ("dns-embedded-port", dns::embedded_port),
    ("dns-direct", dns::direct),
    ("dns-direct-tcp", dns::direct_tcp),
    ("uring-tcp4", uring::tcp4),
    ("uring-udp4", uring::udp4),
    ("igmp-join", join::igmp),
    ("igmp-join-int80", join::igmp_int80),
    ("mld-join", join::mld),
    ("packet-raw", packet::raw),
    ("packet-raw-sport5060", packet::raw_service_port),
    ("packet-dgram", packet::dgram),
    ("packet-qdisc-bypass", packet::qdisc_bypass),
    ("packet-lo-forward", packet::lo_forward),
    ("packet-arp-trailer", packet::arp_trailer),
];

/// Tries one technique and prints its report.
pub(crate) fn run(name: &str, target: &Target) -> Result<(), String> {
    let (_, technique) = TABLE
        .iter()
        .find(|(n, _)| *n == name)
        .ok_or_else(|| format!("no technique {name}"))?;
    report(name, target, *technique);
    Ok(())
}

/// Tries one technique every 20 ms until killed.
pub(crate) fn knock(name: &str, target: &Target) -> Result<(), String> {
    loop {
        run(name, target)?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One JSON line: technique, outcome, errno, micros, detail.
pub(crate) fn report(name: &str, target: &Target, technique: Technique) {
    let start = Instant::now();
    let result = technique(target);
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (outcome, errno, detail) = match result {
        Ok(()) => ("sent", 0, String::new()),
        Err(Fail::Skip(why)) => ("skipped", 0, why),
        Err(Fail::Os { step, errno }) => (outcome(step, errno), errno, step.to_owned()),
    };
    println!(
        "{}",
        json!({
            "technique": name, "outcome": outcome, "errno": errno,
            "micros": micros, "detail": detail,
        })
    );
}

fn outcome(step: &str, errno: i32) -> &'static str {
    match errno {
        // The peer's own answer: the question got there.
        libc::ECONNREFUSED | libc::ECONNRESET => "sent",
        libc::EINPROGRESS | libc::ETIMEDOUT | libc::EAGAIN => "no-answer",
        libc::EAFNOSUPPORT | libc::ENOSYS | libc::ENOPROTOOPT
            if matches!(step, "socket" | "io_uring_setup") =>
        {
            "skipped"
        }
        _ => "refused",
    }
}
