//! A service that phones home from its first instruction on, and again each second.

use crate::{attempt, serve};
use airgap::technique::target::Target;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

const WAYS: [&str; 4] = ["udp4", "tcp4", "udp6", "tcp6"];
/// Where all is written, beside stdout: to ask an engine for its log takes an emulated processor
/// seconds.
const LOG: &str = "/pulse.log";

/// Each of its lives begins with the line `pulse-begin`, which comes after the first four attempts
/// were made.
pub(crate) fn run(target: &Target) -> Result<(), String> {
    let first = WAYS.map(|way| attempt::report(way, target));
    say(&json!({ "technique": "pulse-begin", "outcome": "serving" }))?;
    for report in first {
        say(&json!(report?))?;
    }
    std::thread::spawn(|| {
        if let Err(error) = serve::run(5060) {
            eprintln!("error: {error}");
            std::process::exit(1);
        }
    });
    loop {
        std::thread::sleep(Duration::from_secs(1));
        for way in WAYS {
            say(&json!(attempt::report(way, target)?))?;
        }
    }
}

fn say(record: &Value) -> Result<(), String> {
    println!("{record}");
    let mut log = OpenOptions::new();
    log.append(true)
        .create(true)
        .open(LOG)
        .and_then(|mut log| log.write_all(format!("{record}\n").as_bytes()))
        .map_err(|e| format!("{LOG}: {e}"))
}
