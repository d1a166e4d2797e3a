//! Sends before anything else, in every way it knows, then serves.

use crate::{attempt, serve};
use airgap::technique::target::Target;
use serde_json::json;

const WAYS: [&str; 9] = [
    "udp4",
    "udp6",
    "tcp4",
    "tcp6",
    "raw4-icmp",
    "raw6-icmp",
    "raw4-udp",
    "raw6-ns",
    "packet-raw",
];

pub(crate) fn run(target: &Target) -> Result<(), String> {
    for way in WAYS {
        attempt::run(way, target)?;
    }
    println!(
        "{}",
        json!({ "technique": "beacon-done", "outcome": "serving" })
    );
    serve::run(5060)
}
