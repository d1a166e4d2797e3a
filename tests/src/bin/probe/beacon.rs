//! Sends before anything else, in every way it knows, then serves.

use crate::{attempt::report, serve};
use airgap::technique::target::Target;
use airgap::technique::{icmp, packet, raw, tcp, udp};
use serde_json::json;

pub(crate) fn run(target: &Target) -> Result<(), String> {
    report("udp4", target, udp::v4);
    report("udp6", target, udp::v6);
    report("tcp4", target, tcp::v4);
    report("tcp6", target, tcp::v6);
    report("raw4-icmp", target, icmp::raw4);
    report("raw6-icmp", target, icmp::raw6);
    report("raw4-udp", target, raw::udp4);
    report("raw6-ns", target, icmp::neighbour_solicitation);
    report("packet-raw", target, packet::raw);
    println!(
        "{}",
        json!({ "technique": "beacon-done", "outcome": "serving" })
    );
    serve::run(5060)
}
